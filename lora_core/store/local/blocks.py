"""A cache of points: 1,000 visible points in a row become one float64 array a column, so that charts read no rows.

Rows of metrics_points are the truth. The blocks of a series (job, kind) cover its steps from the first on without a
gap, so what is behind the last block is the tail and is read from rows. A block in which a point changes is made anew.
"""

# ruff: noqa: S608 - what is put into statements are names of columns from this code; values are always bound.

import sqlite3
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lora_core.schema.metrics import MetricKind

BLOCK_POINTS = 1000
STEP = "step"
RECORDED_AT = "recorded_at"
Column = npt.NDArray[np.float64]
_END = 2**62


def hide_beyond(connection: sqlite3.Connection, job_id: str, attempt: int, start_step: int) -> None:
    """Hide points that older attempts made beyond the step from which this one started. System points are kept by time."""
    for kind in (MetricKind.TRAIN, MetricKind.EVAL):
        hidden = connection.execute(
            "UPDATE metrics_points SET hidden = 1 WHERE job_id = ? AND kind = ? AND step > ? AND attempt < ? AND NOT hidden",
            (job_id, kind.value, start_step, attempt),
        ).rowcount
        if hidden:
            connection.execute(
                "DELETE FROM metrics_blocks WHERE job_id = ? AND kind = ? AND to_step > ?",
                (job_id, kind.value, start_step + 1),
            )


def roll(
    connection: sqlite3.Connection,
    job_id: str,
    kind: MetricKind,
    changed_steps: Sequence[int],
    columns: Sequence[str],
) -> None:
    """Bring the blocks of a series up to date after points were written.

    Args:
        changed_steps: Steps of those points.
        columns: All columns that a block may have.
    """
    key = (job_id, kind.value)
    behind: int = connection.execute(
        "SELECT coalesce(max(to_step), 0) FROM metrics_blocks WHERE job_id = ? AND kind = ? AND name = 'step'",
        key,
    ).fetchone()[0]
    names = (STEP, *(name for name in columns if name != STEP))
    for low, high in _touched(connection, key, [step for step in changed_steps if step < behind]):
        connection.execute(
            "DELETE FROM metrics_blocks WHERE job_id = ? AND kind = ? AND from_step = ?", (*key, low)
        )
        _store(connection, key, low, high, read_rows(connection, job_id, kind, names, low, high))
    count = "SELECT count(*) FROM metrics_points WHERE job_id = ? AND kind = ? AND step >= ? AND NOT hidden"
    waiting: int = connection.execute(count, (*key, behind)).fetchone()[0]
    if waiting < BLOCK_POINTS:
        return
    tail = read_rows(connection, job_id, kind, _filled(connection, key, names, behind), behind, _END)
    for start in range(0, waiting - BLOCK_POINTS + 1, BLOCK_POINTS):
        block = {name: values[start : start + BLOCK_POINTS] for name, values in tail.items()}
        high = int(block[STEP][-1]) + 1
        _store(connection, key, behind, high, block)
        behind = high


def read_series(
    connection: sqlite3.Connection, job_id: str, kind: MetricKind, names: Sequence[str]
) -> dict[str, Column]:
    """Return whole columns of a series in order of step, NaN where there is no value.

    Args:
        names: Metric columns, "step" or "recorded_at" (seconds since 1970); "step" always comes too.
    """
    wanted = tuple(dict.fromkeys((STEP, *names)))
    found = connection.execute(
        "SELECT from_step, to_step, data FROM metrics_blocks WHERE job_id = ? AND kind = ? AND name = 'step' ORDER BY from_step",
        (job_id, kind.value),
    ).fetchall()
    starts: dict[int, int] = {}
    total = 0
    for low, _, data in found:
        starts[low] = total
        total += len(data) // 8
    tail = read_rows(connection, job_id, kind, wanted, found[-1]["to_step"] if found else 0, _END)
    series = {}
    for name in wanted:
        column = np.full(total + len(tail[STEP]), np.nan)
        column[total:] = tail[name]
        blocks = (
            ((low, data) for low, _, data in found)
            if name == STEP
            else _blocks(connection, job_id, kind, name)
        )
        for low, data in blocks:
            start = starts[low]
            column[start : start + len(data) // 8] = np.frombuffer(data)
        series[name] = column
    return series


def read_rows(
    connection: sqlite3.Connection, job_id: str, kind: MetricKind, names: Sequence[str], low: int, high: int
) -> dict[str, Column]:
    """Return columns of the visible points with low <= step < high, from rows."""
    cursor = connection.cursor()
    cursor.row_factory = None
    rows = cursor.execute(
        f"SELECT {', '.join(names)} FROM metrics_points"
        " WHERE job_id = ? AND kind = ? AND step >= ? AND step < ? AND NOT hidden ORDER BY step",
        (job_id, kind.value, low, high),
    ).fetchall()
    columns = list(zip(*rows, strict=True)) or [()] * len(names)
    return {
        name: _seconds(values) if name == RECORDED_AT else np.array(values, dtype=np.float64)
        for name, values in zip(names, columns, strict=True)
    }


def _touched(
    connection: sqlite3.Connection, key: tuple[str, str], steps: Sequence[int]
) -> Sequence[tuple[int, int]]:
    if not steps:
        return []
    rows = connection.execute(
        "SELECT from_step, to_step FROM metrics_blocks"
        " WHERE job_id = ? AND kind = ? AND name = 'step' AND from_step <= ? ORDER BY from_step",
        (*key, max(steps)),
    ).fetchall()
    ends = np.array([row["to_step"] for row in rows])
    return [
        (rows[index]["from_step"], rows[index]["to_step"])
        for index in np.unique(np.searchsorted(ends, steps, "right"))
    ]


def _store(
    connection: sqlite3.Connection, key: tuple[str, str], low: int, high: int, block: dict[str, Column]
) -> None:
    connection.executemany(
        "INSERT INTO metrics_blocks (job_id, kind, name, from_step, to_step, points, data) VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            (*key, name, low, high, len(values), values.tobytes())
            for name, values in block.items()
            if name == STEP or not np.isnan(values).all()
        ],
    )


def _filled(
    connection: sqlite3.Connection, key: tuple[str, str], names: Sequence[str], low: int
) -> Sequence[str]:
    """Return the columns that have any value from a step on; most points fill half of them."""
    counts = connection.execute(
        f"SELECT {', '.join(f'count({name})' for name in names)} FROM metrics_points"
        " WHERE job_id = ? AND kind = ? AND step >= ?",
        (*key, low),
    ).fetchone()
    return [name for name, count in zip(names, counts, strict=True) if count]


def _blocks(connection: sqlite3.Connection, job_id: str, kind: MetricKind, name: str) -> sqlite3.Cursor:
    cursor = connection.cursor()
    cursor.row_factory = None
    return cursor.execute(
        "SELECT from_step, data FROM metrics_blocks WHERE job_id = ? AND kind = ? AND name = ?",
        (job_id, kind.value, name),
    )


def _seconds(stamps: Sequence[str]) -> Column:
    times = np.array([stamp[:26] for stamp in stamps], dtype="datetime64[us]")
    seconds: Column = times.astype(np.int64) / 1e6
    return seconds
