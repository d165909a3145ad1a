"""Whole runs of the real trainer on the tiny model, in this process."""

import csv
import json
import shutil
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from lora_core.schema.base import utc_now
from lora_core.schema.metrics import MetricPoint
from lora_core.schema.run import ExitCode
from runner.train.saving import ADAPTER_WEIGHTS, BEST_WEIGHTS, sha256_of
from tests.runner.train.bench import Bench, Outcome, best_at


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Outcome:
    """One run of some length, looked at by many tests."""
    bench = Bench(tmp_path_factory.mktemp("learned"), tiny_model)
    return bench.train(optimisation={"max_steps": 24}, evaluation={"every_steps": 6}, checkpoints={"keep": 2})


def test_the_loss_falls_on_what_can_be_learned(learned: Outcome) -> None:
    losses = list(learned.column("loss").values())
    assert learned.code == ExitCode.DONE
    assert losses[-1] < 0.5 * losses[0]


def test_the_loss_falls_on_rows_that_were_kept_back(learned: Outcome) -> None:
    losses = learned.column("eval_loss", "eval")
    assert losses[24] < 0.5 * losses[0]


def test_the_base_model_is_measured_before_the_first_step(learned: Outcome) -> None:
    assert list(learned.column("eval_loss", "eval")) == [0, 6, 12, 18, 24]


def test_every_step_has_a_whole_metric_point(learned: Outcome) -> None:
    points = learned.of("metrics", kind="train")
    assert [point["step"] for point in points] == list(range(1, 25))
    for point in points:
        for column in ("loss", "learning_rate", "grad_norm", "epoch", "tokens_seen", "tokens_per_second"):
            assert point[column] > 0, column
        assert point["samples_per_second"] > 0
        assert 0 <= point["data_wait_fraction"] <= 1


def test_metric_events_are_metric_points(learned: Outcome) -> None:
    for point in learned.of("metrics"):
        MetricPoint.model_validate({**point, "recorded_at": utc_now()})


def test_elapsed_time_grows_and_the_time_left_shrinks(learned: Outcome) -> None:
    elapsed = list(learned.column("elapsed_seconds").values())
    remaining = learned.column("remaining_seconds")
    assert elapsed == sorted(elapsed)
    assert remaining[1] is None
    assert remaining[24] < remaining[2]


def test_tokens_seen_are_those_of_the_rows_without_padding(learned: Outcome) -> None:
    tokenizer = AutoTokenizer.from_pretrained(learned.folder.spec().model_path)
    rows = [json.loads(line) for line in Path(learned.folder.spec().train.path).read_text().splitlines()]
    lengths = [len(tokenizer.apply_chat_template(row["messages"], return_dict=False)) for row in rows]
    epochs = learned.column("epoch")[24]
    kept = 0.9 * sum(lengths)
    assert learned.result["train_tokens"] == pytest.approx(kept * epochs, rel=0.05)


def test_evaluations_tell_perplexity(learned: Outcome) -> None:
    (last,) = learned.of("metrics", kind="eval", step=24)
    assert last["extra"]["perplexity"] == pytest.approx(2.718281828 ** last["eval_loss"], rel=1e-3)


def test_the_machine_is_read_meanwhile(learned: Outcome) -> None:
    (first, *_) = learned.of("metrics", kind="system")
    assert first["extra"]["rss_gb"] > 0.05


def test_phases_come_in_order(learned: Outcome) -> None:
    phases = list(dict.fromkeys(phase["name"] for phase in learned.of("phase")))
    assert phases == [
        "starting", "preparing_data", "loading_model", "checking_memory", "training", "evaluating", "saving"
    ]  # fmt: skip
    assert learned.of("phase", name="training")[0] == {"name": "training", "start_step": 0, "total_steps": 24}


def test_old_checkpoints_go_and_the_newest_and_best_stay(learned: Outcome) -> None:
    kept = {int(folder.name.removeprefix("step-")) for folder in learned.folder.checkpoints.iterdir()}
    assert {18, 24} <= kept <= {18, 24, learned.result["best_step"]}


def test_dropped_checkpoints_are_told(learned: Outcome) -> None:
    dropped = {event["step"] for event in learned.of("checkpoint", dropped=True)}
    told = {event["step"] for event in learned.of("checkpoint") if not event.get("dropped")}
    assert told == {6, 12, 18, 24}
    assert all(not Path(event["path"]).exists() for event in learned.of("checkpoint", dropped=True))
    assert dropped


def test_the_adapter_loads_with_peft_and_changes_the_answer(learned: Outcome) -> None:
    base = AutoModelForCausalLM.from_pretrained(learned.folder.spec().model_path)
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        before = base(input_ids=ids).logits
        after = PeftModel.from_pretrained(base, str(learned.folder.adapter))(input_ids=ids).logits
    assert (before - after).abs().max() > 0.1


def test_the_adapter_folder_is_whole(learned: Outcome) -> None:
    names = {path.name for path in learned.folder.adapter.iterdir()}
    assert names >= {
        "adapter_model.safetensors",
        "adapter_config.json",
        "tokenizer.json",
        "chat_template.jinja",
    }
    assert names >= {"training_config.yaml", "metrics.csv", "README.md"}
    config = json.loads((learned.folder.adapter / "adapter_config.json").read_text())
    assert (config["base_model_name_or_path"], config["r"]) == ("studio/tiny", 8)
    assert sha256_of(learned.folder.adapter / ADAPTER_WEIGHTS) == learned.result["adapter_sha256"]


