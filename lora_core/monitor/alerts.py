"""Rules that watch a curve while it grows: pure arithmetic with hysteresis. Knows no job, no clock and no trainer.

Each rule fires once when its fact has held long enough, and is armed again only after the fact has clearly ended, so that
a curve that trembles about a threshold tells one thing once.
"""

import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Protocol

from lora_core.monitor.rule_state import RuleState, restore, state_of
from lora_core.schema.alerts import (
    AlertAction,
    AlertsConfig,
    DivergenceRule,
    GradientRule,
    InputBoundRule,
    NonFiniteRule,
    OverfittingRule,
    PlateauRule,
    SpikeRule,
)
from lora_core.schema.metrics import MetricKind

RECENT = 50
"""Updates whose median is the measure of what is usual."""

YOUNG = 20
"""Updates after which there is something usual."""

CALM_STEPS = 10
"""Updates without a spike after which the next one is told again."""

SCATTER = 8
"""Median deviations by which a spike stands out at least: 6 are passed by chance once in some thousand noisy updates."""

TREMBLE = 8
"""Standard deviations of the average by which a diverging loss stands out at least."""

LOSS_WEIGHT = 0.95
"""Weight of the moving average that divergence and overfitting look at."""

NOISE = 0.05
"""Nats a token by which a loss has to stand out at least: at a loss near zero every ratio is large."""

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Alert:
    """One thing to tell, and what is to be done about it.

    Attributes:
        rule: Name of the rule in AlertsConfig.
        step: The update at which it fired.
        message: What happened, with numbers.
        advice: What a person can do.
    """

    rule: str
    step: int
    action: AlertAction
    message: str
    advice: str


@dataclass
class Trigger:
    """Fires once when a fact has held `patience` times in a row; armed again after it was clearly over `calm` times in a row.

    >>> trigger = Trigger(2)
    >>> [trigger.see(fact) for fact in (True, True, True, False, True, True)]
    [False, True, False, False, False, True]
    """

    patience: int = 1
    calm: int = 1
    _held: int = 0
    _over: int = 0
    _armed: bool = True

    def see(self, holds: bool, *, over: bool | None = None) -> bool:
        """Take one observation.

        Args:
            over: Whether it is clearly over; default: whenever it does not hold.
        """
        over = not holds if over is None else over
        self._held = self._held + 1 if holds else 0
        self._over = self._over + 1 if over else 0
        if not self._armed and self._over >= self.calm:
            self._armed = True
        if self._armed and self._held >= self.patience:
            self._armed = False
            return True
        return False


class Rule(Protocol):
    """Looks at one point after the other."""

    def see(self, kind: MetricKind, values: Values) -> tuple[str, str] | None:
        """Return (message, advice) if the rule fires at this point."""


class NonFinite:
    """The loss, or the gradient norm, is NaN or infinite."""

    def __init__(self, rule: NonFiniteRule) -> None:
        self._rule = rule
        self._trigger = Trigger(rule.steps)

    def see(self, kind: MetricKind, values: Values) -> tuple[str, str] | None:
        """Look at a training point."""
        if kind is not MetricKind.TRAIN:
            return None
        bad = [name for name in ("loss", "grad_norm") if _is_not_finite(values.get(name))]
        if not self._trigger.see(bool(bad)):
            return None
        what = " and the ".join("gradient norm" if name == "grad_norm" else name for name in bad)
        return (
            f"The {what} {'are' if len(bad) > 1 else 'is'} not a finite number.",
            "Lower the learning rate or the gradient clip, use bfloat16 instead of float16, and look at the rows of this batch;"
            " then resume from the newest checkpoint.",
        )


