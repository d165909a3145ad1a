"""Tasks end to end: a data set is checked, cleaned and measured in a child, and a child that dies has a reason."""

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from lora_core.schema.dataset import DatasetFormat, DatasetStatus
from lora_core.schema.runner import Task, TaskKind, TaskStatus
from runner.calls import Backoff
from runner.errand import Errand, Order, Report
from runner.processes import Child
from tests.runner.agent.bench import Bench, wait_until

GOOD = '{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]}\n'
BAD = '{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": ""}]}\n'


def done(bench: Bench, task: Task) -> Task:
    def ended() -> Task | None:
        now = bench.user.tasks.get(task.id)
        return now if now.status in (TaskStatus.DONE, TaskStatus.FAILED) else None

    found: Task = wait_until(ended, f"task {task.kind}")
    return found


def unchecked(bench: Bench, content: str) -> str:
    return bench.add_dataset(
        content.encode(), format=DatasetFormat.UNKNOWN, status=DatasetStatus.UPLOADED, file_name="chats.jsonl"
    ).id


def test_a_check_finds_the_format_and_leaves_its_report(bench: Bench) -> None:
    dataset_id = unchecked(bench, GOOD * 20)
    task = bench.ask(TaskKind.CHECK_DATASET, dataset_id)
    bench.start()
    assert done(bench, task).error == ""
    dataset = bench.user.datasets.get(dataset_id)
    assert (dataset.status, dataset.format, dataset.rows) == (DatasetStatus.READY, DatasetFormat.MESSAGES, 20)
    assert dataset.report is not None


def test_bad_rows_are_listed_and_dropped_into_a_new_version(bench: Bench) -> None:
    dataset_id = unchecked(bench, GOOD * 3 + BAD + GOOD)
    bench.start()
    done(bench, bench.ask(TaskKind.CHECK_DATASET, dataset_id))
    dataset = bench.user.datasets.get(dataset_id)
    assert dataset.status is DatasetStatus.HAS_ERRORS
    issues = dataset.storage_path.rsplit("/", 1)[0] + "/issues.jsonl"
    with bench.user.blobs.open(dataset.storage_bucket, issues) as file:
        assert json.loads(file.readline())["line"] == 4
    assert done(bench, bench.ask(TaskKind.DROP_BAD_ROWS, dataset_id)).error == ""
    cleaned = next(each for each in bench.user.datasets.list().items if each.parent_id == dataset_id)
    assert (cleaned.status, cleaned.rows, cleaned.name) == (DatasetStatus.READY, 4, "greetings (cleaned)")
    with bench.user.blobs.open(cleaned.storage_bucket, cleaned.storage_path) as file:
        assert file.read().decode() == GOOD * 4


def test_pairs_are_converted_into_a_new_version(bench: Bench) -> None:
    pair = '{"prompt": "Is it good?", "chosen": "Yes.", "rejected": "No."}\n'
    dataset_id = unchecked(bench, pair * 3)
    bench.start()
    done(bench, bench.ask(TaskKind.CHECK_DATASET, dataset_id))
    assert (
        done(bench, bench.ask(TaskKind.CONVERT_DATASET, dataset_id, target="unpaired_preference")).error == ""
    )
    made = next(each for each in bench.user.datasets.list().items if each.parent_id == dataset_id)
    assert (made.status, made.rows, made.name) == (DatasetStatus.READY, 6, "greetings (rated answers)")
    assert made.format is DatasetFormat.UNPAIRED_PREFERENCE


def test_repeated_and_leaked_rows_are_found_and_dropped_only_if_chosen(bench: Bench) -> None:
    def row(words: str) -> str:
        return json.dumps({"prompt": words, "completion": "That is right."}) + "\n"

    story = " ".join(
        f"the baker weighs {what} with care" for what in ("flour", "salt", "water", "yeast", "honey", "oats")
    )
    rows = row(story) + row(f"{story} too") + row("a row of its own") + row("a row that both of them have")
    dataset_id = unchecked(bench, rows)
    held_id = unchecked(bench, row("a row that both of them have"))
    bench.start()
    for each in (dataset_id, held_id):
        done(bench, bench.ask(TaskKind.CHECK_DATASET, each))
    look = {"similar": True, "compare_with": held_id, "format": "prompt_completion"}
    assert done(bench, bench.ask(TaskKind.CHECK_DATASET, dataset_id, **look)).error == ""
    report = bench.user.datasets.get(dataset_id).report
    assert report is not None
    assert report.similar is not None
    assert (report.similar.near_duplicate_rows, report.similar.in_both_rows) == (1, 1)
    assert report.issue_counts == {"near_duplicate": 1, "in_both_files": 1}
    drop = {"kinds": ["near_duplicates", "leaked"], "compare_with": held_id}
    assert done(bench, bench.ask(TaskKind.DROP_BAD_ROWS, dataset_id, **drop)).error == ""
    made = next(each for each in bench.user.datasets.list().items if each.parent_id == dataset_id)
    with bench.user.blobs.open(made.storage_bucket, made.storage_path) as file:
        assert file.read().decode() == row(story) + row("a row of its own")


