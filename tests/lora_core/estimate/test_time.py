"""Rows, speed and time, against numbers worked out by hand."""

from typing import Any

import pytest

from lora_core.datasets.lengths import length_stats
from lora_core.estimate.architecture import Architecture
from lora_core.estimate.duration import START_SECONDS, estimate_time
from lora_core.estimate.rows import RowFacts, facts_of, shape_of
from lora_core.estimate.spans import Span
from lora_core.estimate.speed import Machine, Speed, flops_per_token, speed_of_device, speed_of_jobs
from lora_core.schema.config import TrainingConfig
from lora_core.schema.dataset import CheckReport, DatasetFormat, FileKind, TokenReport

TOY = Architecture(
    parameters=1_000_000, layers=2, hidden=100, intermediate=300, heads=4, key_value_heads=2, head_size=25,
    vocabulary=1000, tied=True,
)  # fmt: skip
LENGTHS = [100] * 95 + [900, 910, 920, 930, 1000]


def config(**sections: dict[str, Any]) -> TrainingConfig:
    return TrainingConfig.model_validate(sections)


def report(model: str = "m", *, tokens: bool = True) -> CheckReport:
    stats = length_stats(LENGTHS)
    assert stats is not None
    counted = TokenReport(
        model=model, lengths=stats, learned_tokens=stats.total // 2, over_length_rows=0, max_length=1024,
        nothing_to_learn_rows=0,
    )  # fmt: skip
    return CheckReport(
        file_kind=FileKind.JSONL, format=DatasetFormat.MESSAGES, confidence=1.0, characters=stats,
        tokens=counted if tokens else None,
    )  # fmt: skip


def test_counted_tokens_are_taken_as_they_are() -> None:
    facts = facts_of(report(), 100, config(), "m")
    assert facts.mean == Span.exactly(sum(LENGTHS) / 100)
    assert facts.longest[0] == (1000, 1000)
    assert all(
        low <= true <= high for (low, high), true in zip(facts.longest, [1000, 930, 920, 910], strict=True)
    )
    assert facts.learned.low <= 0.5 <= facts.learned.high


def test_another_tokenizer_makes_the_mean_a_range() -> None:
    facts = facts_of(report("other"), 100, config(), "m")
    mean = sum(LENGTHS) / 100
    assert facts.mean.low < mean < facts.mean.high
    assert "other" in facts.basis


def test_characters_do_where_nothing_was_tokenised() -> None:
    facts = facts_of(report(tokens=False), 100, config(), "m")
    mean = sum(LENGTHS) / 100
    assert facts.mean == Span(pytest.approx(mean / 5), pytest.approx(mean / 2.5))  # type: ignore[arg-type]


def test_rows_longer_than_the_limit_count_cut() -> None:
    facts = facts_of(report(), 100, config(data={"max_length": 200}), "m")
    true = (95 * 100 + 5 * 200) / 100
    assert facts.mean.low <= true <= facts.mean.high


def test_few_longer_rows_are_found() -> None:
    lengths = [100] * 990 + [2000] * 10
    stats = length_stats(lengths)
    assert stats is not None
    long = report().model_copy(update={"tokens": report().tokens.model_copy(update={"lengths": stats})})  # type: ignore[union-attr]
    facts = facts_of(long, 1000, config(data={"max_length": 4096}), "m")
    assert facts.few_longer is not None
    length, share = facts.few_longer
    assert 100 < length < 2000
    assert share == 0.01


@pytest.mark.parametrize(
    ("lengths", "packing", "wanted"),
    [
        ([500, 400, 300, 100], False, (4, 512, False)),
        ([500, 400, 300, 100], True, (2, 1024, True)),
        ([], True, (4, 1024, False)),
    ],
)
def test_the_largest_micro_batch_is_laid_out_as_the_trainer_does(
    lengths: list[float], packing: bool, wanted: tuple[int, int, bool]
) -> None:
    shape = shape_of(lengths, 4, 1024, packing=packing)
    assert (shape.sequences, shape.length, shape.packed) == wanted


def test_operations_of_a_token() -> None:
    blocks = 2 * (100 * 100 + 2 * 100 * 50 + 100 * 100 + 3 * 100 * 300)
    adapter = TOY.adapter_weights(config(adapter={"rank": 8}).adapter)
    attention = 6 * 2 * 50 * 100
    wanted = 4 * blocks + 6 * adapter + attention + 4 * 1000 * 100 * 0.5
    assert flops_per_token(TOY, config(adapter={"rank": 8}), 50, 0.5) == wanted
    again = config(adapter={"rank": 8}, optimisation={"gradient_checkpointing": True})
    assert flops_per_token(TOY, again, 50, 0.5) == wanted + 2 * blocks + 2 * 2 * 50 * 100


def test_time_is_tokens_over_speed_and_a_start() -> None:
    rows = RowFacts(110, Span.exactly(200), (), Span(0.5, 0.5), None, "by hand")
    speed = Speed(Span(100, 400), "by hand", measured=False)
    plan = config(
        optimisation={"epochs": 3, "micro_batch_size": 2, "accumulation_steps": 5},
        evaluation={"every_steps": 10, "max_rows": 5},
    )
    found = estimate_time(plan, rows, speed, training_rows=100, validation_rows=10)
    trained, evaluated = 100 * 3 * 200, (1 + 3) * 5 * 200
    assert found.updates == 30
    assert found.seconds.low == START_SECONDS.low + (trained + 0.25 * evaluated) / 400
    assert found.seconds.high == START_SECONDS.high + (trained + 0.5 * evaluated) / 100
    assert found.usd(None) is None
    assert found.usd(3600.0) == Span(pytest.approx(found.seconds.low), pytest.approx(found.seconds.high))  # type: ignore[arg-type]


def test_the_step_limit_shortens_the_time() -> None:
    rows = RowFacts(100, Span.exactly(200), (), Span(0.5, 0.5), None, "by hand")
    speed = Speed(Span(100, 100), "by hand", measured=False)
    two = config(optimisation={"max_steps": 2})
    found = estimate_time(two, rows, speed, training_rows=100, validation_rows=0)
    assert found.tokens == Span.exactly(2 * 16 * 200)


def test_measured_steps_give_their_middle_half() -> None:
    speed = speed_of_jobs([10.0, 100.0, 100.0, 100.0, 100.0, 100.0, 900.0], 2, "box")
    assert speed is not None
    assert speed.tokens_per_second == Span(pytest.approx(90), pytest.approx(110))  # type: ignore[arg-type]
    assert speed.basis == "measured: 2 finished jobs of this model on box"
    assert speed_of_jobs([100.0], 1, "box") is None


def test_more_cores_and_known_gpus_are_faster() -> None:
    two, eight = (speed_of_device(Machine("m", cpus=n, bf16=True), 1e9).tokens_per_second for n in (2, 8))
    assert eight.low == 4 * two.low
    h100, t4 = (
        speed_of_device(Machine("m", gpu=name), 1e9) for name in ("NVIDIA H100 80GB HBM3", "Tesla T4")
    )
    assert h100.tokens_per_second.low > t4.tokens_per_second.low
    assert "in no table" in speed_of_device(Machine("m", gpu="Voodoo"), 1e9).basis
