"""Configs come in as presets, overrides and YAML, and whatever is wrong is named."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_core.actions.configs import (
    config_from_preset,
    config_from_yaml,
    config_to_yaml,
    diff_configs,
    override_config,
)
from lora_core.errors import ConfigError
from lora_core.schema.config import TrainingConfig


def test_a_config_survives_yaml_both_ways() -> None:
    config = config_from_preset("memory-saver", ["adapter.targets=[q_proj, v_proj]", "data.row_limit=7"])
    assert config_from_yaml(config_to_yaml(config)) == config


def test_fields_left_out_keep_their_defaults() -> None:
    assert config_from_yaml("adapter: {rank: 8}").optimisation == TrainingConfig().optimisation


def test_an_override_is_read_by_the_type_of_its_field() -> None:
    assert (
        override_config(TrainingConfig(), ["optimisation.learning_rate=1e-4"]).optimisation.learning_rate
        == 1e-4
    )


def test_an_override_can_clear_an_optional_field() -> None:
    assert config_from_preset("quick-check", ["optimisation.max_steps=null"]).optimisation.max_steps is None


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("adapter.rnak=8", "did you mean adapter.rank"),
        ("adapter.rank", "key=value"),
        ("adapter.rank=0", "adapter.rank: input should be greater"),
        ("adapter.rank=many", "adapter.rank: input should be a valid integer"),
        ("adapter={}", "not a field"),
        pytest.param(
            f"adapter.rank={'[' * 3000}", "adapter.rank: input should be a valid integer", id="deep"
        ),
    ],
)
def test_a_bad_override_is_explained(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        override_config(TrainingConfig(), [override])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("adapter:\n  rnak: 3\n", "did you mean adapter.rank"),
        ("a: &x [1]\nb: *x\n", "aliases are not allowed in line 2"),
        ("a: [", "not valid YAML"),
        ("- 1\n", "key: value"),
        ("", "key: value"),
        ("adapter: {rank: -1}", "adapter.rank"),
        ("a: !!python/object/apply:os.system ['true']", "not valid YAML"),
        ("x: " + "a" * 70_000, "too long"),
        ("[" * 5_000, "cannot be read|not valid"),
    ],
)
def test_bad_yaml_is_explained(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config_from_yaml(text)


@given(st.text(max_size=300))
def test_any_text_is_a_config_or_a_config_error(text: str) -> None:
    with contextlib.suppress(ConfigError):
        assert isinstance(config_from_yaml(text), TrainingConfig)


def test_a_diff_names_only_what_differs() -> None:
    changed = override_config(TrainingConfig(), ["adapter.rank=8"])
    assert diff_configs(TrainingConfig(), changed) == {"adapter.rank": (32, 8)}
