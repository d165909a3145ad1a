"""Configs as people handle them: presets, typed overrides, YAML both ways, differences. Reads no store."""

from collections.abc import Iterable, Mapping
from typing import Any

import yaml
from pydantic import ValidationError

from lora_core.datasets.split import kept_back_rows
from lora_core.errors import ConfigError
from lora_core.estimate.plan import plan_run
from lora_core.plain_yaml import plain_value, read_mapping, read_value
from lora_core.presets import Preset, find_preset
from lora_core.presets import list_presets as _list_presets
from lora_core.schema.config import TrainingConfig
from lora_core.schema.config_faults import closest_field, explain_validation, field_names


def list_presets() -> tuple[Preset, ...]:
    """Return all presets in the order they are shown."""
    return _list_presets()


def config_from_preset(name: str, overrides: Iterable[str] = ()) -> TrainingConfig:
    """Return a preset's config with `key=value` overrides applied.

    Raises:
        ConfigError: Unknown preset or key, or a value out of bounds.
    """
    return override_config(find_preset(name).config(), overrides)


def starting_point(config: TrainingConfig) -> tuple[str, TrainingConfig]:
    """Return what a config started from, in words and as a config: its preset, or the defaults.

    >>> starting_point(TrainingConfig(preset="balanced"))[0], starting_point(TrainingConfig(preset="gone"))[0]
    ('preset Balanced', 'the defaults')
    """
    for preset in list_presets():
        if preset.name == config.preset:
            return f"preset {preset.title}", preset.config()
    return "the defaults", TrainingConfig()


def override_config(config: TrainingConfig, overrides: Iterable[str]) -> TrainingConfig:
    """Apply overrides such as `optimisation.learning_rate=1e-4`; values are read by the field's own type.

    Raises:
        ConfigError: Unknown key (the message names the closest one), or a value out of bounds.

    >>> override_config(TrainingConfig(), ["adapter.rank=8"]).adapter.rank
    8
    """
    changes: dict[str, Any] = {}
    for override in overrides:
        key, separator, value = override.partition("=")
        if not separator:
            raise ConfigError(
                f"{override!r} is not an override.", "Write it as key=value, such as adapter.rank=8."
            )
        changes[key.strip()] = read_value(value.strip())
    return change_config(config, changes)


def change_config(config: TrainingConfig, changes: Mapping[str, Any]) -> TrainingConfig:
    """Return the config with some fields changed, given by dotted key.

    Raises:
        ConfigError: Unknown key, or a value out of bounds.
    """
    changed = config.model_dump()
    for key, value in changes.items():
        _place(changed, key, value)
    return _validate(changed)


def training_rows(config: TrainingConfig, rows: int) -> tuple[int, int]:
    """Return how many rows of a data set train and how many validate, by row limit and validation share.

    Rows of a validation data set of its own are not counted here: 0 of these validate, though there is an evaluation.

    >>> training_rows(TrainingConfig(), rows=250)
    (225, 25)
    """
    data = config.data
    rows = min(rows, data.row_limit or rows)
    if data.validation_dataset_id or not data.validation_fraction or rows < 2:
        return rows, 0
    kept_back = kept_back_rows(rows, data.validation_fraction)
    return rows - kept_back, kept_back


def expected_updates(config: TrainingConfig, rows: int) -> int:
    """Return how many updates a job on `rows` rows will make, from the split, the batch, the epochs and the step limit.

    >>> expected_updates(TrainingConfig(), rows=250)
    30
    """
    training, _ = training_rows(config, rows)
    return plan_run(config, training, can_evaluate=False).total_steps


def config_to_yaml(config: TrainingConfig) -> str:
    """Write a config as YAML, every field spelled out, in the schema's order."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def config_from_yaml(text: str) -> TrainingConfig:
    """Read a config from YAML; fields left out keep their defaults.

    Raises:
        ConfigError: Not YAML, too long, an alias, an unknown key, or a value out of bounds; names line or field.
    """
    content: dict[str, Any] = plain_value(read_mapping(text))
    return _validate(content)


def diff_configs(before: TrainingConfig, after: TrainingConfig) -> dict[str, tuple[Any, Any]]:
    """Return what differs as {dotted key: (before, after)}.

    >>> diff_configs(TrainingConfig(), override_config(TrainingConfig(), ["adapter.rank=8"]))
    {'adapter.rank': (32, 8)}
    """
    old, new = _flatten(before.model_dump(mode="json")), _flatten(after.model_dump(mode="json"))
    return {key: (old.get(key), new.get(key)) for key in new if old.get(key) != new.get(key)}


def _validate(content: dict[str, Any]) -> TrainingConfig:
    try:
        return TrainingConfig.model_validate(content)
    except ValidationError as error:
        raise ConfigError(explain_validation(error)) from error


def _place(content: dict[str, Any], key: str, value: Any) -> None:
    if key not in field_names():
        raise ConfigError(f"{key!r} is not a field of the training config{closest_field(key)}")
    *parents, last = key.split(".")
    for parent in parents:
        content = content[parent]
    content[last] = value


def _flatten(content: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, dict):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
