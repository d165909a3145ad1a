"""Who may write about a job: its newest attempt, while that lasts, and for its tail ten minutes longer."""

from datetime import datetime, timedelta
from typing import Any

from lora_core.errors import Conflict
from lora_core.store.local.rows import Row, stamp

DRAIN = timedelta(minutes=10)
"""How long an ended attempt may still deliver its tail, unless a newer attempt began."""

_HOLDER = """
    SELECT a.*, j.id, j.user_id, j.name, j.status, j.attempt AS newest, j.requested_action, j.request_id, j.total_steps,
        j.best_eval_loss, j.best_step, j.dataset_id, j.validation_dataset_id, j.lost_attempts, j.current_step
    FROM job_attempts a JOIN training_jobs j ON j.id = a.job_id
    WHERE a.job_id = ? AND a.number = ?
"""


def get_holder(connection: Any, job_id: str, attempt: int) -> Row:
    """Return job and attempt as one row, whether it may write or not.

    Raises:
        Conflict: There is no such attempt: the job is gone.
    """
    row = connection.execute(_HOLDER, (job_id, attempt)).fetchone()
    if row is None:
        raise Conflict("There is no such attempt of this job (any more).")
    return row


def check_holder(connection: Any, job_id: str, attempt: int, now: datetime, *, tail: bool = False) -> Row:
    """Return job and attempt as one row if this attempt may write.

    Args:
        tail: Accept an attempt that ended less than `DRAIN` ago.

    Raises:
        Conflict: The attempt is not the newest, or has ended.
    """
    row = get_holder(connection, job_id, attempt)
    if row["newest"] != attempt:
        raise Conflict(f"Attempt {row['newest']} owns the job now; attempt {attempt} has to stop.")
    if row["ended_at"] is not None and not (tail and row["ended_at"] >= stamp(now - DRAIN)):
        raise Conflict(f"Attempt {attempt} of the job has ended ({row['outcome']}).")
    return row
