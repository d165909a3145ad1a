"""Presets are found by looking, each is valid, and none is lost by accident."""

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from lora_core.errors import ConfigError
from lora_core.presets import find_preset, list_presets
from lora_core.schema.config import TrainingConfig


def leaves(content: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in content.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def value_at(config: BaseModel, key: str) -> Any:
    for part in key.split("."):
        config = getattr(config, part)
    return config


SIZES = ["quick-check", "balanced", "high-capacity", "small-data", "memory-saver"]
PURPOSES = ["question-answering", "coding-assistant", "chatbot-personality", "domain-expert", "multilingual"]


def test_the_presets_stand_in_their_order() -> None:
    assert [preset.name for preset in list_presets()] == [*SIZES, *PURPOSES]
    assert [preset.name for preset in list_presets() if preset.group == "size"] == SIZES


@pytest.mark.parametrize("preset", list_presets(), ids=lambda preset: preset.name)
def test_a_preset_says_why_and_where_its_numbers_come_from(preset: Any) -> None:
    assert preset.why.endswith(".")
    assert len(preset.source) > 20


@pytest.mark.parametrize("preset", list_presets(), ids=lambda preset: preset.name)
def test_a_preset_holds_only_differences_and_they_arrive(preset: Any) -> None:
    config, default = preset.config(), TrainingConfig()
    for key, value in leaves(preset.changes):
        assert value_at(config, key) == value
        assert value_at(default, key) != value, f"{key} repeats the default"


def test_an_unknown_preset_names_those_there_are() -> None:
    with pytest.raises(ConfigError, match="quick-check, balanced, high-capacity"):
        find_preset("turbo")
