"""Names of the layers that LoRA goes on. That they are the right ones is tested beside the runner, on real models."""

import pytest

from lora_core.models.catalogue import CATALOGUE
from lora_core.models.targets import known_architectures, lora_targets


@pytest.mark.parametrize("model_type", [None, "", "rwkv9"])
def test_unknown_architecture_gets_all_linear(model_type: str | None) -> None:
    assert lora_targets(model_type) == "all-linear"


@pytest.mark.parametrize("model_type", known_architectures())
def test_attention_is_part_of_all(model_type: str) -> None:
    attention, everything = lora_targets(model_type, "attention"), lora_targets(model_type)
    assert set(attention) < set(everything)
    assert len(set(everything)) == len(everything)


def test_every_model_of_the_catalogue_has_a_list() -> None:
    assert {info.model_type for info in CATALOGUE} <= set(known_architectures())
