"""How an attempt ends, by its runner or because its lease ran out, and what becomes of the job."""

# ruff: noqa: S608 - what is put into statements are parts of statements from this code; values are always bound.

import random
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from lora_core.backoff import MAX_FAILURES, retry_pause
from lora_core.errors import Unavailable
from lora_core.schema.job import EndOfAttempt, JobStatus, Outcome, RequestedAction
from lora_core.schema.notification import NotificationKind
from lora_core.schema.runner import ONLINE_SECONDS
from lora_core.store.local.database import Database
from lora_core.store.local.fencing import get_holder
from lora_core.store.local.job_rows import set_columns, set_status
from lora_core.store.local.notifications import notify
from lora_core.store.local.rows import Row, stamp, to_json

_LAPSED = "SELECT job_id, number FROM job_attempts WHERE ended_at IS NULL AND lease_until < ?1"
_OWN_LAPSED = f"{_LAPSED} AND EXISTS (SELECT 1 FROM training_jobs WHERE id = job_id AND user_id = ?2)"
LOST_REASON = "The runner was lost."
_STATUS = {
    Outcome.COMPLETED: JobStatus.COMPLETED,
    Outcome.PAUSED: JobStatus.PAUSED,
    Outcome.CANCELLED: JobStatus.CANCELLED,
    Outcome.FAILED: JobStatus.FAILED,
}
_NEWS = {
    JobStatus.COMPLETED: (NotificationKind.JOB_COMPLETED, "is completed"),
    JobStatus.FAILED: (NotificationKind.JOB_FAILED, "has failed"),
    JobStatus.PAUSED: (NotificationKind.JOB_PAUSED, "is paused"),
    JobStatus.CANCELLED: (NotificationKind.JOB_CANCELLED, "is cancelled"),
    JobStatus.QUEUED: (NotificationKind.JOB_QUEUED_AGAIN, "is queued again"),
}


@dataclass(frozen=True)
class Next:
    """What becomes of a job whose attempt has ended.

    Attributes:
        failures: How many there were in a row, without a new checkpoint.
        action: What the audit trail calls it.
        retry_at: When it is tried again, where that is not at once.
    """

    status: JobStatus
    action: str
    reason: str
    error: str
    failures: int = 0
    retry_at: datetime | None = None


def end_expired(connection: Any, now: datetime) -> int:
    """End every attempt whose lease ran out as lost, and give its job back.

    Returns:
        How many there were.
    """
    expired = connection.execute(_LAPSED, (stamp(now),)).fetchall()
    for row in expired:
        end_lost(connection, get_holder(connection, row["job_id"], row["number"]), now)
    return len(expired)


def end_unattended(database: Database, user_id: str, now: datetime) -> None:
    """End a person's attempts whose lease ran out and that nobody has ended, since no runner claims anything either.

    Only those that were seen so half a minute ago already: when a machine wakes up, its runner has no lease any more, and goes
    on in a moment. Most calls find nothing, and write nothing.
    """
    values = (stamp(now), user_id, stamp(now - timedelta(seconds=ONLINE_SECONDS)))
    with database.read() as connection:
        if (
            connection.execute(f"{_OWN_LAPSED} AND coalesce(lapsed_at < ?3, 1) LIMIT 1", values).fetchone()
            is None
        ):
            return
    with suppress(Unavailable), database.write() as connection:
        for row in connection.execute(f"{_OWN_LAPSED} AND lapsed_at < ?3", values).fetchall():
            end_lost(connection, get_holder(connection, row["job_id"], row["number"]), now)
        connection.execute(
            "UPDATE job_attempts SET lapsed_at = ?1 WHERE ended_at IS NULL AND lease_until < ?1 AND lapsed_at IS NULL",
            values[:1],
        )


def end_lost(connection: Any, holder: Row, now: datetime) -> None:
    """End an attempt whose runner is not heard of any more."""
    end_attempt(
        connection, holder, EndOfAttempt(outcome=Outcome.LOST, reason=LOST_REASON), now, actor="system"
    )


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
    after = what_becomes(holder, end, now, random.random())
    if after.status is JobStatus.COMPLETED and holder["status"] == JobStatus.INITIALIZING:
        set_status(connection, holder, JobStatus.RUNNING, now, actor=actor, action="started")
        holder = get_holder(connection, holder["job_id"], holder["number"])
    set_status(
        connection,
        holder,
        after.status,
        now,
        actor=actor,
        action=after.action,
        reason=after.reason,
        error=after.error,
    )
    columns: dict[str, Any] = {"lost_attempts": after.failures}
    if after.retry_at is not None:
        columns["retry_at"] = stamp(after.retry_at)
    if after.status is JobStatus.COMPLETED:
        columns["progress"] = 1.0
    set_columns(connection, holder["id"], columns)
    kind, words = _NEWS[after.status]
    notify(
        connection,
        user_id=holder["user_id"],
        job_id=holder["id"],
        key=f"{holder['number']}/{after.status.value}",
        kind=kind,
        title=f"“{holder['name']}” {words}",
        body=after.reason if after.status is JobStatus.QUEUED else after.error or after.reason,
        now=now,
    )


def what_becomes(holder: Row, end: EndOfAttempt, now: datetime, chance: float) -> Next:
    """Say what becomes of a job whose attempt ends so. A cancel that was asked for while it was being paused holds.

    Args:
        holder: Job and attempt, as they are before.
        chance: A random number from 0 up to, and without, 1.
    """
    lost = end.outcome is Outcome.LOST
    action = "lease lost" if lost else end.outcome.value
    passing = lost or (end.outcome is Outcome.FAILED and end.transient)
    asked = holder["requested_action"]
    if end.outcome is Outcome.PAUSED and asked == RequestedAction.CANCEL:
        return Next(JobStatus.CANCELLED, Outcome.CANCELLED.value, "Cancelled by request.", end.error)
    if not passing and end.outcome in _STATUS:
        status = _STATUS[end.outcome]
        error = end.error or (end.reason if status is JobStatus.FAILED else "")
        return Next(status, action, end.reason, error)
    failures = holder["lost_attempts"] + 1 if passing else 0
    if asked in (RequestedAction.CANCEL, RequestedAction.PAUSE):
        status = JobStatus.CANCELLED if asked == RequestedAction.CANCEL else JobStatus.PAUSED
        return Next(status, action, end.reason, end.error, failures)
    if not passing:
        return Next(JobStatus.QUEUED, action, end.reason, end.error)
    if failures >= MAX_FAILURES:
        reason = f"It was tried {MAX_FAILURES} times in a row without a new checkpoint."
        error = f"{reason} The last time: {end.error or end.reason}"
        return Next(JobStatus.FAILED, action, reason, error, failures)
    if not lost:
        action = "retrying"
    elif failures == 1:
        return Next(JobStatus.QUEUED, action, end.reason, end.error, failures)
    retry_at = now + timedelta(seconds=retry_pause(failures, chance))
    return Next(
        JobStatus.QUEUED,
        action,
        _retry_words(end, failures, retry_at),
        end.error if lost else end.error or end.reason,
        failures,
        retry_at,
    )


def _retry_words(end: EndOfAttempt, failures: int, retry_at: datetime) -> str:
    why = (end.reason or end.error.partition("\n")[0]).strip()
    if not why.endswith((".", "!", "?")):
        why += "."
    return (
        f"{why} It is tried again at {retry_at:%H:%M:%S} UTC (failure {failures} of {MAX_FAILURES} in a row)."
    )
