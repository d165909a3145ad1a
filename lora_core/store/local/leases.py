"""How an attempt ends, by its runner or because its lease ran out, and what becomes of the job."""

from datetime import datetime
from typing import Any

from lora_core.schema.job import EndOfAttempt, JobStatus, Outcome, RequestedAction
from lora_core.store.local.fencing import get_holder
from lora_core.store.local.jobs import set_columns, set_status
from lora_core.store.local.notifications import notify
from lora_core.store.local.rows import Row, stamp, to_json

MAX_LOST_ATTEMPTS = 3
"""Lost attempts in a row without a new checkpoint, after which a job has failed: it may be what kills the runner."""

LOST_REASON = "The runner was lost."
_STATUS = {
    Outcome.COMPLETED: JobStatus.COMPLETED,
    Outcome.PAUSED: JobStatus.PAUSED,
    Outcome.CANCELLED: JobStatus.CANCELLED,
    Outcome.FAILED: JobStatus.FAILED,
}
_TITLES = {
    JobStatus.COMPLETED: "“{name}” is completed",
    JobStatus.FAILED: "“{name}” has failed",
    JobStatus.PAUSED: "“{name}” is paused",
}


def end_expired(connection: Any, now: datetime) -> int:
    """End every attempt whose lease ran out as lost, and give its job back.

    Returns:
        How many there were.
    """
    expired = connection.execute(
        "SELECT job_id, number FROM job_attempts WHERE ended_at IS NULL AND lease_until < ?", (stamp(now),)
    ).fetchall()
    for row in expired:
        holder = get_holder(connection, row["job_id"], row["number"])
        end_attempt(
            connection, holder, EndOfAttempt(outcome=Outcome.LOST, reason=LOST_REASON), now, actor="system"
        )
    return len(expired)


def end_attempt(connection: Any, holder: Row, end: EndOfAttempt, now: datetime, *, actor: str) -> None:
    """Close an attempt and move its job.

    Args:
        holder: Job and attempt as one row; the attempt is the newest and open.
    """
    connection.execute(
        "UPDATE job_attempts SET ended_at = ?, outcome = ?, reason = ?, result = ?, lease_until = NULL"
        " WHERE job_id = ? AND number = ?",
        (
            stamp(now),
            end.outcome.value,
            end.reason or end.error,
            to_json(end.result),
            holder["job_id"],
            holder["number"],
        ),
    )
    to, reason = _what_becomes(holder, end)
    if to is JobStatus.COMPLETED and holder["status"] == JobStatus.INITIALIZING:
        set_status(connection, holder, JobStatus.RUNNING, now, actor=actor, action="started")
        holder = get_holder(connection, holder["job_id"], holder["number"])
    lost = holder["lost_attempts"] + 1 if end.outcome is Outcome.LOST else 0
    set_columns(
        connection,
        holder["id"],
        {"lost_attempts": lost} | ({"progress": 1.0} if to is JobStatus.COMPLETED else {}),
    )
    action = "lease lost" if end.outcome is Outcome.LOST else end.outcome.value
    error = end.error or (reason if to is JobStatus.FAILED else "")
    set_status(connection, holder, to, now, actor=actor, action=action, reason=reason, error=error)
    if to in _TITLES:
        notify(
            connection,
            user_id=holder["user_id"],
            job_id=holder["id"],
            key=f"{holder['number']}/{to.value}",
            kind=f"job_{to.value}",
            title=_TITLES[to].format(name=holder["name"]),
            body=error or reason,
            now=now,
        )


def _what_becomes(holder: Row, end: EndOfAttempt) -> tuple[JobStatus, str]:
    if end.outcome in _STATUS:
        return _STATUS[end.outcome], end.reason
    asked = holder["requested_action"]
    if asked == RequestedAction.CANCEL:
        return JobStatus.CANCELLED, end.reason
    if asked == RequestedAction.PAUSE:
        return JobStatus.PAUSED, end.reason
    if end.outcome is Outcome.LOST and holder["lost_attempts"] + 1 >= MAX_LOST_ATTEMPTS:
        return (
            JobStatus.FAILED,
            f"The runner was lost {MAX_LOST_ATTEMPTS} times in a row without a new checkpoint.",
        )
    return JobStatus.QUEUED, end.reason