class Divergence:
    """The smoothed loss stays far above its lowest, in the measure of how it trembled there."""

    def __init__(self, rule: DivergenceRule) -> None:
        self._rule = rule
        self._average = Average(LOSS_WEIGHT)
        self._variance = Average(LOSS_WEIGHT)
        self._lowest = math.inf
        self._tremble = 0.0
        self._trigger = Trigger(rule.steps, calm=rule.steps)

    def see(self, kind: MetricKind, values: Values) -> tuple[str, str] | None:
        """Look at a training point."""
        loss = _finite(values.get("loss"))
        if kind is not MetricKind.TRAIN or loss is None:
            return None
        smoothed = self._average.add(loss)
        variance = self._variance.add((loss - smoothed) ** 2)
        if self._average.count < YOUNG:
            return None
        if smoothed < self._lowest:
            # The variance of such an average is that of the values times (1 - weight) / (1 + weight).
            self._tremble = math.sqrt(variance * (1 - LOSS_WEIGHT) / (1 + LOSS_WEIGHT))
            self._lowest = smoothed
        bound = self._lowest + max(self._lowest * (self._rule.ratio - 1), TREMBLE * self._tremble, NOISE)
        half = self._lowest + (bound - self._lowest) / 2
        if not self._trigger.see(smoothed > bound, over=smoothed < half):
            return None
        return (
            f"The loss diverges: {smoothed:.4f} on average, {smoothed / max(self._lowest, 1e-9):.1f} times its lowest"
            f" ({self._lowest:.4f}).",
            "Stop, and start again with a learning rate of a third, or resume from the best checkpoint.",
        )


class Spike:
    """One loss far above the median of those before it, also in the measure of their usual scatter."""

    def __init__(self, rule: SpikeRule) -> None:
        self._rule = rule
        self._recent: deque[float] = deque(maxlen=RECENT)
        self._trigger = Trigger(1, calm=CALM_STEPS)

    def see(self, kind: MetricKind, values: Values) -> tuple[str, str] | None:
        """Look at a training point."""
        loss = _finite(values.get("loss"))
        if kind is not MetricKind.TRAIN or loss is None:
            return None
        told = None
        if len(self._recent) >= YOUNG:
            usual = median(self._recent)
            scatter = median(abs(value - usual) for value in self._recent)
            bound = usual + max((self._rule.ratio - 1) * usual, SCATTER * scatter, NOISE)
            if self._trigger.see(loss > bound):
                told = (
                    f"The loss jumped to {loss:.4f}; the median of the {len(self._recent)} updates before is {usual:.4f}.",
                    "A single spike is often one odd batch. If more come: lower the learning rate, or clip gradients lower.",
                )
        self._recent.append(loss)
        return told


class Gradient:
    """Gradient norms far above their median, several times in a row."""

    def __init__(self, rule: GradientRule) -> None:
        self._rule = rule
        self._recent: deque[float] = deque(maxlen=RECENT)
        self._trigger = Trigger(rule.steps, calm=CALM_STEPS)

    def see(self, kind: MetricKind, values: Values) -> tuple[str, str] | None:
        """Look at a training point. Norms above the bound do not become usual."""
        norm = _finite(values.get("grad_norm"))
        if kind is not MetricKind.TRAIN or norm is None:
            return None
        if len(self._recent) < YOUNG:
            self._recent.append(norm)
            return None
        usual = median(self._recent)
        exploded = norm > usual * self._rule.ratio
        if not exploded:
            self._recent.append(norm)
        if not self._trigger.see(exploded, over=norm < usual * (1 + self._rule.ratio) / 2):
            return None
        return (
            f"Gradients explode: norm {norm:.3g}, usually {usual:.3g}.",
            "Lower the learning rate, lengthen the warm-up, or clip gradients lower.",
        )


class Plateau:
    """Evaluations that bring nothing any more."""

    def __init__(self, rule: PlateauRule) -> None:
        self._rule = rule
        self._best = math.inf
        self._trigger = Trigger(rule.evaluations)

    def see(self, kind: MetricKind, values: Values) -> tuple[str, str] | None:
        """Look at an evaluation."""
        loss = _finite(values.get("eval_loss"))
        if kind is not MetricKind.EVAL or loss is None:
            return None
        better = loss < self._best * (1 - self._rule.improvement)
        if better:
            self._best = loss
        if not self._trigger.see(not better):
            return None
        return (
            f"The validation loss has not improved over {self._best:.4f} in {self._rule.evaluations} evaluations.",
            "The job may be done: stop it and keep the best checkpoint, or go on if the training loss still falls.",
        )


