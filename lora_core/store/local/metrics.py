"""Series, points and log lines of one person's jobs. Read only; `ingest.py` and `blocks.py` write."""

# ruff: noqa: S608 - what is put into statements are names of columns from this code; values are always bound.

from collections.abc import Sequence

import numpy as np

from lora_core.monitor.downsampling import min_max_indices
from lora_core.monitor.smoothing import smooth
from lora_core.schema.base import Page
from lora_core.schema.metrics import LogLine, MetricKind, MetricPoint, Series
from lora_core.store.cursors import clamp, page
from lora_core.store.curves import LOGS, POINTS, check_columns, levels_from
from lora_core.store.local.blocks import STEP, Column, Places, SeriesReader
from lora_core.store.local.database import Database, contains, placeholders
from lora_core.store.local.job_rows import get_row
from lora_core.store.local.rows import Row, from_json

_POINT_COLUMNS = tuple(MetricPoint.model_fields)
_LOG_COLUMNS = ("seq", "attempt", "at", "level", "source", "text")


class LocalMetricStore:
    """MetricStore over SQLite."""

    def __init__(self, database: Database, user_id: str) -> None:
        self._database = database
        self._user_id = user_id

    def series(
        self,
        job_id: str,
        kind: MetricKind,
        columns: Sequence[str],
        *,
        points: int = 600,
        smoothing: float = 0.0,
        x: str = "step",
    ) -> Series:
        """Return columns over `x`, smoothed and then down-sampled; see `MetricStore.series`."""
        check_columns(columns, x)
        with self._database.read() as connection:
            get_row(connection, self._user_id, job_id)
            reader = SeriesReader(connection, job_id, kind, (x, *columns))
            if not len(reader):
                return Series(columns=dict.fromkeys(columns, ()))
            # What is smoothed, and what decides about the points that are shown, is read whole.
            curve = smooth(reader.whole(columns[0]), smoothing) if columns else reader.whole(x)
            order = _order(reader.whole(x)) if x != STEP else None
            places = min_max_indices(curve if order is None else curve[order], points)
            if order is not None:
                places = order[places]
            drawn = dict.fromkeys(columns[:1], curve[places])
            if smoothing:
                drawn |= {name: smooth(reader.whole(name), smoothing)[places] for name in columns[1:]}
            shown = reader.at(places, tuple(dict.fromkeys((STEP, x, *(set(columns) - set(drawn))))))
            last = reader.at(np.array([-1]), (STEP,))
        return Series(
            x=tuple(shown[x].tolist()),
            steps=tuple(int(step) for step in shown[STEP]),
            columns={name: _values((shown | drawn)[name]) for name in columns},
            total=len(reader),
            last_step=int(last[STEP][0]),
        )

    def points(
        self, job_id: str, kind: MetricKind, *, limit: int = 500, cursor: str | None = None
    ) -> Page[MetricPoint]:
        """Return full points in order of step; see `MetricStore.points`."""
        limit = clamp(limit)
        behind = POINTS.read(cursor)[0] if cursor is not None else -1
        with self._database.read() as connection:
            get_row(connection, self._user_id, job_id)
            rows = connection.execute(
                f"SELECT {', '.join(_POINT_COLUMNS)} FROM metrics_points"
                " WHERE job_id = ? AND kind = ? AND step > ? AND NOT hidden ORDER BY step LIMIT ?",
                (job_id, kind.value, behind, limit + 1),
            ).fetchall()
        return page(rows, limit, read_point, lambda row: POINTS.write(row["step"]))

    def latest(self, job_id: str, kind: MetricKind) -> MetricPoint | None:
        """Return the newest point; see `MetricStore.latest`."""
        with self._database.read() as connection:
            get_row(connection, self._user_id, job_id)
            row = connection.execute(
                f"SELECT {', '.join(_POINT_COLUMNS)} FROM metrics_points"
                " WHERE job_id = ? AND kind = ? AND NOT hidden ORDER BY step DESC LIMIT 1",
                (job_id, kind.value),
            ).fetchone()
        return read_point(row) if row is not None else None

    def logs(
        self,
        job_id: str,
        *,
        limit: int = 200,
        cursor: str | None = None,
        search: str = "",
        level: str = "",
    ) -> Page[LogLine]:
        """Return log lines, newest first; see `MetricStore.logs`."""
        limit = clamp(limit)
        where, values = ["job_id = ?"], [job_id]
        if shown := levels_from(level):
            where.append(f"level IN ({placeholders(shown)})")
            values += shown
        if search:
            where.append(r"casefold(text) LIKE ? ESCAPE '\'")
            values.append(contains(search))
        if cursor is not None:
            where.append("(attempt, seq) < (?, ?)")
            values += LOGS.read(cursor)
        with self._database.read() as connection:
            get_row(connection, self._user_id, job_id)
            rows = connection.execute(
                f"SELECT {', '.join(_LOG_COLUMNS)} FROM log_lines WHERE {' AND '.join(where)}"
                f" ORDER BY attempt DESC, seq DESC LIMIT {limit + 1}",
                values,
            ).fetchall()
        return page(
            rows,
            limit,
            lambda row: LogLine.model_validate(dict(row)),
            lambda row: LOGS.write(row["attempt"], row["seq"]),
        )


def read_point(row: Row) -> MetricPoint:
    """Make a metric point of its row."""
    documents = {name: from_json(row[name]) if row[name] else {} for name in ("extra", "nonfinite")}
    return MetricPoint.model_validate(dict(row) | documents)


def _order(xs: Column) -> Places | None:
    """Return the places of points in order of x, without those that have none; None if that is how they are."""
    known = np.flatnonzero(~np.isnan(xs))
    if len(known) and np.any(np.diff(xs[known]) < 0):
        return known[np.argsort(xs[known], kind="stable")]
    return None if len(known) == len(xs) else known


def _values(values: Column) -> tuple[float | None, ...]:
    return tuple(None if value != value else value for value in values.tolist())
