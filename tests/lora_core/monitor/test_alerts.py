"""Each rule fires on a curve that must fire, once, and not on one that must not."""

import math
import random
from collections.abc import Iterator
from typing import Any

import pytest

from lora_core.monitor.alerts import Average, Trigger, alerts_of
from lora_core.monitor.smoothing import smooth
from lora_core.schema.alerts import AlertsConfig
from lora_core.schema.metrics import MetricKind

TRAIN, EVAL = MetricKind.TRAIN, MetricKind.EVAL
Point = tuple[MetricKind, int, dict[str, Any]]


def rules_that_fired(points: list[Point], config: AlertsConfig | None = None) -> list[str]:
    return [alert.rule for alert in alerts_of(points, config or AlertsConfig())]


def train(losses: list[float], **columns: list[float]) -> list[Point]:
    return [
        (TRAIN, step, {"loss": loss, **{name: values[step] for name, values in columns.items()}})
        for step, loss in enumerate(losses)
    ]


def evaluations(losses: list[float], every: int = 10) -> list[Point]:
    return [(EVAL, (place + 1) * every, {"eval_loss": loss}) for place, loss in enumerate(losses)]


def falling(count: int, noise: float = 0.1, seed: int = 1) -> list[float]:
    """A usual noisy curve, from 2.5 down to about 0.8."""
    scatter = random.Random(seed)
    return [0.8 + 1.7 * math.exp(-step / 80) + scatter.gauss(0, noise) for step in range(count)]


@pytest.mark.parametrize("seed", range(20))
def test_a_usual_noisy_curve_is_left_alone(seed: int) -> None:
    scatter = random.Random(seed)
    norms = [abs(scatter.gauss(1, 0.3)) for _ in range(600)]
    waits = [abs(scatter.gauss(0.05, 0.02)) for _ in range(600)]
    points = train(falling(600, seed=seed), grad_norm=norms, data_wait_fraction=waits)
    points += evaluations([1.5, 1.2, 1.0, 0.95, 0.93, 0.92])
    assert rules_that_fired(points) == []


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number_pauses_at_once(bad: float) -> None:
    (alert,) = alerts_of(train([*falling(5), bad, bad, bad]), AlertsConfig())
    assert (alert.rule, alert.step, alert.action) == ("nonfinite", 5, "pause")
    assert "checkpoint" in alert.advice


def test_a_gradient_that_is_no_number_counts_too() -> None:
    assert rules_that_fired(train([1.0], grad_norm=[math.nan])) == ["nonfinite"]


def test_one_bad_update_is_let_pass_where_three_are_asked_for() -> None:
    config = AlertsConfig.model_validate({"nonfinite": {"steps": 3}})
    assert rules_that_fired(train([1.0, math.nan, 1.0, math.nan, math.nan, 1.0]), config) == []
    assert rules_that_fired(train([1.0, math.nan, math.nan, math.nan]), config) == ["nonfinite"]


def test_a_loss_that_climbs_and_stays_up_diverges_once() -> None:
    climb = [0.8 + 0.02 * step for step in range(200)]
    fired = rules_that_fired(train(falling(300, noise=0.02) + climb))
    assert fired.count("divergence") == 1


def test_a_hump_that_goes_back_does_not_diverge() -> None:
    hump = [1.6] * 5
    assert "divergence" not in rules_that_fired(train(falling(300) + hump + falling(300)[200:]))


def test_a_loss_near_zero_that_trembles_does_not_diverge() -> None:
    scatter = random.Random(3)
    points = train([abs(scatter.gauss(0.003, 0.002)) for _ in range(500)])
    assert rules_that_fired(points) == []


def test_a_spike_is_told_once() -> None:
    points = train([*falling(100), 9.0, 8.0, 9.0, *falling(200)[100:]])
    assert [(alert.rule, alert.step) for alert in alerts_of(points, AlertsConfig())] == [("spike", 100)]


def test_two_spikes_far_apart_are_told_twice() -> None:
    points = train([*falling(100), 9.0, *falling(100)[50:], 9.0, 0.9])
    assert rules_that_fired(points) == ["spike", "spike"]


