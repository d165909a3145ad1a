"""The table of transitions lets jobs do what people and runners need, and nothing else."""

import pytest

from lora_core.errors import NotAllowed
from lora_core.lifecycle import LIVE, REQUESTS, TRANSITIONS, can_move, check_move
from lora_core.schema.job import JobStatus, RequestedAction

S = JobStatus


def test_every_status_has_a_row() -> None:
    assert set(TRANSITIONS) == set(JobStatus)


def test_a_completed_job_stays_completed() -> None:
    assert not any(can_move(S.COMPLETED, status) for status in JobStatus)


def test_every_live_job_can_be_cancelled_paused_or_fail() -> None:
    assert all(TRANSITIONS[status] >= {S.CANCELLED, S.PAUSED, S.FAILED} for status in LIVE)


def test_only_an_initializing_job_starts_running() -> None:
    assert [status for status in JobStatus if can_move(status, S.RUNNING)] == [S.INITIALIZING]


def test_a_forbidden_move_names_both_states() -> None:
    with pytest.raises(NotAllowed, match="paused cannot become running"):
        check_move(S.PAUSED, S.RUNNING)


def test_a_checkpoint_can_be_asked_only_of_a_running_job() -> None:
    assert REQUESTS[RequestedAction.CHECKPOINT] == {S.RUNNING}
