"""What a message says: pure text from a notification and its job as it is now. Knows no service and no address."""

from lora_core.schema.job import Job
from lora_core.schema.notification import Notification


def describe(notification: Notification, job: Job | None, *, public_url: str = "") -> tuple[str, str]:
    """Return title and body of a message.

    Args:
        job: The job it is about; None if it is about none, or the job was deleted.
        public_url: Address of the app, for a link; empty for none.
    """
    lines = [notification.body] if notification.body else []
    if job is not None:
        lines += _facts(job)
        if public_url:
            lines.append(f"{public_url.rstrip('/')}/job?id={job.id}")
    return notification.title, "\n".join(lines)


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
