"""Measures steps: throughput, waiting and the time that is left. Knows numbers and a clock, not the model."""

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from typing import Any

RECENT_STEPS = 20
"""Steps from which the remaining time is told: recent ones only, so that a slow first step is forgotten."""


@dataclass
class StepMeter:
    """One optimizer step at a time: `begin`, `got_batch`, then `end`.

    Args:
        total_steps: Steps of the whole run.
        tokens_seen: Non-padding tokens of earlier attempts.
        clock: Seconds, monotonic.
    """

    total_steps: int
    tokens_seen: int = 0
    clock: Callable[[], float] = time.perf_counter
    steps: int = 0
    _recent: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT_STEPS))
    _tokens: int = 0
    _rows: int = 0
    _waited: float = 0.0
    _began: float = 0.0
    _started: float = 0.0
    _pause_seconds: float = 0.0
    _pauses_left: int = 0

    def __post_init__(self) -> None:
        self._started = self.clock()

    def begin(self) -> None:
        """A step begins: the trainer asks for data."""
        self._began = self.clock()

    def got_batch(self, tokens: int, rows: int) -> None:
        """The data of the step is there."""
        self._waited = self.clock() - self._began
        self._tokens, self._rows = tokens, rows

    def end(self, step: int) -> dict[str, Any]:
        """The step is done; return its columns of a metric point (units as in MetricPoint)."""
        seconds = max(self.clock() - self._began, 1e-9)
        self.tokens_seen += self._tokens
        self.steps += 1
        if self.steps != 1:  # the first step of a process also warms up
            self._recent.append(seconds)
        return {
            "tokens_seen": self.tokens_seen,
            "tokens_per_second": self._tokens / seconds,
            "samples_per_second": self._rows / seconds,
            "data_wait_fraction": min(1.0, self._waited / seconds),
            "elapsed_seconds": self.clock() - self._started,
            "remaining_seconds": self._remaining(step),
        }

    def paused(self, seconds: float, left: int) -> None:
        """An evaluation took this long, and so many are left."""
        self._pause_seconds, self._pauses_left = seconds, left

    def _remaining(self, step: int) -> float | None:
        if not self._recent:
            return None
        return median(self._recent) * (self.total_steps - step) + self._pause_seconds * self._pauses_left


def perplexity(loss: float) -> float:
    """Turn a loss in nats a token into perplexity: exp(loss), cut at 1e30 so that it can be stored."""
    return math.exp(loss) if loss < math.log(1e30) else 1e30
