"""One action on several jobs tells what came of each."""

import pytest

from lora_core.actions import jobs
from lora_core.actions.bulk import Outcome, Verb, act_on_jobs
from lora_core.actions.queue import describe_place
from lora_core.errors import NotFound, Unavailable
from lora_core.schema.base import new_id
from lora_core.schema.job import JobStatus, QueuePlace, WaitReason
from lora_core.studio import Studio
from tests.contracts.samples import runner_of
from tests.lora_core.actions.scenes import submitted


@pytest.fixture
def three(studio: Studio) -> list[str]:
    """Return a running, a queued and a cancelled job."""
    workspace = studio.workspace()
    ids = [submitted(workspace).id for _ in range(3)]
    studio.runner_port().claim(runner_of(), lease_seconds=600)
    held = [job_id for job_id in ids if jobs.is_held(jobs.get_job(workspace, job_id))]
    queued, cancelled = (job_id for job_id in ids if job_id not in held)
    jobs.cancel_job(workspace, cancelled)
    return [*held, queued, cancelled]


@pytest.mark.parametrize(
    ("verb", "summary"),
    [
        (Verb.CANCEL, "1 asked to cancel, 1 cancelled, 1 had ended already."),
        (Verb.PAUSE, "1 asked to pause, 1 paused, 1 had ended already."),
        (Verb.RESUME, "1 queued, 2 queued or running already."),
        (Verb.CHECKPOINT, "3 not running."),
        (Verb.PRIORITISE, "1 with priority 0, 2 not waiting any more."),
        (Verb.ARCHIVE, "1 archived, 2 not ended yet."),
        (Verb.DELETE, "1 deleted, 2 not ended yet."),
    ],
)
def test_each_job_has_its_word(studio: Studio, three: list[str], verb: Verb, summary: str) -> None:
    assert act_on_jobs(studio.workspace(), three, verb).summary == summary


def test_a_job_that_is_named_twice_counts_once(studio: Studio, three: list[str]) -> None:
    assert act_on_jobs(studio.workspace(), three[1:2] * 2, Verb.CANCEL) == Outcome(("cancelled",))


def test_a_job_that_is_gone_keeps_the_others_from_nothing(studio: Studio, three: list[str]) -> None:
    outcome = act_on_jobs(studio.workspace(), [new_id(), three[2], three[2]], Verb.DELETE)
    assert outcome.summary == "1 deleted, 1 gone already."
    with pytest.raises(NotFound):
        jobs.get_job(studio.workspace(), three[2])


def test_a_store_that_is_away_is_told(
    studio: Studio, three: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> None:
        raise Unavailable("The store does not answer.")

    workspace = studio.workspace()
    monkeypatch.setattr(type(workspace.jobs), "archive", away)
    assert (
        act_on_jobs(workspace, three[2:], Verb.ARCHIVE).summary == "1 not changed: The store does not answer."
    )
    assert jobs.get_job(workspace, three[2]).status is JobStatus.CANCELLED


@pytest.mark.parametrize("reason", WaitReason)
def test_every_reason_to_wait_has_words(reason: WaitReason) -> None:
    assert describe_place(QueuePlace(position=1, reason=reason)).endswith((".", "`."))
