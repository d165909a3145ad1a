"""From a batch of run-folder events to rows: points, log lines, samples, notifications. Knows no job state.

Every row has the key of its event, so a batch that comes twice, or late, changes nothing.
"""

# ruff: noqa: S608 - what is put into statements are names of columns from this code; values are always bound.

import math
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from itertools import compress
from typing import Any, Literal

import msgspec
from pydantic import ValidationError

from lora_core.schema.metrics import METRIC_COLUMNS, MetricKind, MetricPoint
from lora_core.schema.run import EventKind, RunEvent
from lora_core.store.local.rows import stamp, to_json

VALUES = (*METRIC_COLUMNS, "extra", "nonfinite")
"""Columns of a point that may be empty."""

_INSERT_LOG = "INSERT OR IGNORE INTO log_lines (job_id, attempt, seq, at, level, source, text) VALUES (?, ?, ?, ?, ?, ?, ?)"
_INSERT_SAMPLE = (
    "INSERT OR IGNORE INTO samples (job_id, attempt, seq, at, step, data) VALUES (?, ?, ?, ?, ?, ?)"
)
_MAX_STEP = 2**53
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


class Batch:
    """The rows of one batch, made before the write lock is taken.

    Attributes:
        points: (event number, point) of the metric events.
    """

    def __init__(self, job_id: str, attempt: int, events: Sequence[RunEvent]) -> None:
        self.points: list[tuple[int, Point]] = []
        self._key = (job_id, attempt)
        self._times: list[datetime] = []
        self._logs: list[tuple[Any, ...]] = []
        self._samples: list[tuple[Any, ...]] = []
        for event in events:
            if event.kind is EventKind.METRICS:
                self._add_point(event)
            elif event.kind is EventKind.LOG:
                self._add_log(event, event.data)
            elif event.kind is EventKind.ALERT:
                self._add_log(event, {"level": "warning", "source": "alert", "text": alert_text(event)})
            elif event.kind is EventKind.SAMPLE:
                step = event.data.get("step", 0)
                row = (event.seq, stamp(event.at), step if isinstance(step, int) else 0, to_json(event.data))
                self._samples.append((*self._key, *row))

    def write(self, connection: Any, elapsed_before: float) -> None:
        """Write points, log lines and samples.

        Args:
            elapsed_before: Seconds that earlier attempts took; points keep the seconds of the whole job.
        """
        for present, rows in self._point_rows(elapsed_before).items():
            connection.executemany(_insert_points(present), rows)
        if self._logs:
            connection.executemany(_INSERT_LOG, self._logs)
        if self._samples:
            connection.executemany(_INSERT_SAMPLE, self._samples)

    def steps(self, kind: MetricKind) -> list[int]:
        """Return the steps of the batch's points of one kind."""
        return [point.step for _, point in self.points if point.kind == kind]

    def _point_rows(self, elapsed_before: float) -> dict[tuple[bool, ...], list[tuple[Any, ...]]]:
        """Return the rows by which values they have: to bind an empty value costs sqlite3 more than to insert a row."""
        job_id, attempt = self._key
        groups: dict[tuple[bool, ...], list[tuple[Any, ...]]] = {}
        for (seq, point), moment in zip(self.points, self._times, strict=True):
            if point.elapsed_seconds is not None:
                point.elapsed_seconds += elapsed_before
            kind, step, *values = msgspec.structs.astuple(point)
            if point.extra is not None or point.nonfinite is not None:
                values[-2:] = [to_json(document) if document else None for document in values[-2:]]
            present = tuple([value is not None for value in values])
            row = (job_id, kind, step, attempt, seq, stamp(moment), *compress(values, present))
            groups.setdefault(present, []).append(row)
        return groups

    def _add_point(self, event: RunEvent) -> None:
        try:
            point = _read_point(event)
        except ValidationError as error:
            fault = error.errors()[0]
            text = f"A metric line could not be read ({'.'.join(map(str, fault['loc']))}: {fault['msg']})."
            self._add_log(event, {"level": "warning", "source": "runner", "text": text})
        else:
            self.points.append((event.seq, point))
            self._times.append(event.at)

    def _add_log(self, event: RunEvent, data: dict[str, Any]) -> None:
        text = str(data.get("text", ""))[:_LOG_CHARACTERS].encode(errors="replace").decode()
        source = str(data.get("source", "trainer"))[:100]
        level = data.get("level")
        row = (
            stamp(event.at),
            level if level in {"debug", "info", "warning", "error"} else "info",
            source,
            text,
        )
        self._logs.append((*self._key, event.seq, *row))


def alert_text(event: RunEvent) -> str:
    """Return what an alert says."""
    data = event.data
    return str(data.get("message") or data.get("text") or data.get("name") or "The trainer raised an alert.")


@cache
def _insert_points(present: tuple[bool, ...]) -> str:
    """Return the statement that writes points with these values; the other columns become empty."""
    names = ("job_id", "kind", "step", "attempt", "seq", "recorded_at", *compress(VALUES, present))
    replaced = ", ".join(f"{name} = excluded.{name}" for name in ("attempt", "seq", "recorded_at", *VALUES))
    return (
        f"INSERT INTO metrics_points ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"
        f" ON CONFLICT (job_id, kind, step) DO UPDATE SET hidden = 0, {replaced}"
        " WHERE (excluded.attempt, excluded.seq) > (metrics_points.attempt, metrics_points.seq)"
    )


def _read_point(event: RunEvent) -> Point:
    """Read a point, fast where it is as it should be."""
    try:
        point = msgspec.convert(event.data, Point)
    except msgspec.ValidationError:
        return _mend_point(event)
    known = sum(filter(None, msgspec.structs.astuple(point)[2:-2]))
    return point if 0 <= point.step < _MAX_STEP and known - known == 0 else _mend_point(event)


def _mend_point(event: RunEvent) -> Point:
    """Read a point with faults: values that are not finite go to `nonfinite`, unknown numbers to `extra`.

    Raises:
        ValidationError: It is no point.
    """
    data = dict(event.data)
    strange = {
        key: str(value) for key, value in data.items() if type(value) is float and not math.isfinite(value)
    }
    if strange:
        data |= dict.fromkeys(strange) | {"nonfinite": {**data.get("nonfinite", {}), **strange}}
    unknown = data.keys() - MetricPoint.model_fields.keys()
    if unknown:
        numbers = {key: float(data[key]) for key in unknown if isinstance(data[key], int | float)}
        data = {key: value for key, value in data.items() if key not in unknown}
        data["extra"] = {**data.get("extra", {}), **numbers}
    point = MetricPoint.model_validate(data | {"recorded_at": event.at, "attempt": 0})
    values = point.model_dump(mode="json", exclude={"recorded_at", "attempt"})
    values["step"] = min(point.step, _MAX_STEP - 1)
    return msgspec.convert(values, Point)
