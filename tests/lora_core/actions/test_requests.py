"""What was asked of a running job, and whether anybody has answered."""

from datetime import timedelta

import pytest

from lora_core.actions import jobs
from lora_core.actions.requests import OpenRequest, describe_request, read_request
from lora_core.actions.workspace import Workspace
from lora_core.schema.base import utc_now
from lora_core.schema.job import Job, RequestedAction
from lora_core.schema.run import EventKind, RunEvent
from lora_core.studio import Studio
from tests.contracts.samples import runner_of
from tests.lora_core.actions.scenes import submitted

NOW = utc_now()


@pytest.fixture
def held(workspace: Workspace, studio: Studio) -> Job:
    """A job that a runner holds."""
    submitted(workspace)
    claim = studio.runner_port().claim(runner_of(), lease_seconds=600)
    assert claim is not None
    return workspace.jobs.get(claim.job.id)


def test_nothing_asked_is_no_request(workspace: Workspace, held: Job) -> None:
    assert read_request(workspace, held) is None


def test_a_request_is_open_until_the_trainer_answers(workspace: Workspace, studio: Studio, held: Job) -> None:
    asked = jobs.pause_job(workspace, held.id)
    request = read_request(workspace, asked)
    assert request is not None
    assert (request.action, request.answered) == (RequestedAction.PAUSE, False)
    port = studio.runner_port()
    directive = port.renew(held.id, 1, lease_seconds=600)
    echo = {"name": "request", "id": directive.request_id, "action": "pause"}
    port.ship(held.id, 1, [RunEvent(seq=1, at=utc_now(), kind=EventKind.PHASE, data=echo)])
    request = read_request(workspace, workspace.jobs.get(held.id))
    assert request is not None
    assert request.answered


def test_the_answer_to_an_earlier_request_is_not_taken_for_one(
    workspace: Workspace, studio: Studio, held: Job
) -> None:
    port = studio.runner_port()
    jobs.pause_job(workspace, held.id)
    directive = port.renew(held.id, 1, lease_seconds=600)
    echo = {"name": "request", "id": directive.request_id, "action": "pause"}
    port.ship(held.id, 1, [RunEvent(seq=1, at=utc_now(), kind=EventKind.PHASE, data=echo)])
    request = read_request(workspace, jobs.cancel_job(workspace, held.id))
    assert request is not None
    assert (request.action, request.answered) == (RequestedAction.CANCEL, False)


@pytest.mark.parametrize(
    ("waited", "heard_after", "answered", "words"),
    [
        (1, None, False, "The job was asked to pause; its runner answers in a moment."),
        (5, -1, False, "its runner has not answered yet: it was last heard of at THEN"),
        (5, None, False, "it was not heard of yet"),
        (5, 3, False, "Its runner is there, last heard of at THEN, but the trainer has not answered yet"),
        (5, 3, True, "Pausing: a checkpoint is saved after the current step."),
    ],
)
def test_how_far_a_request_is_in_words(
    waited: int, heard_after: int | None, answered: bool, words: str
) -> None:
    asked_at = NOW - timedelta(seconds=waited)
    heard_at = None if heard_after is None else asked_at + timedelta(seconds=heard_after)
    request = OpenRequest(RequestedAction.PAUSE, asked_at, answered, heard_at)
    assert words in describe_request(request, at=lambda _: "THEN", now=NOW)
