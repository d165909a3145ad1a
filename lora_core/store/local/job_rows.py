"""The row of a job: read, moved, and written down in the audit trail. Who may do so is decided by the callers."""

# ruff: noqa: S608 - what is put into statements are names of columns from this code; values are always bound.

from datetime import datetime
from functools import lru_cache
from typing import Any

from lora_core.errors import NotFound
from lora_core.lifecycle import OWNED, check_move
from lora_core.schema.config import TrainingConfig
from lora_core.schema.job import Job, JobStatus, Requirements
from lora_core.store.local.rows import Row, stamp

PLAIN_COLUMNS = tuple(name for name in Job.model_fields if name not in {"config", "requirements"})
"""Fields of Job that are columns of the same name."""

ENDED = frozenset({JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.COMPLETED})


def get_row(connection: Any, user_id: str, job_id: str) -> Row:
    """Return the row of one person's job.

    Raises:
        NotFound: No such job of this person.
    """
    row = connection.execute(
        "SELECT * FROM training_jobs WHERE id = ? AND user_id = ?", (job_id, user_id)
    ).fetchone()
    if row is None:
        raise NotFound("There is no such job (any more).")
    return row


def set_status(
    connection: Any,
    row: Row,
    to: JobStatus,
    now: datetime,
    *,
    actor: str,
    action: str,
    reason: str = "",
    error: str = "",
) -> None:
    """Move a job, drop the open request and the next try, and write the audit line. The caller has checked that it may.

    Args:
        row: The job's row (id, user_id, status).
    """
    check_move(JobStatus(row["status"]), to)
    columns: dict[str, Any] = {
        "status": to.value,
        "status_reason": reason,
        "retry_at": None,
        "updated_at": stamp(now),
    }
    if to not in OWNED:
        ended = stamp(now) if to in ENDED else None
        columns |= {
            "requested_action": None,
            "request_id": "",
            "phase": "",
            "remaining_seconds": None,
            "ended_at": ended,
        }
    if error:
        columns["error"] = error
    set_columns(connection, row["id"], columns)
    record(connection, row, now, actor, action, to=to, reason=reason or error)


def set_columns(connection: Any, job_id: str, columns: dict[str, Any]) -> None:
    """Write columns of a job's row."""
    assignments = ", ".join(f"{name} = ?" for name in columns)
    connection.execute(f"UPDATE training_jobs SET {assignments} WHERE id = ?", [*columns.values(), job_id])


def record(
    connection: Any,
    row: Row,
    now: datetime,
    actor: str,
    action: str,
    *,
    to: JobStatus | None = None,
    reason: str = "",
) -> None:
    """Write one line of the audit trail; `from` is filled in when there is a transition."""
    before = row["status"] if to is not None and action != "submitted" else None
    connection.execute(
        "INSERT INTO job_events (job_id, user_id, at, actor, action, from_status, to_status, reason)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (row["id"], row["user_id"], stamp(now), actor, action, before, to.value if to else None, reason),
    )


def read_job(row: Row) -> Job:
    """Make a job of its row."""
    values = {name: row[name] for name in PLAIN_COLUMNS}
    values["config"] = _read_config(row["config"])
    values["requirements"] = Requirements(gpus=row["gpus"], gpu_memory_gb=row["gpu_memory_gb"])
    return Job.model_validate(values)


@lru_cache(maxsize=256)
def _read_config(text: str) -> TrainingConfig:
    """Read a config, half of the work of reading a job; most jobs of a list have one of a few. It cannot be changed."""
    return TrainingConfig.model_validate_json(text)