def test_a_file_that_cannot_be_read_is_a_finding_not_a_crash(bench: Bench) -> None:
    dataset_id = unchecked(bench, "\x00\x01\x02")
    task = bench.ask(TaskKind.CHECK_DATASET, dataset_id)
    bench.start()
    assert done(bench, task).error == ""
    assert bench.user.datasets.get(dataset_id).status in (
        DatasetStatus.UNREADABLE,
        DatasetStatus.NEEDS_MAPPING,
    )


def test_a_file_that_comes_damaged_again_and_again_fails_the_task(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner.tasks.Backoff", lambda: Backoff(first_seconds=0.0))
    dataset_id = unchecked(bench, GOOD)
    dataset = bench.user.datasets.get(dataset_id)
    path = bench.settings.files / dataset.storage_bucket / dataset.storage_path
    path.write_bytes(path.read_bytes().replace(b"Hello", b"Jello"))
    bench.start()
    assert "damaged 5 times" in done(bench, bench.ask(TaskKind.CHECK_DATASET, dataset_id)).error


def test_tokens_are_counted_with_the_models_tokenizer(bench: Bench, tmp_path: Path) -> None:
    model = _tiny_model(bench.settings.models / "HuggingFaceTB--SmolLM2-135M-Instruct")
    assert model.exists()
    dataset_id = unchecked(bench, GOOD * 5)
    bench.start()
    done(bench, bench.ask(TaskKind.CHECK_DATASET, dataset_id))
    task = bench.ask(TaskKind.MEASURE_DATASET, dataset_id, model="smollm2-135m-instruct", max_length=64)
    assert done(bench, task).error == ""
    report = bench.user.datasets.get(dataset_id).report
    assert report is not None
    assert report.tokens is not None
    assert report.tokens.learned_tokens > 0


def test_a_name_given_during_the_check_stays(bench: Bench) -> None:
    dataset_id = unchecked(bench, GOOD * 5)
    task = bench.ask(TaskKind.CHECK_DATASET, dataset_id)
    agent = bench.agent(script={})
    wait_until(
        lambda: agent.tick() or (agent.task_runs and agent.task_runs[0].stage == "working"), "the work"
    )
    dataset = bench.user.datasets.get(dataset_id)
    bench.user.datasets.save(dataset.model_copy(update={"name": "Chats of May"}))
    wait_until(lambda: agent.tick() or bench.user.tasks.get(task.id).status is TaskStatus.DONE, "the end")
    assert bench.user.datasets.get(dataset_id).name == "Chats of May"


def test_an_unknown_model_fails_the_task_in_words(bench: Bench) -> None:
    task = bench.ask(TaskKind.FETCH_MODEL, "no such model")
    bench.start()
    ended = done(bench, task)
    assert ended.status is TaskStatus.FAILED
    assert "no such model" in ended.error


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("kill -9 $$", "too little free memory"),
        ("ulimit -S -t 1; while :; do :; done", "too much computing time"),
        ("echo 'the disk sings' >&2; exit 3", "the disk sings"),
    ],
)
def test_a_child_that_dies_has_a_reason_in_words(tmp_path: Path, command: str, words: str) -> None:
    child = Child.start(
        ["/bin/sh", "-c", command], tmp_path, tmp_path / "child.log", {"PATH": "/bin:/usr/bin"}
    )
    report: Report = wait_until(Errand(tmp_path, child).report, "the report")
    assert words in report.error
    assert report.retry is ("kill" in command), "who was killed may be lucky the next time"


def test_a_child_keeps_to_its_memory(tmp_path: Path, bench: Bench) -> None:
    dataset = bench.add_dataset(GOOD.encode() * 1000, format=DatasetFormat.UNKNOWN)
    order = Order(
        kind=TaskKind.CHECK_DATASET,
        home=bench.home,
        dataset=dataset,
        file=bench.settings.files / dataset.storage_bucket / dataset.storage_path,
        memory_bytes=120 * 2**20,
    )
    report: Report = wait_until(Errand.start(order, tmp_path / "errand").report, "the report")
    assert report.error


def _tiny_model(folder: Path) -> Path:
    """A folder that looks like a fetched model: a tokenizer over bytes, and weights that nobody opens."""
    folder.mkdir(parents=True)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({token: number for number, token in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|end|>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text('{"eos_token": "<|end|>"}')
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "model.safetensors").write_bytes(b"")
    return folder
