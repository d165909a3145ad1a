"""Which change makes a run fit, in which order they are tried, and how they read."""

from typing import Any

import pytest

from lora_core.estimate.architecture import architecture_of
from lora_core.estimate.changes import halved, smallest_change
from lora_core.estimate.memory import GIB, Verdict
from lora_core.estimate.rows import RowFacts
from lora_core.estimate.run import judge_memory
from lora_core.estimate.spans import Span
from lora_core.estimate.speed import Machine
from lora_core.models.catalogue import CATALOGUE
from lora_core.schema.config import TrainingConfig

ROWS = RowFacts(1000, Span(300, 300), ((1024.0, 1024.0),) * 4, Span(0.5, 0.6), (500, 0.01), "by hand")


def config(**sections: dict[str, Any]) -> TrainingConfig:
    return TrainingConfig.model_validate(sections)


def test_single_changes_are_tried_in_the_order_of_their_price() -> None:
    tried: list[TrainingConfig] = []

    def refuse(changed: TrainingConfig) -> bool:
        tried.append(changed)
        return False

    assert smallest_change(config(), refuse, (500, 0.01)) is None
    single = [changed for changed in tried if changed.optimisation.micro_batch_size in (1, 2, 4)][:6]
    assert single[0].optimisation.gradient_checkpointing
    assert [each.optimisation.micro_batch_size for each in single[1:4]] == [2, 1, 4]
    assert single[3].data.max_length == 512
    assert single[4].optimisation.optimizer == "adamw_8bit"
    assert single[5].model.quantisation == "4bit"


def test_the_batch_stays_when_the_micro_batch_is_halved() -> None:
    found = smallest_change(config(), lambda changed: changed.optimisation.micro_batch_size == 1)
    assert found is not None
    assert found.text == "micro-batch 4 → 1, accumulation 4 → 16, still 16 rows an update"


def test_two_changes_come_after_every_single_one() -> None:
    def both(changed: TrainingConfig) -> bool:
        return changed.optimisation.gradient_checkpointing and changed.model.quantisation == "4bit"

    found = smallest_change(config(), both)
    assert found is not None
    assert found.words == ("gradient checkpointing off → on", "quantisation none → 4bit")
    assert both(found.config)


def test_rows_are_cut_only_where_few_are_longer() -> None:
    def short(changed: TrainingConfig) -> bool:
        return changed.data.max_length < 1024

    assert smallest_change(config(), short) is None
    found = smallest_change(config(), short, (500, 0.013))
    assert found is not None
    assert found.text == "longest row 1,024 → 512 tokens (1.3% of the rows are longer)"


def test_a_micro_batch_of_one_is_not_halved() -> None:
    assert halved(config(optimisation={"micro_batch_size": 1})) is None


@pytest.mark.parametrize("gigabytes", [1, 2, 4, 8, 16, 24, 80])
@pytest.mark.parametrize("gpu", ["", "NVIDIA L4"])
@pytest.mark.parametrize("info", CATALOGUE, ids=lambda info: info.id)
def test_the_suggested_change_does_fit(info: Any, gpu: str, gigabytes: int) -> None:
    sizes = architecture_of(info)
    assert sizes is not None
    machine = Machine("m", gpu=gpu, memory_bytes=gigabytes * GIB, bf16=True)
    judged = judge_memory(sizes, config(), ROWS, machine)
    if judged.verdict is Verdict.FITS:
        assert judged.change is None
    elif judged.change is not None:
        again = judge_memory(sizes, judged.change.config, ROWS, machine)
        assert again.verdict is Verdict.FITS
        before, after = config().optimisation, judged.change.config.optimisation
        assert (
            before.micro_batch_size * before.accumulation_steps
            == after.micro_batch_size * after.accumulation_steps
        )


def test_a_machine_of_unknown_number_format_spans_both() -> None:
    sizes = architecture_of(CATALOGUE[0])
    assert sizes is not None
    two, four, unknown = (
        judge_memory(sizes, config(), ROWS, Machine("m", memory_bytes=GIB, bf16=bf16)).memory.total
        for bf16 in (True, False, None)
    )
    assert unknown.low <= min(two.low, four.low)
    assert unknown.high >= max(two.high, four.high)
