"""Where a queued job stands, and when a runner is likely to take it. Pure: both stores bring the numbers, from their own
tables, and nothing here knows whose jobs they are about.

Jobs are given out in order: each takes the slot that is free first among those of the runners that can take it, and keeps
it for as long as it was expected to take. Where a number that this hangs on is unknown, so is the answer.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from math import inf

from pydantic import Field

from lora_core.schema.base import Frozen
from lora_core.schema.job import QueuePlace, WaitReason

MAX_AHEAD = 300
"""With more jobs before it, when a job starts is not worked out."""

Seconds = float | None
"""A number of seconds; None where it is not known."""

_NO_ORDINARY_SPAN = 10 * 365 * 86400.0
"""Nobody plans for longer than this, and the calendar ends."""


class Places(Frozen):
    """How many jobs may be at work at once, and how soon each that is will be done."""

    limit: int = Field(ge=0)
    held: tuple[Seconds, ...] = ()

    def free_in(self) -> list[Seconds]:
        """Return how soon each of the places is free; 0 for one that is.

        >>> Places(limit=3, held=(None, 40.0)).free_in(), Places(limit=1, held=(40.0, 90.0)).free_in()
        ([0.0, 40.0, None], [90.0])
        """
        known = sorted(max(0.0, seconds) for seconds in self.held if seconds is not None)
        held: list[Seconds] = [*known, *[None] * (len(self.held) - len(known))]
        spare = self.limit - len(held)
        free: list[Seconds] = [0.0] * spare
        return free + held[max(0, -spare) :]


class Ahead(Frozen):
    """A job that is taken before the one in question."""

    runners: tuple[int, ...] = Field(description="Those that can take it, by their place in `Queue.online`.")
    seconds: Seconds
    mine: bool = True


class Queue(Frozen):
    """All that the place of one job follows from."""

    now: datetime
    not_before: datetime | None = None
    retry_at: datetime | None = None
    online: tuple[Places, ...] = Field(
        (), description="Runners that are online and take the jobs of its owner."
    )
    wanted: int = Field(0, description="How many of them it is meant for, whatever they have.")
    runners: tuple[int, ...] = Field((), description="Those that can take it, by their place in `online`.")
    position: int = Field(0, description="Jobs before it.")
    ahead: tuple[Ahead, ...] = Field(
        (), description="These jobs in order; not all if they are more than MAX_AHEAD."
    )
    quota: Places | None = Field(None, description="What its owner may have at work at once.")


def place_in(queue: Queue) -> QueuePlace:
    """Say where the job stands, why it has not started, and when it is likely to."""
    times = ((queue.not_before, WaitReason.NOT_BEFORE), (queue.retry_at, WaitReason.RETRY))
    later = [(moment, reason) for moment, reason in times if moment is not None and moment > queue.now]
    if later:
        until, reason = max(later)
        return QueuePlace(position=queue.position, reason=reason, until=until, expected_start=until)
    wait = seconds_to_start(queue)
    start = queue.now + timedelta(seconds=wait) if wait is not None and wait < _NO_ORDINARY_SPAN else None
    return QueuePlace(position=queue.position, reason=_reason(queue, wait), expected_start=start)


def seconds_to_start(queue: Queue) -> Seconds:
    """Return how long it is likely to be until a runner takes the job.

    >>> runners = (Places(limit=1, held=(30.0,)), Places(limit=1, held=(90.0,)))
    >>> seconds_to_start(Queue(now=datetime(2026, 1, 2), online=runners, runners=(0, 1)))
    30.0
    >>> before = (Ahead(runners=(0, 1), seconds=600.0),)
    >>> seconds_to_start(Queue(now=datetime(2026, 1, 2), online=runners, runners=(0, 1), position=1, ahead=before))
    90.0
    """
    if queue.position != len(queue.ahead):
        return None
    slots = [runner.free_in() for runner in queue.online]
    allowed = queue.quota.free_in() if queue.quota is not None else None
    wait = 0.0
    for job in (*queue.ahead, Ahead(runners=queue.runners, seconds=None)):
        needed = [_earliest([slots[runner] for runner in job.runners])]
        if job.mine and allowed is not None:
            needed.append(_earliest([allowed]))
        places = [place for place in needed if place is not None]
        if len(places) < len(needed):
            return None
        wait = max(times[index] or 0.0 for times, index in places)
        for times, index in places:
            times[index] = wait + max(0.0, job.seconds) if job.seconds is not None else None
    return wait


def _reason(queue: Queue, wait: Seconds) -> WaitReason:
    if queue.quota is not None and len(queue.quota.held) >= queue.quota.limit:
        return WaitReason.LIMIT
    if not queue.wanted:
        return WaitReason.NO_RUNNER
    if not queue.runners:
        return WaitReason.TOO_SMALL
    return WaitReason.NEXT if wait == 0 else WaitReason.BUSY


def _earliest(of_runners: Sequence[list[Seconds]]) -> tuple[list[Seconds], int] | None:
    """Return what is free first, as a list and the place in it; None if nothing is, or something unknown might be before."""
    best: tuple[list[Seconds], int] | None = None
    soonest, unknown = inf, False
    for times in of_runners:
        for index, seconds in enumerate(times):
            if seconds is None:
                unknown = True
            elif seconds < soonest:
                best, soonest = (times, index), seconds
    return None if unknown and soonest > 0 else best
