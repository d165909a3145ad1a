"""What rules have seen survives a stop: a curve cut anywhere fires what the whole curve fires, no more and no less."""

import json
import math
import random
from typing import Any

import pytest
from pydantic import TypeAdapter

from lora_core.monitor.alerts import RULES, AlertWatch, alerts_of
from lora_core.monitor.rule_state import RuleState
from lora_core.schema.alerts import AlertsConfig
from lora_core.schema.metrics import MetricKind

Point = tuple[MetricKind, int, dict[str, Any]]
STATE = TypeAdapter(dict[str, RuleState])

SOON = AlertsConfig.model_validate(
    {
        "divergence": {"steps": 10},
        "gradient": {"steps": 5},
        "nonfinite": {"steps": 2},
        "plateau": {"evaluations": 2},
        "overfitting": {"evaluations": 2},
        "input_bound": {"steps": 10},
    }
)


def eventful() -> list[Point]:
    """A curve on which every rule fires: noise, spikes, an explosion, hungry steps, then up, and at last no numbers."""
    scatter = random.Random(4)
    points: list[Point] = []
    for step in range(1, 301):
        loss = 0.8 + 1.7 * math.exp(-step / 40) + scatter.gauss(0, 0.02)
        loss += 6.0 if step in (60, 140) else 0.02 * max(0, step - 220)
        values = {
            "loss": math.nan if step > 296 else loss,
            "grad_norm": 40.0 if 100 <= step < 112 else abs(scatter.gauss(1, 0.1)),
            "data_wait_fraction": 0.7 if 150 <= step < 180 else 0.02,
        }
        points.append((MetricKind.TRAIN, step, values))
        if step % 20 == 0:
            points.append((MetricKind.EVAL, step, {"eval_loss": 1.0 + abs(step - 100) / 100}))
    return points


def through_json(state: dict[str, RuleState]) -> dict[str, RuleState]:
    """As a checkpoint holds it."""
    return STATE.validate_json(json.dumps(STATE.dump_python(state), allow_nan=False))


def test_the_curve_lets_every_rule_fire() -> None:
    assert {alert.rule for alert in alerts_of(eventful(), SOON)} == set(RULES)


@pytest.mark.parametrize("stop", range(1, 315, 9))
def test_a_stopped_curve_fires_what_the_whole_curve_fires(stop: int) -> None:
    points = eventful()
    first, second = AlertWatch(SOON), AlertWatch(SOON)
    fired = [alert for point in points[:stop] for alert in first.see(*point)]
    second.go_on_from(through_json(first.state()))
    fired += [alert for point in points[stop:] for alert in second.see(*point)]
    assert fired == alerts_of(points, SOON)


def test_without_its_state_a_stopped_curve_fires_otherwise() -> None:
    points = eventful()
    fired = alerts_of(points[:130], SOON) + alerts_of(points[130:], SOON)
    assert fired != alerts_of(points, SOON)


def test_thresholds_follow_the_config_and_not_the_state() -> None:
    patient = AlertsConfig.model_validate({"plateau": {"evaluations": 9}})
    first, second = AlertWatch(SOON), AlertWatch(patient)
    flat: list[Point] = [(MetricKind.EVAL, step, {"eval_loss": 1.0}) for step in range(1, 11)]
    assert not [alert for point in flat[:2] for alert in first.see(*point)]
    second.go_on_from(first.state())
    assert [alert.step for point in flat[2:] for alert in second.see(*point)] == [10]


@pytest.mark.parametrize(
    "state",
    [{}, {"spike": {}}, {"spike": {"recent": 3.0, "trigger.held": [1.0]}}, {"of_tomorrow": {"seen": 1}}],
)
def test_what_a_state_does_not_hold_begins_anew(state: dict[str, RuleState]) -> None:
    watch = AlertWatch(SOON)
    watch.go_on_from(state)
    assert watch.state() == AlertWatch(SOON).state()


def test_a_rule_that_was_off_begins_anew() -> None:
    without = AlertsConfig.model_validate({"spike": {"action": "off"}})
    first, second = AlertWatch(without), AlertWatch(AlertsConfig())
    for point in eventful():
        first.see(*point)
    second.go_on_from(first.state())
    assert second.state()["spike"] == AlertWatch(AlertsConfig()).state()["spike"]
