"""A job that is paused on one runner and goes on on another, with nothing of the first but the checkpoint in the store.

The real agent, the real trainer and the real way of files through the store; the second machine has a home folder of its own.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from lora_core.schema.job import JobStatus, RequestedAction
from runner import launching
from tests.faults import trainer
from tests.faults.fuse import Fuse, to_environment
from tests.runner.agent.bench import Bench, wait_until
from tests.runner.team.bench import TeamBench
from tests.runner.train.real_jobs import STEPS, assert_equal_to, place_model, submit, uninterrupted
from tests.supastub.fixtures import project, rig
from tests.supastub.rig import Project

__all__ = ["project", "rig"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

HELD, STOP = 6, 7
"""A trainer that is asked to pause while update 6 is told pauses after update 7, between two checkpoints and two evaluations."""

MANY_SLOTS = 64
"""So that each trainer has one thread, however many processors there are."""

PATIENCE_SECONDS = 300.0


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path / "first")
    yield bench
    bench.close()


@pytest.fixture
def team(tmp_path: Path, project: Project) -> Iterator[TeamBench]:
    bench = TeamBench(tmp_path / "first", project)
    yield bench
    bench.close()


def start(bench: Bench, home: Path, model: Path) -> None:
    """Start a runner with a home of its own, and the base model in it."""
    settings = bench.settings.model_copy(update={"home": home})
    place_model(settings, model)
    bench.start(trainer="real", home=home, slots=MANY_SLOTS)


def stop_all(bench: Bench) -> None:
    """Stop the runner that has run so far."""
    for agent, thread in bench._agents:
        agent.stop()
        thread.join(PATIENCE_SECONDS)


def move_between_machines(
    bench: Bench, tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, second_machine: Any
) -> None:
    """Pause after update 7 on the first machine, destroy it, go on on the second, and compare."""
    monkeypatch.setattr(launching, "python_command", trainer.command)
    hold = Fuse("trainer.step", "hold", of="'train'", call=HELD)
    for name, value in to_environment(tmp_path, [hold]).items():
        monkeypatch.setenv(name, value)
    job = submit(bench)
    start(bench, tmp_path / "first", model)
    events = bench.settings.runs / job.id / "1" / "events.jsonl"
    wait_until((tmp_path / "struck-1").exists, "update 6", PATIENCE_SECONDS)
    bench.user.jobs.request(job.id, RequestedAction.PAUSE)
    wait_until(
        lambda: '"name": "request"' in events.read_text(), "the trainer to have heard", PATIENCE_SECONDS
    )
    (tmp_path / "mended").touch()
    wait_until(lambda: bench.job(job).status is JobStatus.PAUSED, "the pause", PATIENCE_SECONDS)
    assert bench.job(job).checkpoint_step == STOP
    stop_all(bench)
    shutil.rmtree(bench.settings.models)
    shutil.rmtree(bench.settings.runs)

    second_machine()
    start(bench, tmp_path / "second", model)
    bench.user.jobs.move(job.id, JobStatus.QUEUED)
    wait_until(lambda: bench.job(job).status is JobStatus.COMPLETED, "the end", PATIENCE_SECONDS)
    assert [point.attempt for point in bench.points(job)] == [1] * STOP + [2] * (STEPS - STOP)
    assert [text for text in bench.logs(job) if text.startswith(f"Going on from step {STOP} exactly")]
    assert_equal_to(uninterrupted(tmp_path, model), bench, job)


def test_on_another_machine_every_later_loss_is_that_of_a_run_that_was_never_stopped(
    local: Bench, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    move_between_machines(local, tmp_path, tiny_model, monkeypatch, lambda: None)


def test_so_it_is_over_a_teams_project(
    team: TeamBench, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def register() -> None:
        _, token = team.team.register(team.user_id)
        team.settings = team.settings.model_copy(update={"runner_token": SecretStr(token.reveal())})

    move_between_machines(team, tmp_path, tiny_model, monkeypatch, register)
    assert len({runner.id for runner in team.user.runners.list()}) == 2
