"""How numbers are written."""

import pytest

from lora_core.schema.alerts import AlertsConfig
from lora_core.schema.config import TrainingConfig
from pages.widgets import formats
from pages.widgets.config_form import ALERT_COLUMNS, section_keys, sections


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "--:--:--"),
        (-1.0, "--:--:--"),
        (0.0, "00:00:00"),
        (3725.9, "01:02:05"),
        (360_000.0, "100:00:00"),
    ],
)
def test_a_duration_has_hours_minutes_and_seconds(seconds: float | None, text: str) -> None:
    assert formats.duration(seconds) == text


def test_a_loss_has_four_decimals() -> None:
    assert (formats.loss(0.5), formats.loss(None)) == ("0.5000", "–")


def test_a_change_has_a_sign_and_no_change_is_not_told() -> None:
    assert formats.change([2.0, 1.0, 1.5], back=2) == "-0.5000"
    assert formats.change([2.0, 1.0, 1.5], back=1) == "+0.5000"
    assert formats.change([1.0, 1.00001], back=1) is None
    assert formats.change([1.0], back=1) is None


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (999, "999 B"), (98_000, "98.0 kB"), (2_500_000_000, "2.5 GB")]
)
def test_bytes_have_a_unit(size: int, text: str) -> None:
    assert formats.size(size) == text


def test_every_plain_field_of_the_config_has_an_input() -> None:
    offered = {key for section in sections() for key in section_keys(section)}
    assert {
        "adapter.rank",
        "data.loss_on",
        "model.revision",
        "optimisation.epochs",
        "checkpoints.keep",
    } <= offered
    assert "adapter.targets" not in offered
    assert set(sections()) == set(TrainingConfig.model_fields) - {"schema_version", "preset", "method"}


def test_every_alert_rule_fits_the_columns_of_its_row() -> None:
    rules = [field.annotation for field in AlertsConfig.model_fields.values()]
    assert all(len(rule.model_fields) <= ALERT_COLUMNS for rule in rules)  # type: ignore[union-attr]
