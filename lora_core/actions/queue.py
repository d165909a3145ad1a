"""What a person does about a job's place in the queue: see it, and change its priority or its earliest start."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from lora_core.actions.workspace import Workspace
from lora_core.schema.base import utc_now
from lora_core.schema.job import Job, JobFilter, JobStatus, QueuePlace, WaitReason
from lora_core.store.base import MAX_PAGE

_NEXT_STEP = "Start one with `python -m runner`, or restart the studio with `make start`."
RETRY_BEGINS = "It is tried again at "
"""How the stores begin the sentence about the next try in a job's reason."""

_COUNTED = re.compile(r"\(failure \d+ of \d+ in a row\)")

Clock = Callable[[datetime], str]


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


@dataclass(frozen=True)
class QueuedJob:
    """A job that waits, and where it stands; no place if a runner has taken it just now."""

    job: Job
    place: QueuePlace | None


@dataclass(frozen=True)
class Queue:
    """Jobs of one person that wait, in the order in which runners will take them.

    Attributes:
        first: The first ones, with their places; none where more wait than a list returns at once (500).
        total: How many there are.
    """

    first: Sequence[QueuedJob] = ()
    total: int = 0


def read_queue(workspace: Workspace, *, most: int = 10, now: datetime | None = None) -> Queue:
    """Return this person's jobs that wait: those that may start now first, by priority, then by age.

    Args:
        most: For how many the place is looked up; each is a question to the store.
    """
    now = now or utc_now()
    page = workspace.jobs.list(JobFilter(statuses=(JobStatus.QUEUED,)), limit=MAX_PAGE)
    if page.cursor is not None:
        return Queue((), workspace.jobs.counts().get(JobStatus.QUEUED, 0))
    waiting = sorted(
        page.items, key=lambda job: (starts_after(job, now), -job.priority, job.created_at, job.id)
    )
    first = [QueuedJob(job, workspace.jobs.queue_place(job.id)) for job in waiting[:most]]
    return Queue(first, len(waiting))


def starts_after(job: Job, now: datetime) -> datetime:
    """Return the time before which no runner takes a job: its earliest start or its next try, else now."""
    return max(now, job.not_before or now, job.retry_at or now)


def waiting_reason(workspace: Workspace, job: Job, *, at: Clock | None = None) -> str:
    """Say in words where a queued job stands and why it has not started; empty for others.

    Args:
        at: How moments are written; in UTC if left out.
    """
    if job.status is not JobStatus.QUEUED:
        return ""
    place = workspace.jobs.queue_place(job.id)
    return describe_place(place, why=why_again(job), at=at) if place is not None else ""


def known_wait(job: Job, *, at: Clock | None = None, now: datetime | None = None) -> str:
    """Say what a queued job waits for as far as its own row tells, for lists: a time, or nothing.

    Args:
        at: How moments are written; in UTC if left out.
    """
    now, at = now or utc_now(), at or _in_utc
    if job.retry_at is not None and job.retry_at > now:
        return f"Again at {at(job.retry_at)}: {why_again(job)}"
    if job.not_before is not None and job.not_before > now:
        return f"Not before {at(job.not_before)}."
    return ""


def why_again(job: Job) -> str:
    """Return why a job that was given back to the queue is there, in one line; empty for a new one."""
    reason, _, when = job.status_reason.partition(RETRY_BEGINS)
    why = (reason or job.error).partition("\n")[0].strip()
    counted = _COUNTED.search(when)
    return f"{why.removesuffix('.')} {counted[0]}.".strip() if counted else why


def describe_place(
    place: QueuePlace,
    *,
    why: str = "",
    at: Clock | None = None,
    now: datetime | None = None,
    brief: bool = False,
) -> str:
    """Say in words where a queued job stands.

    Args:
        why: What went wrong before, for a job that is tried again.
        at: How moments are written; in UTC if left out.
        brief: Leave out what to do about it.

    >>> describe_place(QueuePlace(position=2, reason=WaitReason.BUSY))
    'Number 3 in the queue: all runners that can take it are busy.'
    """
    at, now = at or _in_utc, now or utc_now()
    number = f"Number {place.position + 1} in the queue"
    if place.reason is WaitReason.NOT_BEFORE and place.until is not None:
        return f"It starts no earlier than {at(place.until)}."
    if place.reason is WaitReason.RETRY and place.until is not None:
        because = f": {why}" if why else "."
        return f"It is tried again at {at(place.until)}, {from_now(place.until, now)}{because}"
    if place.reason is WaitReason.NO_RUNNER:
        return "No runner is online." if brief else f"No runner is online. {_NEXT_STEP}"
    if place.reason is WaitReason.TOO_SMALL:
        return "No runner that is online has GPUs with enough memory for this job."
    expected = f" Starts {from_now(place.expected_start, now)}." if place.expected_start is not None else ""
    if place.reason is WaitReason.LIMIT:
        words = "As many of your jobs are at work as you may have at once; it starts when one of them ends."
        return f"{number}. {words}{expected}"
    if place.reason is WaitReason.BUSY:
        return f"{number}: all runners that can take it are busy.{expected}"
    return "Next in the queue: a runner takes it in a moment."


def from_now(moment: datetime, now: datetime) -> str:
    """Say how far ahead a moment is, no finer than it is worth.

    >>> from datetime import timedelta
    >>> start = datetime(2026, 11, 22, 12)
    >>> [from_now(start + timedelta(seconds=ahead), start) for ahead in (-5, 31, 700, 9000, 200_000)]
    ['any moment', 'in about 30 s', 'in about 12 min', 'in about 2.5 h', 'in about 2 days']
    """
    seconds = (moment - now).total_seconds()
    if seconds < 3:
        return "any moment"
    if seconds < 90:
        return f"in about {max(5, round(seconds / 5) * 5)} s"
    if seconds < 5400:
        return f"in about {round(seconds / 60)} min"
    if seconds < 36 * 3600:
        return f"in about {round(seconds / 1800) / 2:g} h"
    return f"in about {round(seconds / 86400)} days"


def _in_utc(moment: datetime) -> str:
    """Write a moment, today's without its date; to the second, because a retry may be near."""
    today = moment.date() == utc_now().date()
    return f"{moment:%H:%M:%S} UTC" if today else f"{moment:%Y-%m-%d %H:%M} UTC"
