"""Where a queued job stands: how many go before it, and what it waits for. Reads only; claiming is in `runner_port.py`."""

from datetime import datetime, timedelta
from typing import Any

from lora_core.schema.job import JobStatus, QueuePlace, WaitReason
from lora_core.schema.runner import ONLINE_SECONDS
from lora_core.store.local.rows import Row, stamp

ANY_MACHINE = "local"
"""Target of a job that any runner beside this store may take; any other target is the id of one runner."""

_PLACE = """
    WITH online AS MATERIALIZED (
        SELECT id, state, json_array_length(gpus) AS gpus, gpu_memory_gb FROM runners
        WHERE seen_at > :online_since AND EXISTS (SELECT 1 FROM json_each(runners.roles) WHERE value = 'train')
            AND :target IN (:anywhere, id)
    ), able AS MATERIALIZED (
        SELECT * FROM online WHERE :gpus = 0 OR (gpus >= :gpus AND gpu_memory_gb >= :gpu_memory_gb)
    )
    SELECT
        (SELECT count(*) FROM online) AS online,
        (SELECT count(*) FROM able) AS able,
        (SELECT count(*) FROM able WHERE state = 'idle') AS idle,
        (
            SELECT count(*) FROM training_jobs j
            WHERE j.status = 'queued' AND (j.not_before IS NULL OR j.not_before <= :now)
                AND (j.priority > :priority OR (j.priority = :priority AND (j.created_at, j.id) < (:created_at, :id)))
                AND EXISTS (
                    SELECT 1 FROM able a WHERE j.target IN (:anywhere, a.id)
                        AND (j.gpus = 0 OR (j.gpus <= a.gpus AND j.gpu_memory_gb <= a.gpu_memory_gb))
                )
        ) AS ahead
"""


def place_of(connection: Any, job: Row, now: datetime) -> QueuePlace | None:
    """Return where a job stands, or None if it is not queued."""
    if job["status"] != JobStatus.QUEUED:
        return None
    names = ("id", "target", "gpus", "gpu_memory_gb", "priority", "created_at")
    moments = {"now": stamp(now), "online_since": stamp(now - timedelta(seconds=ONLINE_SECONDS))}
    found = connection.execute(
        _PLACE, {name: job[name] for name in names} | moments | {"anywhere": ANY_MACHINE}
    ).fetchone()
    waits = job["not_before"] is not None and job["not_before"] > stamp(now)
    return QueuePlace(
        position=found["ahead"],
        reason=_reason(found, waits=waits),
        until=job["not_before"] if waits else None,
    )


def _reason(found: Row, *, waits: bool) -> WaitReason:
    if waits:
        return WaitReason.NOT_BEFORE
    if not found["online"]:
        return WaitReason.NO_RUNNER
    if not found["able"]:
        return WaitReason.TOO_SMALL
    return WaitReason.NEXT if found["idle"] and not found["ahead"] else WaitReason.BUSY
