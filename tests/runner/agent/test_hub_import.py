"""Imports from a Hugging Face Hub that is a stand-in on this machine: rows arrive, and every refusal has its words."""

import io
import json
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lora_core.actions.dataset_import import import_again, import_from_hub
from lora_core.actions.workspace import Workspace
from lora_core.schema.dataset import Dataset, DatasetFormat, DatasetStatus
from lora_core.schema.runner import Task, TaskStatus
from lora_core.studio import Studio
from tests.runner.agent.bench import Bench, wait_until
from tests.runner.hub_stand_in import COMMIT, REPO, Hub

TOKEN = "hf_of_a_test"
PAIRS = "".join(
    json.dumps({"prompt": f"Question {n}?", "completion": f"Answer {n}."}) + "\n" for n in range(30)
)


def parquet_of(rows: list[dict[str, Any]]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink, row_group_size=50)
    return sink.getvalue()


@pytest.fixture
def workspace(bench: Bench) -> Workspace:
    return Studio(bench.settings).workspace()


def imported(bench: Bench, workspace: Workspace, **choices: Any) -> tuple[Dataset, Task]:
    """Ask for an import and wait for its end."""
    made = import_from_hub(workspace, **({"repo": REPO} | choices))
    bench.start()

    def ended() -> Task | None:
        task = bench.user.tasks.of_subject(made.id)[0]
        return task if task.status in (TaskStatus.DONE, TaskStatus.FAILED) else None

    task = wait_until(ended, "the import")
    return bench.user.datasets.get(made.id), task


@pytest.fixture(autouse=True)
def _no_login(monkeypatch: pytest.MonkeyPatch, bench: Bench) -> None:
    monkeypatch.setenv("HF_HOME", str(bench.home / "hf"))
    for name in ("HF_TOKEN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)


def test_a_split_becomes_a_checked_data_set(
    bench: Bench, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"README.md": b"# Pairs\n", "train.jsonl": PAIRS.encode(), "test.jsonl": PAIRS.encode()[:200]}
    with Hub(files).serving() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.address)
        dataset, task = imported(bench, workspace, row_limit=20)
    assert task.error == ""
    assert (dataset.status, dataset.rows, dataset.format) == (
        DatasetStatus.READY,
        20,
        DatasetFormat.PROMPT_COMPLETION,
    )
    assert dataset.report is not None
    assert dataset.report.source == f"{REPO}, train, commit {COMMIT[:12]}"
    assert (dataset.name, dataset.file_name) == ("pairs (train)", "own--pairs.train.jsonl")
    with bench.user.blobs.open(dataset.storage_bucket, dataset.storage_path) as file:
        content = file.read()
    assert content.decode() == "".join(PAIRS.splitlines(keepends=True)[:20])
    assert dataset.bytes == len(content)


@pytest.mark.slow
def test_parquet_is_read_in_ranges_with_the_runners_token(
    bench: Bench, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]
    files = {"data/train-00000-of-00001.parquet": parquet_of([{"messages": turns}] * 120)}
    with Hub(files, token=TOKEN).serving() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.address)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        dataset, task = imported(bench, workspace)
    assert task.error == ""
    assert (dataset.rows, dataset.format) == (120, DatasetFormat.MESSAGES)
    assert TOKEN not in json.dumps(task.arguments)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("choices", "words"),
    [
        ({"split": "validation"}, "Bad split: validation. Available splits: ['train']"),
        ({"config": "french"}, "'french' not found. Available: ['default']"),
        ({"revision": "v9"}, "has no revision 'v9'"),
        ({"repo": "own/nothing"}, "knows no data set own/nothing"),
    ],
)
def test_what_the_hub_does_not_have_is_said_and_the_data_set_stays_empty(
    bench: Bench, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, choices: dict[str, Any], words: str
) -> None:
    with Hub({"train.jsonl": PAIRS.encode()}).serving() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.address)
        dataset, task = imported(bench, workspace, **choices)
    assert words in task.error
    assert (dataset.bytes, dataset.status) == (0, DatasetStatus.UPLOADED)


def test_a_private_data_set_asks_for_a_token(
    bench: Bench, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Hub({"train.jsonl": PAIRS.encode()}, token=TOKEN).serving() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.address)
        _, task = imported(bench, workspace)
    assert "start the runner with HF_TOKEN" in task.error


def test_a_hub_that_cannot_be_reached_is_told_and_asked_again_later(
    bench: Bench, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Hub({"train.jsonl": PAIRS.encode()}).serving() as hub:
        monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
        dataset, task = imported(bench, workspace)
        assert "The Hugging Face Hub cannot be reached" in task.error
        monkeypatch.setenv("HF_ENDPOINT", hub.address)
        again = import_again(workspace, dataset.id)
        wait_until(lambda: bench.user.tasks.get(again.id).status is TaskStatus.DONE, "the second import")
    assert bench.user.datasets.get(dataset.id).rows == 30


@pytest.mark.slow
def test_a_data_set_without_rows_is_said(
    bench: Bench, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Hub({"README.md": b"# Nothing yet\n"}).serving() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.address)
        _, task = imported(bench, workspace)
    assert "no files that can be read as rows" in task.error


@pytest.mark.slow
def test_too_large_a_data_set_ends_before_the_disk_is_full(
    bench: Bench, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = workspace.settings.model_copy(update={"max_upload_bytes": 500})
    with Hub({"train.jsonl": PAIRS.encode()}).serving() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.address)
        _, task = imported(bench, replace(workspace, settings=small))
    assert "Set a limit of rows" in task.error
