"""Handing one job to a machine that gets nothing but a token."""

from pathlib import Path

import pytest

from lora_core.actions import jobs
from lora_core.actions.handout import hand_out_job
from lora_core.actions.workspace import Workspace
from lora_core.errors import ConfigError, NotAllowed, NotFound
from lora_core.secrets import token_sha256
from tests.lora_core.actions.scenes import submitted
from tests.lora_core.actions.team_fakes import KEY, URL, FakeHandout, team_workspace


@pytest.fixture
def person(workspace: Workspace, tmp_path: Path) -> Workspace:
    return team_workspace(workspace, tmp_path)


def test_the_machine_gets_the_project_and_one_token(person: Workspace) -> None:
    job = submitted(person)
    handout = hand_out_job(person, job.id)
    assert dict(handout.environment) == {
        "SUPABASE_URL": URL,
        "SUPABASE_PUBLISHABLE_KEY": KEY,
        "LORA_STUDIO_JOB_TOKEN": handout.token.reveal(),
    }
    assert handout.command.endswith("\npython -m runner --job")
    assert handout.attempt == 1


def test_only_the_sha256_of_the_token_reaches_the_store(person: Workspace) -> None:
    handout = hand_out_job(person, submitted(person).id)
    assert handout.token.reveal().startswith("lsj_")
    assert isinstance(person.handout, FakeHandout)
    assert list(person.handout.tokens) == [token_sha256(handout.token.reveal())]
    assert handout.token.reveal() not in repr(handout)


def test_only_a_queued_job_is_handed_out(person: Workspace) -> None:
    job = submitted(person)
    jobs.pause_job(person, job.id)
    with pytest.raises(NotAllowed, match="is paused; only a queued job"):
        hand_out_job(person, job.id)
    with pytest.raises(NotFound):
        hand_out_job(person, "nothing")


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("inf"), float("nan"), 1e6])
def test_the_wait_has_bounds(person: Workspace, seconds: float) -> None:
    with pytest.raises(ConfigError, match="wait_seconds"):
        hand_out_job(person, submitted(person).id, wait_seconds=seconds)


def test_the_embedded_mode_hands_nothing_out(workspace: Workspace) -> None:
    with pytest.raises(NotAllowed, match="keeps its jobs on this machine"):
        hand_out_job(workspace, submitted(workspace).id)
