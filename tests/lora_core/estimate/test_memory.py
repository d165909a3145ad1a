"""Memory part by part, against numbers worked out by hand, and what must hold whatever the numbers."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_core.estimate.architecture import Architecture, architecture_of
from lora_core.estimate.memory import (
    GIB,
    MemoryEstimate,
    Verdict,
    estimate_memory,
    layer_bytes,
    nf4_bytes,
    usable_bytes,
)
from lora_core.estimate.rows import BatchShape
from lora_core.models.catalogue import CATALOGUE, DEMO_MODEL
from lora_core.schema.config import TrainingConfig

TOY = Architecture(
    parameters=1_000_000, layers=2, hidden=100, intermediate=300, heads=4, key_value_heads=2, head_size=25,
    vocabulary=1000, tied=True,
)  # fmt: skip

SHORT = BatchShape(2, 64)


def config(**sections: dict[str, Any]) -> TrainingConfig:
    return TrainingConfig.model_validate(sections)


def part(estimate: MemoryEstimate, name: str) -> Any:
    return next(each.size for each in estimate.parts if each.name == name)


def estimated(
    changed: TrainingConfig, shape: BatchShape = SHORT, sizes: Architecture = TOY, size: int = 2
) -> MemoryEstimate:
    return estimate_memory(sizes, changed, [shape], device="gpu", number_bytes=size)


def test_an_adapter_has_rank_times_both_widths_of_each_layer() -> None:
    q, k, v, o, gate, up, down = 100 + 100, 100 + 50, 100 + 50, 100 + 100, 100 + 300, 100 + 300, 300 + 100
    wanted = 2 * 8 * (q + k + v + o + gate + up + down)
    assert TOY.adapter_weights(config(adapter={"rank": 8}).adapter) == wanted
    only = config(adapter={"rank": 8, "targets": ["q_proj", "v_proj"]})
    assert TOY.adapter_weights(only.adapter) == 2 * 8 * (q + v)


def test_what_training_adds_to_the_adapter() -> None:
    changed = config(adapter={"rank": 8, "targets": ["q_proj", "v_proj"]})
    weights = 2 * 8 * 350
    estimate = estimated(changed)
    assert part(estimate, "Adapter").high == (4 + 2) * weights, "float32, and a 16-bit copy under autocast"
    assert part(estimate, "Gradients").high == 4 * weights
    assert part(estimate, "Optimizer").high == 8 * weights


def test_base_weights_by_quantisation() -> None:
    whole = 1000 * 100 + 5 * 100
    plain, eight, four = (
        part(estimated(config(model={"quantisation": kind})), "Base weights").low
        for kind in ("none", "8bit", "4bit")
    )
    assert plain == 2_000_000
    assert eight == (1_000_000 - whole) * (1 + 4 / 100) + whole * 2
    assert four == pytest.approx((1_000_000 - whole) * 4.127 / 8 + whole * 2, rel=1e-4)


def test_nf4_with_double_quantisation_costs_4_127_bits_a_weight() -> None:
    assert nf4_bytes(10**9) * 8 / 10**9 == pytest.approx(4.127, abs=5e-4)


def test_what_a_block_keeps_in_bfloat16() -> None:
    """As counted for the numbers of the toy: norms, attention, MLP, inputs of seven adapters and their ranks."""
    norms, attention, mlp = 2 * (400 + 4), 2 * 2 * 100 + 2 * 2 * 50 + 16, 3 * 2 * 300
    adapters = 2 * (100 * 3 + 100 + 100 * 2 + 300) + 2 * 8 * 7
    shape = BatchShape(1, 64)
    assert layer_bytes(TOY, config(adapter={"rank": 8}), shape, 2) == 64 * (
        norms + attention + mlp + adapters
    )


def test_in_float32_layers_share_what_they_read() -> None:
    norms, attention, mlp = 2 * (400 + 4), 2 * 4 * 100 + 2 * 4 * 50 + 16, 3 * 4 * 300
    adapters = 4 * (100 + 100 + 300) + 4 * 8 * 7
    shape = BatchShape(1, 64)
    assert layer_bytes(TOY, config(adapter={"rank": 8}), shape, 4) == 64 * (
        norms + attention + mlp + adapters
    )


def test_rows_that_share_a_sequence_need_a_mask_and_repeated_keys() -> None:
    apart, packed = (layer_bytes(TOY, config(), BatchShape(1, 64, packed), 2) for packed in (False, True))
    assert packed - apart == 64 * (2 * 2 * 50 + 2 * 64)


def test_logits_exist_for_256_positions_at_a_time() -> None:
    assert part(estimated(config(), BatchShape(8, 512)), "Logits").high == 8 * 256 * 1000
    assert part(estimated(config(), BatchShape(1, 64)), "Logits").high == 8 * 64 * 1000


@given(st.integers(1, 16), st.integers(1, 64), st.integers(1, 128), st.booleans(), st.sampled_from([2, 4]))
def test_more_rows_longer_rows_and_a_higher_rank_never_need_less(
    rows: int, blocks: int, rank: int, recomputed: bool, size: int
) -> None:
    changed = config(adapter={"rank": rank}, optimisation={"gradient_checkpointing": recomputed})
    shape = BatchShape(rows, 32 * blocks)
    here = estimated(changed, shape, size=size).total
    higher = config(adapter={"rank": rank + 1}, optimisation={"gradient_checkpointing": recomputed})
    for more in (
        estimated(changed, BatchShape(rows + 1, shape.length), size=size),
        estimated(changed, BatchShape(rows, shape.length + 32), size=size),
        estimated(higher, shape, size=size),
    ):
        assert more.total.low >= here.low
        assert more.total.high >= here.high


@pytest.mark.parametrize("info", CATALOGUE, ids=lambda info: info.id)
def test_for_every_model_fewer_bits_need_less(info: Any) -> None:
    sizes = architecture_of(info)
    assert sizes is not None
    four, eight, sixteen = (
        estimated(config(model={"quantisation": kind}), sizes=sizes).total
        for kind in ("4bit", "8bit", "none")
    )
    assert four.high < eight.high < sixteen.high


@pytest.mark.parametrize("info", CATALOGUE, ids=lambda info: info.id)
def test_the_layers_of_every_model_add_up_to_its_parameters(info: Any) -> None:
    sizes = architecture_of(info)
    assert sizes is not None
    counted = sizes.embedding_weights + sizes.layers * sum(linear.weights for linear in sizes.linears())
    assert counted == pytest.approx(info.parameters, rel=0.005), "norms and biases are the rest"


def test_recomputing_and_eight_bit_state_save_memory() -> None:
    large = BatchShape(8, 1024)
    plain = estimated(config(), large)
    recomputed = estimated(config(optimisation={"gradient_checkpointing": True}), large)
    assert part(recomputed, "Activations").high < part(plain, "Activations").high
    small = estimated(config(optimisation={"optimizer": "paged_adamw_8bit"}), large)
    assert part(small, "Optimizer").high < part(plain, "Optimizer").high
    assert part(small, "Optimizer").low == 0, "paged state may leave the GPU"


def test_a_verdict_says_tight_where_only_the_least_fits() -> None:
    total = estimated(config()).total
    estimate = estimated(config())
    assert estimate.verdict(total.high) is Verdict.FITS
    assert estimate.verdict((total.low + total.high) / 2) is Verdict.TIGHT
    assert estimate.verdict(total.low - 1) is Verdict.TOO_LARGE
    assert estimate.verdict(None) is Verdict.UNKNOWN


def test_a_cpu_job_leaves_memory_to_the_system() -> None:
    assert usable_bytes(10 * GIB, "gpu") == 10 * GIB
    assert usable_bytes(10 * GIB, "cpu") == 9 * GIB


def test_a_model_whose_sizes_are_unknown_has_no_estimate() -> None:
    assert architecture_of(DEMO_MODEL.model_copy(update={"layers": None})) is None
