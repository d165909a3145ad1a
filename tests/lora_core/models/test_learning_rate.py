import pytest

from lora_core.models.catalogue import CATALOGUE, DEMO_MODEL, BaseModelInfo, find_model
from lora_core.models.learning_rate import suggest_learning_rate


def test_a_narrow_llama_learns_at_a_higher_rate_than_a_wide_one() -> None:
    wide = DEMO_MODEL.model_copy(update={"hidden_size": 4096})
    narrow_rate, wide_rate = suggest_learning_rate(DEMO_MODEL), suggest_learning_rate(wide)
    assert narrow_rate is not None
    assert wide_rate == pytest.approx(2.9e-4)  # the figure the source gives for Llama-3.1-8B
    assert narrow_rate > wide_rate


def test_the_rate_of_qwen3_4b_is_the_one_of_the_source() -> None:
    assert suggest_learning_rate(find_model("qwen3-4b")) == pytest.approx(4.9e-4)


def test_an_architecture_nobody_measured_gets_no_suggestion() -> None:
    assert (
        suggest_learning_rate(BaseModelInfo(id="a/b", title="b", model_type="gemma3_text", hidden_size=1152))
        is None
    )


def test_every_suggestion_is_within_the_bounds_of_the_config() -> None:
    assert all(rate is None or 1e-4 < rate < 1e-2 for rate in map(suggest_learning_rate, CATALOGUE))