class Overfitting:
    """The validation loss has left its best while the training loss went on falling."""

    def __init__(self, rule: OverfittingRule) -> None:
        self._rule = rule
        self._average = Average(LOSS_WEIGHT)
        self._train_at_best = math.inf
        self._best = math.inf
        self._trigger = Trigger(rule.evaluations)

    def see(self, kind: MetricKind, values: Values) -> tuple[str, str] | None:
        """Look at a point of either kind."""
        if kind is MetricKind.TRAIN and (loss := _finite(values.get("loss"))) is not None:
            self._average.add(loss)
        evaluated = _finite(values.get("eval_loss")) if kind is MetricKind.EVAL else None
        if evaluated is None:
            return None
        if evaluated <= self._best:
            self._best, self._train_at_best = evaluated, self._average.value
        bound = max(self._best * (1 + self._rule.rise), self._best + NOISE / 5)
        apart = evaluated > bound and self._average.value < self._train_at_best
        if not self._trigger.see(apart, over=evaluated <= self._best):
            return None
        return (
            f"The model overfits: the validation loss is {evaluated:.4f}, its best was {self._best:.4f},"
            f" while the training loss fell to {self._average.value:.4f}.",
            "Stop and keep the best checkpoint. Next time: fewer epochs, a lower rank, dropout, or more rows.",
        )


class InputBound:
    """On average too large a share of a step is waiting for data."""

    def __init__(self, rule: InputBoundRule) -> None:
        self._rule = rule
        self._recent: deque[float] = deque(maxlen=rule.steps)
        self._trigger = Trigger(1)

    def see(self, kind: MetricKind, values: Values) -> tuple[str, str] | None:
        """Look at a training point."""
        waited = _finite(values.get("data_wait_fraction"))
        if kind is not MetricKind.TRAIN or waited is None:
            return None
        self._recent.append(waited)
        if len(self._recent) < self._rule.steps:
            return None
        share = sum(self._recent) / len(self._recent)
        if not self._trigger.see(share > self._rule.fraction, over=share < self._rule.fraction / 2):
            return None
        return (
            f"{share:.0%} of each step is waiting for data.",
            "Give the data loader more workers (data.workers), use a faster disk, or free the CPU for this job.",
        )


@dataclass
class Average:
    """Debiased exponential moving average, one value at a time (as `smoothing.smooth`)."""

    weight: float
    count: int = 0
    value: float = math.inf
    _sum: float = field(default=0.0, repr=False)

    def add(self, value: float) -> float:
        """Take a value and return the average."""
        self.count += 1
        self._sum = self.weight * self._sum + (1 - self.weight) * value
        self.value = self._sum / -math.expm1(self.count * math.log(self.weight))
        return self.value


RULES: dict[str, Any] = {
    "nonfinite": NonFinite,
    "divergence": Divergence,
    "spike": Spike,
    "gradient": Gradient,
    "plateau": Plateau,
    "overfitting": Overfitting,
    "input_bound": InputBound,
}
"""By name in AlertsConfig. `stall` is not here: it needs a clock, and whoever hangs cannot look at it."""


class AlertWatch:
    """All rules of one job, fed with points in the order in which they are measured. Not thread-safe."""

    def __init__(self, config: AlertsConfig) -> None:
        self._rules: list[tuple[str, AlertAction, Rule]] = []
        for name, rule in RULES.items():
            settings = getattr(config, name)
            if settings.action != "off":
                self._rules.append((name, settings.action, rule(settings)))

    def see(self, kind: MetricKind, step: int, values: Values) -> list[Alert]:
        """Return what fires at this point.

        Args:
            values: Columns of the point as in MetricPoint; missing and None are unknown.
        """
        fired = []
        for name, action, rule in self._rules:
            if (told := rule.see(kind, values)) is not None:
                fired.append(Alert(name, step, action, *told))
        return fired

    def state(self) -> dict[str, RuleState]:
        """Return what each rule has seen, for a checkpoint."""
        return {name: state_of(rule) for name, _, rule in self._rules}

    def go_on_from(self, state: Mapping[str, RuleState]) -> None:
        """Take over what the rules of an earlier attempt had seen; a rule that was off then begins anew."""
        for name, _, rule in self._rules:
            restore(rule, state.get(name, {}))


def alerts_of(points: Iterable[tuple[MetricKind, int, Values]], config: AlertsConfig) -> list[Alert]:
    """Return every alert of a whole curve: (kind, step, columns) in order."""
    watch = AlertWatch(config)
    return [alert for kind, step, values in points for alert in watch.see(kind, step, values)]


def _finite(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _is_not_finite(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)
