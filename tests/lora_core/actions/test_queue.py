"""The queue as a person reads it: the order of what waits, and the words for each place."""

from datetime import UTC, datetime, timedelta

import pytest

from lora_core.actions import jobs, queue
from lora_core.actions.queue import describe_place, known_wait, why_again
from lora_core.actions.workspace import Workspace
from lora_core.schema.base import utc_now
from lora_core.schema.job import EndOfAttempt, Job, Outcome, QueuePlace, WaitReason
from lora_core.studio import Studio
from tests.contracts.samples import runner_of
from tests.lora_core.actions.scenes import submitted

NOW = datetime(2026, 11, 22, 14, 1, 40, tzinfo=UTC)
SOON = NOW + timedelta(seconds=30)


def at(moment: datetime) -> str:
    return f"{moment:%H:%M:%S} UTC"


@pytest.fixture
def job(workspace: Workspace) -> Job:
    return submitted(workspace)


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (
            QueuePlace(position=0, reason=WaitReason.RETRY, until=SOON),
            "It is tried again at 14:02:10 UTC, in about 30 s: the disk is full.",
        ),
        (
            QueuePlace(position=1, reason=WaitReason.BUSY, expected_start=NOW + timedelta(minutes=12)),
            "Number 2 in the queue: all runners that can take it are busy. Starts in about 12 min.",
        ),
        (
            QueuePlace(position=0, reason=WaitReason.LIMIT, expected_start=NOW - timedelta(minutes=1)),
            "Number 1 in the queue. As many of your jobs are at work as you may have at once; it starts when one of them "
            "ends. Starts any moment.",
        ),
        (
            QueuePlace(position=0, reason=WaitReason.NOT_BEFORE, until=SOON),
            "It starts no earlier than 14:02:10 UTC.",
        ),
        (QueuePlace(position=0, reason=WaitReason.NO_RUNNER), "No runner is online."),
    ],
)
def test_a_place_in_words(place: QueuePlace, words: str) -> None:
    assert describe_place(place, why="the disk is full.", at=at, now=NOW, brief=True) == words


def test_why_a_job_is_tried_again_is_told_without_the_time(job: Job) -> None:
    reason = "The disk is full. It is tried again at 14:02:10 UTC (failure 1 of 3 in a row)."
    waiting = job.model_copy(update={"status_reason": reason, "retry_at": SOON, "error": "OSError\nlines"})
    assert why_again(waiting) == "The disk is full (failure 1 of 3 in a row)."
    assert known_wait(waiting, at=at, now=NOW) == (
        "Again at 14:02:10 UTC: The disk is full (failure 1 of 3 in a row)."
    )
    assert known_wait(waiting, at=at, now=SOON) == ""
    assert why_again(job) == ""


def test_the_reason_that_the_store_writes_is_read_so(workspace: Workspace, studio: Studio, job: Job) -> None:
    port = studio.runner_port()
    claim = port.claim(runner_of(), lease_seconds=600)
    assert claim is not None
    port.end(
        job.id, claim.attempt, EndOfAttempt(outcome=Outcome.FAILED, reason="The disk is full", transient=True)
    )
    waiting = workspace.jobs.get(job.id)
    assert waiting.retry_at is not None
    assert why_again(waiting) == "The disk is full (failure 1 of 3 in a row)."
    assert "(failure 1 of 3 in a row)" in queue.waiting_reason(workspace, waiting)


def test_a_queue_too_long_for_one_look_is_counted(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "MAX_PAGE", 2)
    for _ in range(3):
        submitted(workspace)
    assert queue.read_queue(workspace) == queue.Queue((), 3)


def test_what_waits_stands_in_the_order_in_which_it_is_taken(workspace: Workspace) -> None:
    later, first, second, third = (submitted(workspace) for _ in range(4))
    queue.start_job_after(workspace, later.id, utc_now() + timedelta(hours=1))
    queue.prioritise_job(workspace, later.id, 90)
    queue.prioritise_job(workspace, third.id, 5)
    jobs.cancel_job(workspace, submitted(workspace).id)
    found = queue.read_queue(workspace, most=3)
    assert [waiting.job.id for waiting in found.first] == [third.id, first.id, second.id]
    assert found.total == 4
    assert all(waiting.place is not None for waiting in found.first)
