"""What a message says: pure text from a notification and its job as it is now. Knows no service and no address."""

from datetime import datetime, timedelta

from lora_core.lifecycle import LIVE
from lora_core.schema.job import Job, JobStatus
from lora_core.schema.notification import Notification, NotificationKind
from lora_core.secrets import hide_secrets

MAX_REASON = 1500
"""Characters of a reason: an error with the end of a log must not push figures and link out of the message."""

_LONGEST_FORECAST_SECONDS = 366 * 86400.0


def describe(notification: Notification, job: Job | None, *, public_url: str = "") -> tuple[str, str]:
    """Return title and body of a message: the reason, the job in figures, and a link.

    Args:
        job: The job it is about; None if it is about none, or the job was deleted.
        public_url: Address of the app, for a link; empty for none.
    """
    lines = [_shortened(hide_secrets(notification.body))] if notification.body else []
    if job is not None:
        lines += _facts(job) + _outlook(notification, job)
        if public_url:
            lines.append(f"{public_url.rstrip('/')}/job?id={job.id}")
    return hide_secrets(notification.title), "\n".join(lines)


def clock_time(seconds: float) -> str:
    """Write a duration as HH:MM:SS; hours go on beyond 24.

    >>> clock_time(93784.6)
    '26:03:04'
    """
    whole = max(0, int(seconds))
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def _facts(job: Job) -> list[str]:
    steps = f"{job.current_step:,}/{job.total_steps:,}" if job.total_steps else f"{job.current_step:,}"
    losses = [
        f"{word} {value:.4f}"
        for word, value in (
            ("loss", job.train_loss),
            ("validation loss", job.eval_loss),
            ("best", job.best_eval_loss),
        )
        if value is not None
    ]
    lines = [
        f"{job.name}: {job.status.value}",
        f"Iterations {steps}, time {clock_time(job.elapsed_seconds)}",
        f"Cost ${job.cost_usd:,.2f}",
    ]
    if losses:
        text = ", ".join(losses)
        lines.insert(2, text[0].upper() + text[1:])
    return lines


def _outlook(notification: Notification, job: Job) -> list[str]:
    """Say what comes next, where the job is still as the message tells."""
    kind = notification.kind
    if kind == NotificationKind.JOB_STARTED and job.status in LIVE:
        return _expected_end(job)
    kept = f"step {job.checkpoint_step:,}" if job.checkpoint_step is not None else ""
    if kind == NotificationKind.JOB_QUEUED_AGAIN and job.status in LIVE:
        if not kept and job.parent_artifact_id is not None:
            return ["It begins again at the checkpoint that it was forked from"]
        return [f"It goes on from {kept}" if kept else "It begins anew: there is no checkpoint yet"]
    if kind == NotificationKind.JOB_PAUSED and job.status is JobStatus.PAUSED and kept:
        return [f"Resuming goes on from {kept}"]
    if kind in (NotificationKind.JOB_FAILED, NotificationKind.JOB_CANCELLED) and kept:
        return [f"The checkpoint of {kept} is kept"]
    return []


def _expected_end(job: Job) -> list[str]:
    """Say when a running job is likely to end: as the trainer reckons, else as it was estimated at the start."""
    seconds, since = job.remaining_seconds, job.heartbeat_at or job.updated_at
    if seconds is None:
        seconds, since = job.estimated_seconds, job.started_at or job.updated_at
    if seconds is None or not 0 <= seconds < _LONGEST_FORECAST_SECONDS:
        return []
    return [f"Expected end {_moment(since + timedelta(seconds=seconds))}, after {clock_time(seconds)}"]


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _shortened(text: str) -> str:
    return text if len(text) <= MAX_REASON else f"{text[: MAX_REASON - 2].rstrip()} …"
