"""The queue as one job sees it: the runners that are online, what they work on, and the jobs before it. Reads only; claiming
is in `runner_port.py`, what follows from the numbers in `lora_core.store.forecast`.
"""

# ruff: noqa: S608 - what is put into statements are parts of statements from this code; values are always bound.

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from lora_core.schema.job import JobStatus, QueuePlace
from lora_core.schema.runner import ONLINE_SECONDS
from lora_core.store.forecast import MAX_AHEAD, Ahead, Places, Queue, place_in
from lora_core.store.local.rows import Row, stamp, to_json

ANY_MACHINE = "local"
"""Target of a job that any runner beside this store may take; any other target is the id of one runner."""

_ONLINE = """
    SELECT id, slots, json_array_length(gpus) AS gpus, gpu_memory_gb FROM runners
    WHERE seen_at > :online_since AND EXISTS (SELECT 1 FROM json_each(runners.roles) WHERE value = 'train')
    ORDER BY id
"""
_SECONDS_LEFT = """
    coalesce(j.remaining_seconds, CASE WHEN j.estimated_seconds > j.elapsed_seconds
        THEN j.estimated_seconds - j.elapsed_seconds END)
"""
_HELD = f"""
    SELECT a.runner_id, {_SECONDS_LEFT} AS seconds
    FROM job_attempts a JOIN training_jobs j ON j.id = a.job_id
    WHERE a.ended_at IS NULL AND a.runner_id IN (SELECT value FROM json_each(?))
"""
_ABLE = """
    WITH able AS MATERIALIZED (
        SELECT value ->> 'id' AS id, value ->> 'gpus' AS gpus, value ->> 'gpu_memory_gb' AS gpu_memory_gb
        FROM json_each(:able)
    )
"""
_AHEAD = """
    FROM training_jobs j
    WHERE j.status = 'queued' AND coalesce(j.not_before <= :now, 1) AND coalesce(j.retry_at <= :now, 1)
        AND (j.priority > :priority OR (j.priority = :priority AND (j.created_at, j.id) < (:created_at, :id)))
        AND EXISTS (
            SELECT 1 FROM able r WHERE j.target IN (:anywhere, r.id)
                AND (j.gpus = 0 OR (j.gpus <= r.gpus AND j.gpu_memory_gb <= r.gpu_memory_gb))
        )
"""
_COUNT_AHEAD = f"{_ABLE} SELECT count(*) {_AHEAD}"
_LIST_AHEAD = f"""
    {_ABLE} SELECT j.target, j.gpus, j.gpu_memory_gb, {_SECONDS_LEFT} AS seconds {_AHEAD}
    ORDER BY j.priority DESC, j.created_at, j.id LIMIT {MAX_AHEAD}
"""


def place_of(connection: Any, job: Row, now: datetime) -> QueuePlace | None:
    """Return where a job stands, or None if it is not queued."""
    if job["status"] != JobStatus.QUEUED:
        return None
    since = stamp(now - timedelta(seconds=ONLINE_SECONDS))
    online = connection.execute(_ONLINE, {"online_since": since}).fetchall()
    able = _takers(online, job)
    values = {name: job[name] for name in ("id", "priority", "created_at")} | {
        "now": stamp(now),
        "able": to_json([dict(online[place]) for place in able]),
        "anywhere": ANY_MACHINE,
    }
    ahead = connection.execute(_LIST_AHEAD, values).fetchall()
    position = len(ahead)
    if position == MAX_AHEAD:
        position = connection.execute(_COUNT_AHEAD, values).fetchone()[0]
    return place_in(
        Queue(
            now=now,
            not_before=job["not_before"],
            retry_at=job["retry_at"],
            online=_places(connection, online),
            wanted=sum(job["target"] in (ANY_MACHINE, row["id"]) for row in online),
            runners=able,
            position=position,
            ahead=tuple(Ahead(runners=_takers(online, row), seconds=row["seconds"]) for row in ahead),
        )
    )


def _takers(online: Sequence[Row], job: Row) -> tuple[int, ...]:
    """Return which of the runners can take a job, by their place in the list."""
    return tuple(
        place
        for place, runner in enumerate(online)
        if job["target"] in (ANY_MACHINE, runner["id"])
        and (
            not job["gpus"]
            or (runner["gpus"] >= job["gpus"] and runner["gpu_memory_gb"] >= job["gpu_memory_gb"])
        )
    )


def _places(connection: Any, online: Sequence[Row]) -> tuple[Places, ...]:
    held: dict[str, list[float | None]] = {row["id"]: [] for row in online}
    for row in connection.execute(_HELD, (to_json(list(held)),)):
        held[row["runner_id"]].append(row["seconds"])
    return tuple(Places(limit=row["slots"], held=tuple(held[row["id"]])) for row in online)
