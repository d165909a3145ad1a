"""Finds and validates preset files. A preset holds only what differs from the defaults, so it reads as its own reason."""

from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError

from lora_core.errors import ConfigError
from lora_core.schema.base import Frozen
from lora_core.schema.config import TrainingConfig

PRESETS_FOLDER = Path(__file__).parent


class Preset(Frozen):
    """One preset as its file says it."""

    name: str
    title: str
    why: str = Field(description="One line: when to choose it.")
    source: str = Field(description="Where its numbers come from.")
    group: Literal["size", "purpose"] = Field(
        description="Chosen by how much data and memory there is, or by what the model is for."
    )
    order: int = Field(100, description="Place in lists, smallest first.")
    changes: dict[str, Any] = Field(
        default_factory=dict, description="Differences from the defaults, nested as the config is."
    )

    def config(self) -> TrainingConfig:
        """Return the defaults with this preset's changes.

        Raises:
            ConfigError: A change names an unknown field or a value out of bounds.
        """
        try:
            return TrainingConfig.model_validate({**self.changes, "preset": self.name})
        except ValidationError as error:
            raise ConfigError(f"Preset {self.name!r}: {error}") from error


@cache
def list_presets() -> tuple[Preset, ...]:
    """Read all preset files, in the order they are shown.

    Raises:
        ConfigError: A file is not a valid preset.
    """
    presets = [_read(file) for file in sorted(PRESETS_FOLDER.rglob("*.yaml"))]
    return tuple(sorted(presets, key=lambda preset: (preset.order, preset.name)))


def find_preset(name: str) -> Preset:
    """Return one preset.

    Raises:
        ConfigError: There is none of that name; the message lists those there are.

    >>> find_preset("balanced").config().adapter.rank
    32
    """
    for preset in list_presets():
        if preset.name == name:
            return preset
    known = ", ".join(preset.name for preset in list_presets())
    raise ConfigError(f"There is no preset {name!r}.", f"Choose one of: {known}.")


def _read(file: Path) -> Preset:
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    try:
        return Preset.model_validate({"name": file.stem.replace("_", "-"), **content})
    except ValidationError as error:
        raise ConfigError(f"{file.name} is not a preset: {error}") from error
