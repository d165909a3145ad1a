"""What a person does about a job's place in the queue: see it, and change its priority or its earliest start."""

from datetime import datetime

from lora_core.actions.workspace import Workspace
from lora_core.schema.job import Job, JobStatus, QueuePlace, WaitReason

_NEXT_STEP = "Start one with `python -m runner`, or restart the studio with `make start`."


def prioritise_job(workspace: Workspace, job_id: str, priority: int) -> Job:
    """Let a waiting job start before those of lower priority.

    Args:
        priority: From -100 to 100; 0 is usual.

    Raises:
        NotAllowed: It has started or ended, or there is no such priority.
    """
    return workspace.jobs.prioritise(job_id, priority)


def start_job_after(workspace: Workspace, job_id: str, moment: datetime | None) -> Job:
    """Let no runner take a waiting job before this time (with its zone); None lets it start at once.

    Raises:
        NotAllowed: It has started or ended.
    """
    return workspace.jobs.start_after(job_id, moment)


def waiting_reason(workspace: Workspace, job: Job) -> str:
    """Say in words where a queued job stands and why it has not started; empty for others."""
    if job.status is not JobStatus.QUEUED:
        return ""
    place = workspace.jobs.queue_place(job.id)
    return describe_place(place) if place is not None else ""


def describe_place(place: QueuePlace) -> str:
    """Say in words where a queued job stands.

    >>> describe_place(QueuePlace(position=2, reason=WaitReason.BUSY))
    'Number 3 in the queue: all runners that can take it are busy.'
    """
    number = f"Number {place.position + 1} in the queue"
    if place.reason is WaitReason.NOT_BEFORE and place.until is not None:
        return f"It starts no earlier than {place.until:%Y-%m-%d %H:%M} UTC."
    if place.reason is WaitReason.NO_RUNNER:
        return f"No runner is online. {_NEXT_STEP}"
    if place.reason is WaitReason.TOO_SMALL:
        return "No runner that is online has GPUs with enough memory for this job."
    if place.reason is WaitReason.BUSY:
        return f"{number}: all runners that can take it are busy."
    return "Next in the queue: a runner takes it in a moment."
