"""Series, points and log lines of one person's jobs over a project. Read only; the database makes the series itself."""

from collections.abc import Sequence

from lora_core.schema.base import Page
from lora_core.schema.metrics import LogLine, MetricKind, MetricPoint, Series
from lora_core.store.cursors import clamp, page
from lora_core.store.curves import LOGS, POINTS, check_columns, levels_from
from lora_core.store.supabase.client import PersonClient, Select
from lora_core.store.supabase.jobs import SupabaseJobStore
from lora_core.store.supabase.rows import (
    LOG_COLUMNS,
    POINT_COLUMNS,
    behind,
    check_id,
    read_log_line,
    read_point,
    search_pattern,
)


class SupabaseMetricStore:
    """MetricStore over PostgREST and the function `job_series`."""

    def __init__(self, client: PersonClient, jobs: SupabaseJobStore) -> None:
        self._client = client
        self._jobs = jobs

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
        answer = self._client.rpc(
            "job_series",
            {
                "p_job": check_id(job_id, "job"),
                "p_kind": kind.value,
                "p_columns": list(columns),
                "p_points": points,
                "p_smoothing": smoothing,
                "p_x": x,
            },
        )
        return Series(
            x=tuple(answer["x"]),
            steps=tuple(answer["steps"]),
            columns={name: tuple(answer["columns"][name]) for name in columns},
            total=answer["total"],
            last_step=answer["last_step"],
        )

    def points(
        self, job_id: str, kind: MetricKind, *, limit: int = 500, cursor: str | None = None
    ) -> Page[MetricPoint]:
        """Return full points in order of step; see `MetricStore.points`."""
        limit = clamp(limit)
        query = self._visible(job_id, kind)
        if cursor is not None:
            query = query.gt("step", POINTS.read(cursor)[0])
        rows = self._client.rows(query.order("step").limit(limit + 1))
        if not rows:
            self._jobs.check(job_id)
        return page(rows, limit, read_point, lambda row: POINTS.write(row["step"]))

    def latest(self, job_id: str, kind: MetricKind) -> MetricPoint | None:
        """Return the newest point; see `MetricStore.latest`."""
        rows = self._client.rows(self._visible(job_id, kind).order("step", desc=True).limit(1))
        if rows:
            return read_point(rows[0])
        self._jobs.check(job_id)
        return None

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
        query = self._client.table("log_lines").select(*LOG_COLUMNS).eq("job_id", check_id(job_id, "job"))
        if shown := levels_from(level):
            query = query.in_("level", shown)
        if search:
            query = query.filter("text", "imatch", search_pattern(search))
        if cursor is not None:
            attempt, seq = LOGS.read(cursor)
            query = query.lte("attempt", attempt).or_(behind(("attempt", "seq"), (attempt, seq)))
        query = query.order("attempt", desc=True).order("seq", desc=True).limit(limit + 1)
        rows = self._client.rows(query)
        if not rows:
            self._jobs.check(job_id)
        return page(rows, limit, read_log_line, lambda row: LOGS.write(row["attempt"], row["seq"]))

    def _visible(self, job_id: str, kind: MetricKind) -> Select:
        query = self._client.table("metrics_points").select(*POINT_COLUMNS)
        return query.eq("job_id", check_id(job_id, "job")).eq("kind", kind.value).eq("hidden", value=False)