def test_the_curve_is_in_the_csv(learned: Outcome) -> None:
    with (learned.folder.adapter / "metrics.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    losses = {int(row["step"]): float(row["loss"]) for row in rows if row["kind"] == "train"}
    assert losses == learned.column("loss")


def test_adapter_weights_are_float32(learned: Outcome) -> None:
    weights = load_file(learned.folder.adapter / ADAPTER_WEIGHTS)
    assert {weight.dtype for weight in weights.values()} == {torch.float32}


def test_the_best_evaluation_becomes_the_adapter(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    best_at(4, monkeypatch)
    ended = bench.train(optimisation={"max_steps": 8}, evaluation={"every_steps": 2})
    assert (ended.result["best_step"], ended.result["adapter_step"], ended.result["best_eval_loss"]) == (
        4,
        4,
        1.0,
    )
    digests = {
        sha256_of(file)
        for file in (
            ended.folder.adapter / ADAPTER_WEIGHTS,
            ended.folder.checkpoints / "step-000004" / ADAPTER_WEIGHTS,
            ended.folder.checkpoints / "step-000008" / BEST_WEIGHTS,
        )
    }
    assert len(digests) == 1


def test_the_checkpoint_of_the_best_evaluation_is_told(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    best_at(4, monkeypatch)
    ended = bench.train(optimisation={"max_steps": 8}, evaluation={"every_steps": 2}, checkpoints={"keep": 1})
    assert [event["step"] for event in ended.of("checkpoint", best=True)] == [2, 4]
    kept = {folder.name for folder in ended.folder.checkpoints.iterdir()}
    assert kept == {"step-000004", "step-000008"}


def test_without_keep_best_the_last_step_becomes_the_adapter(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    best_at(4, monkeypatch)
    ended = bench.train(optimisation={"max_steps": 8}, evaluation={"every_steps": 2, "keep_best": False})
    last = ended.folder.checkpoints / "step-000008" / ADAPTER_WEIGHTS
    assert sha256_of(ended.folder.adapter / ADAPTER_WEIGHTS) == sha256_of(last)


def test_without_validation_rows_it_trains_all_the_same(bench: Bench) -> None:
    ended = bench.train(data={"validation_fraction": 0.0}, optimisation={"max_steps": 3})
    assert (ended.code, ended.of("metrics", kind="eval"), ended.result["adapter_step"]) == (
        ExitCode.DONE,
        [],
        3,
    )


def test_packing_learns_the_same_in_the_same_number_of_updates(bench: Bench) -> None:
    curves = [
        bench.train(
            data={"max_length": 128, "packing": packing},
            optimisation={"max_steps": 6, "micro_batch_size": 4, "accumulation_steps": 2},
        ).column("loss")
        for packing in (True, False)
    ]
    assert list(curves[0]) == list(curves[1]) == [1, 2, 3, 4, 5, 6]
    assert list(curves[0].values()) == pytest.approx(list(curves[1].values()), rel=1e-3)


def test_accumulation_gives_the_same_update_as_one_large_batch(bench: Bench) -> None:
    data = {"packing": False, "validation_fraction": 0.0}
    points = [
        bench.train(data=data, optimisation={"max_steps": 1, "micro_batch_size": m, "accumulation_steps": a})
        for m, a in ((8, 1), (2, 4))
    ]
    for column in ("loss", "grad_norm"):
        first, second = (point.column(column)[1] for point in points)
        assert first == pytest.approx(second, rel=1e-4), column


def test_a_loss_that_is_no_number_is_recorded_as_such(bench: Bench, tmp_path: Path, tiny_model: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(tiny_model, broken)
    weights = load_file(broken / "model.safetensors")
    weights["model.norm.weight"][0] = float("nan")
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    bench.model = broken
    ended = bench.train(optimisation={"max_steps": 2}, alerts={"nonfinite": {"action": "notify"}})
    (point,) = ended.of("metrics", kind="train", step=1)
    assert (point["loss"], point["nonfinite"]["loss"]) == (None, "nan")
    assert ended.result["best_step"] is None


@pytest.mark.parametrize(
    "adapter",
    [{"rslora": True}, {"dora": True}, {"targets": "auto"}, {"targets": ["q_proj", "v_proj"]}],
    ids=["rslora", "dora", "auto", "list"],
)
def test_forms_of_adapters_train(bench: Bench, adapter: dict[str, object]) -> None:
    ended = bench.train(adapter=adapter, optimisation={"max_steps": 1})
    assert ended.code == ExitCode.DONE


def test_bfloat16_trains_with_adapters_in_float32(bench: Bench) -> None:
    ended = bench.train(model={"dtype": "bfloat16"}, optimisation={"max_steps": 12})
    losses = list(ended.column("loss").values())
    weights = load_file(ended.folder.adapter / ADAPTER_WEIGHTS)
    assert losses[-1] < losses[0]
    assert {weight.dtype for weight in weights.values()} == {torch.float32}


def test_gradient_checkpointing_gives_the_same_losses(bench: Bench) -> None:
    with_it, without = (
        bench.train(optimisation={"max_steps": 3, "gradient_checkpointing": on}).column("loss")
        for on in (True, False)
    )
    assert with_it == pytest.approx(without, rel=1e-5)
