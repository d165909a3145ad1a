"""From a batch of run-folder events to what a store keeps: points, log lines, samples. Knows no database and no job state.

Whatever a trainer writes becomes a row or a warning in the log; nothing of one event keeps the others from the store.
Every row has the number of its event, so that a store can take a batch that comes twice, or late, without a change.
"""

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple

import msgspec
from pydantic import ValidationError

from lora_core.schema.metrics import MetricKind, MetricPoint
from lora_core.schema.run import EventKind, RunEvent

MAX_BATCH = 1000
"""Most events in one batch."""

_MAX_STEP = 2**53
_LEVELS = ("debug", "info", "warning", "error")
_NAMES = ("nan", "inf", "-inf")
_LOG_CHARACTERS = 16_000
"""A longer log line is cut: a progress bar without line ends must not fill the database."""


class Point(msgspec.Struct, forbid_unknown_fields=True):
    """A metric point as events bring it: `MetricPoint` without attempt and time, but ten times as fast to read."""

    kind: Literal["train", "eval", "system"]
    step: int
    epoch: float | None = None
    tokens_seen: int | None = None
    loss: float | None = None
    eval_loss: float | None = None
    learning_rate: float | None = None
    grad_norm: float | None = None
    tokens_per_second: float | None = None
    samples_per_second: float | None = None
    data_wait_fraction: float | None = None
    elapsed_seconds: float | None = None
    remaining_seconds: float | None = None
    gpu_memory_allocated_gb: float | None = None
    gpu_memory_reserved_gb: float | None = None
    gpu_utilization: float | None = None
    gpu_temperature_c: float | None = None
    gpu_power_w: float | None = None
    extra: dict[str, float] | None = None
    nonfinite: dict[str, str] | None = None


class LogRow(NamedTuple):
    """A log line of a job."""

    seq: int
    at: datetime
    level: str
    source: str
    text: str


class SampleRow(NamedTuple):
    """What the model wrote for the prompts it is watched by."""

    seq: int
    at: datetime
    step: int
    data: dict[str, Any]


class Batch:
    """One batch, read and mended.

    Attributes:
        points: (event number, point) of the metric events.
        times: When each of these points was recorded.
        logs: Log lines; alerts and lines that could not be read are among them.
        samples: Samples.
    """

    def __init__(self, events: Sequence[RunEvent]) -> None:
        self.points: list[tuple[int, Point]] = []
        self.times: list[datetime] = []
        self.logs: list[LogRow] = []
        self.samples: list[SampleRow] = []
        for event in events:
            if event.kind is EventKind.METRICS:
                self._add_point(event)
            elif event.kind is EventKind.LOG:
                self._add_log(event, event.data)
            elif event.kind is EventKind.ALERT:
                self._add_log(event, {"level": "warning", "source": "alert", "text": alert_text(event)})
            elif event.kind is EventKind.SAMPLE:
                step = min(read_count(event.data.get("step")) or 0, _MAX_STEP)
                self.samples.append(SampleRow(event.seq, event.at, step, event.data))

    def steps(self, kind: MetricKind) -> list[int]:
        """Return the steps of the batch's points of one kind."""
        return [point.step for _, point in self.points if point.kind == kind]

    def _add_point(self, event: RunEvent) -> None:
        try:
            point = _read_point(event)
        except ValidationError as error:
            fault = error.errors()[0]
            text = f"A metric line could not be read ({'.'.join(map(str, fault['loc']))}: {fault['msg']})."
            self._add_log(event, {"level": "warning", "source": "runner", "text": text})
        else:
            self.points.append((event.seq, point))
            self.times.append(event.at)

    def _add_log(self, event: RunEvent, data: dict[str, Any]) -> None:
        text = str(data.get("text", ""))[:_LOG_CHARACTERS].encode(errors="replace").decode()
        source = str(data.get("source", "trainer"))[:100]
        level = data.get("level")
        known = level if level in _LEVELS else "info"
        self.logs.append(LogRow(event.seq, event.at, known, source, text))


def alert_text(event: RunEvent) -> str:
    """Return what an alert says."""
    data = event.data
    return str(data.get("message") or data.get("text") or data.get("name") or "The trainer raised an alert.")


def read_count(value: Any) -> int | None:
    """Return a number of steps as an event has it, or None if it is none.

    >>> read_count(3), read_count(True), read_count(-1), read_count("3")
    (3, None, None, None)
    """
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _read_point(event: RunEvent) -> Point:
    """Read a point, fast where it is as it should be."""
    try:
        point = msgspec.convert(event.data, Point)
        known = sum(filter(None, msgspec.structs.astuple(point)[2:-2]))
        if point.extra:
            known += sum(point.extra.values())
    except (msgspec.ValidationError, OverflowError):
        return _mend_point(event)
    good = 0 <= point.step < _MAX_STEP and known - known == 0 and abs(point.tokens_seen or 0) < _MAX_STEP
    named = not point.nonfinite or all(name in _NAMES for name in point.nonfinite.values())
    return point if good and named else _mend_point(event)


def _mend_point(event: RunEvent) -> Point:
    """Read a point with faults: values that are not finite go to `nonfinite`, unknown numbers to `extra`.

    Raises:
        ValidationError: It is no point.
    """
    data = dict(event.data)
    unknown = {key: data.pop(key) for key in data.keys() - MetricPoint.model_fields.keys()}
    given, named = data.get("extra"), data.get("nonfinite")
    extra = {**(given if isinstance(given, dict) else {}), **unknown}
    nonfinite = (
        {key: value for key, value in named.items() if value in _NAMES} if isinstance(named, dict) else {}
    )
    for values in (data, extra):
        for key, value in values.items():
            number = _number(value)
            if number is not None and not math.isfinite(number):
                values[key], nonfinite[key] = None, str(number)
    if abs(_number(data.get("tokens_seen")) or 0.0) >= _MAX_STEP:
        data["tokens_seen"] = None
    data["extra"] = {key: number for key in extra if (number := _number(extra[key])) is not None}
    data["nonfinite"] = nonfinite
    point = MetricPoint.model_validate(data | {"recorded_at": event.at, "attempt": 0})
    mended = point.model_dump(mode="json", exclude={"recorded_at", "attempt"})
    mended["step"] = min(point.step, _MAX_STEP - 1)
    return msgspec.convert(mended, Point)


def _number(value: Any) -> float | None:
    """Return a value as a float (infinite if it is beyond all floats), None if it is no number."""
    if not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
