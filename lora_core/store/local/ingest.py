"""Writes the rows of a batch: points, log lines, samples. A batch that comes twice, or late, changes nothing."""

# ruff: noqa: S608 - what is put into statements are names of columns from this code; values are always bound.

from functools import cache
from itertools import compress
from typing import Any

import msgspec

from lora_core.schema.metrics import METRIC_COLUMNS
from lora_core.store.batch import Batch
from lora_core.store.local.rows import stamp, to_json

VALUES = (*METRIC_COLUMNS, "extra", "nonfinite")
"""Columns of a point that may be empty."""

_INSERT_LOG = "INSERT OR IGNORE INTO log_lines (job_id, attempt, seq, at, level, source, text) VALUES (?, ?, ?, ?, ?, ?, ?)"
_INSERT_SAMPLE = (
    "INSERT OR IGNORE INTO samples (job_id, attempt, seq, at, step, data) VALUES (?, ?, ?, ?, ?, ?)"
)


class BatchRows:
    """The rows of one batch, made before the write lock is taken."""

    def __init__(self, job_id: str, attempt: int, batch: Batch) -> None:
        self._key = (job_id, attempt)
        self._batch = batch
        self._logs = [
            (*self._key, row.seq, stamp(row.at), row.level, row.source, row.text) for row in batch.logs
        ]
        self._samples = [
            (*self._key, row.seq, stamp(row.at), row.step, to_json(row.data)) for row in batch.samples
        ]

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

    def _point_rows(self, elapsed_before: float) -> dict[tuple[bool, ...], list[tuple[Any, ...]]]:
        """Return the rows by which values they have: to bind an empty value costs sqlite3 more than to insert a row."""
        job_id, attempt = self._key
        groups: dict[tuple[bool, ...], list[tuple[Any, ...]]] = {}
        for (seq, point), moment in zip(self._batch.points, self._batch.times, strict=True):
            if point.elapsed_seconds is not None:
                point.elapsed_seconds += elapsed_before
            kind, step, *values = msgspec.structs.astuple(point)
            if point.extra is not None or point.nonfinite is not None:
                values[-2:] = [to_json(document) if document else None for document in values[-2:]]
            present = tuple([value is not None for value in values])
            row = (job_id, kind, step, attempt, seq, stamp(moment), *compress(values, present))
            groups.setdefault(present, []).append(row)
        return groups


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