def test_scatter_alone_is_no_spike() -> None:
    scatter = random.Random(5)
    points = train([abs(scatter.gauss(0.4, 0.3)) for _ in range(500)])
    assert "spike" not in rules_that_fired(points)


def test_gradients_that_explode_are_told_once() -> None:
    norms = [1.0] * 100 + [50.0] * 30
    assert rules_that_fired(train([1.0] * 130, grad_norm=norms)) == ["gradient"]


def test_one_long_gradient_is_not_an_explosion() -> None:
    norms = [1.0] * 50 + [50.0] + [1.0] * 50
    assert rules_that_fired(train([1.0] * 101, grad_norm=norms)) == []


def test_evaluations_without_improvement_are_a_plateau() -> None:
    assert rules_that_fired(evaluations([1.0, 0.9, 0.9, 0.9, 0.8999, 0.9])) == ["plateau"]


def test_slow_improvement_is_no_plateau() -> None:
    assert rules_that_fired(evaluations([1.0 * 0.99**place for place in range(20)])) == []


def test_a_plateau_is_told_again_only_after_an_improvement() -> None:
    flat = [0.9] * 6
    assert rules_that_fired(evaluations([1.0, *flat, 0.7, *([0.7] * 6)])) == ["plateau", "plateau"]


def test_validation_that_rises_while_training_falls_is_overfitting() -> None:
    points: list[Point] = []
    losses = falling(600, noise=0.01)
    curve = [1.5, 1.2, 1.0, 1.1, 1.2, 1.3]
    for block, evaluated in enumerate(curve):
        points += [(TRAIN, step, {"loss": losses[step]}) for step in range(block * 100, block * 100 + 100)]
        points.append((EVAL, block * 100 + 100, {"eval_loss": evaluated}))
    (alert,) = [alert for alert in alerts_of(points, AlertsConfig()) if alert.rule == "overfitting"]
    assert alert.step == 500


def test_validation_that_rises_with_training_is_not_overfitting() -> None:
    points: list[Point] = []
    for block, evaluated in enumerate([1.0, 1.2, 1.3, 1.4]):
        points += [(TRAIN, step, {"loss": 1.0 + block / 5}) for step in range(block * 100, block * 100 + 100)]
        points.append((EVAL, block * 100 + 100, {"eval_loss": evaluated}))
    assert "overfitting" not in rules_that_fired(points)


def test_waiting_for_data_names_the_advice() -> None:
    points = train([1.0] * 200, data_wait_fraction=[0.6] * 200)
    (alert,) = alerts_of(points, AlertsConfig())
    assert alert.rule == "input_bound"
    assert "workers" in alert.advice


def test_a_slow_first_batch_is_not_waiting() -> None:
    points = train([1.0] * 200, data_wait_fraction=[0.99] * 5 + [0.02] * 195)
    assert rules_that_fired(points) == []


def test_a_rule_that_is_off_stays_silent() -> None:
    config = AlertsConfig.model_validate({"nonfinite": {"action": "off"}})
    assert rules_that_fired(train([math.nan] * 5), config) == []


def test_a_rule_carries_the_action_that_was_chosen() -> None:
    config = AlertsConfig.model_validate({"spike": {"action": "stop"}})
    (alert,) = alerts_of(train([*[1.0] * 50, 9.0]), config)
    assert alert.action == "stop"


def test_a_trigger_waits_until_its_fact_is_clearly_over() -> None:
    trigger = Trigger(1, calm=2)

    def facts() -> Iterator[bool]:
        for holds, over in [
            (True, False),
            (False, False),
            (True, False),
            (False, True),
            (False, True),
            (True, False),
        ]:
            yield trigger.see(holds, over=over)

    assert list(facts()) == [True, False, False, False, False, True]


def test_the_average_is_the_one_that_charts_show() -> None:
    losses = falling(100)
    average = Average(0.9)
    assert [average.add(loss) for loss in losses] == pytest.approx(smooth(losses, 0.9).tolist())
