"""A cache of points: 1,000 visible points in a row become one float64 array a column, so that charts read no rows.

Rows of metrics_points are the truth. The blocks of a series (job, kind) cover its steps from the first on without a
gap, so what is behind the last block is the tail and is read from rows. A block in which a point changes is made anew.
"""

# ruff: noqa: S608 - what is put into statements are names of columns from this code; values are always bound.

import sqlite3
import struct
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lora_core.schema.metrics import MetricKind
from lora_core.store.local.rows import to_json

BLOCK_POINTS = 1000
STEP = "step"
RECORDED_AT = "recorded_at"
Column = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]
"""Where points are in a series, from 0 on."""

_END = 2**62
_VALUE = struct.Struct("d")
_NOTHING = _VALUE.pack(np.nan)


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


class SeriesReader:
    """Columns of one series (job, kind) in order of step, as they are in the connection's transaction, NaN without a value.

    They are read whole, or only at some places: most of what a chart leaves out is then not even copied.

    Args:
        connection: With a reading transaction that stays open as long as this is used.
        names: Metric columns, "step" or "recorded_at" (seconds since 1970) that will be asked for.
    """

    def __init__(
        self, connection: sqlite3.Connection, job_id: str, kind: MetricKind, names: Sequence[str]
    ) -> None:
        self._cursor = connection.cursor()
        self._cursor.row_factory = None
        self._key = (job_id, kind.value)
        self._blocks = self._cursor.execute(
            "SELECT from_step, to_step, points FROM metrics_blocks"
            " WHERE job_id = ? AND kind = ? AND name = 'step' ORDER BY from_step",
            self._key,
        ).fetchall()
        self._starts = np.cumsum([0, *(points for _, _, points in self._blocks)])
        behind = self._blocks[-1][1] if self._blocks else 0
        wanted = tuple(dict.fromkeys((STEP, *names)))
        self._tail = read_rows(connection, job_id, kind, wanted, behind, _END)

    def __len__(self) -> int:
        return int(self._starts[-1]) + len(self._tail[STEP])

    def whole(self, name: str) -> Column:
        """Return all values of a column; not to be written to."""
        found = self._cursor.execute(
            "SELECT from_step, data FROM metrics_blocks WHERE job_id = ? AND kind = ? AND name = ?",
            (*self._key, name),
        )
        data: dict[int, bytes] = dict(found.fetchall())
        parts = [data.get(low) or _NOTHING * points for low, _, points in self._blocks]
        return np.frombuffer(b"".join((*parts, self._tail[name].tobytes())))

    def at(self, places: Places, names: Sequence[str]) -> dict[str, Column]:
        """Return the values of columns at some places, in the order of these; -1 is the last."""
        places = np.where(places < 0, places + len(self), places)
        blocks = np.searchsorted(self._starts, places, "right") - 1
        offsets = ((places - self._starts[blocks]) * _VALUE.size).tolist()
        lows = [block[0] for block in self._blocks] + [_END]
        wanted = to_json([lows[block] for block in np.unique(blocks)])
        where = list(zip((lows[block] for block in blocks), offsets, strict=True))
        picked = {}
        for name in names:
            found = self._cursor.execute(
                "SELECT from_step, data FROM metrics_blocks WHERE job_id = ? AND kind = ? AND name = ?"
                " AND from_step IN (SELECT value FROM json_each(?))",
                (*self._key, name, wanted),
            )
            data: dict[int, bytes] = dict(found.fetchall())
            data[_END] = self._tail[name].tobytes()
            picked[name] = np.array(
                [_VALUE.unpack_from(data[low], offset)[0] if low in data else np.nan for low, offset in where]
            )
        return picked


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


def _seconds(stamps: Sequence[str]) -> Column:
    times = np.array([stamp[:26] for stamp in stamps], dtype="datetime64[us]")
    seconds: Column = times.astype(np.int64) / 1e6
    return seconds
