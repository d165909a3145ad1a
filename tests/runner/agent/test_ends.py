"""The outcome of an attempt is noted before the store is told; whoever comes after tells it again and trains nothing."""

from pathlib import Path
from typing import Any

import pytest

from lora_core.errors import Unavailable
from lora_core.schema.artifact import Artifact, ArtifactKind
from lora_core.schema.job import EndOfAttempt, JobStatus, Outcome, RequestedAction
from runner.agent import Agent
from runner.run_folders import noted_end
from tests.runner.agent.bench import Bench, wait_until
from tests.runner.agent.test_away import Wire


def quiet(*agents: Agent) -> None:
    """Wait for the last answers: the store is closed next, and must not be at work for a thread at that moment."""
    for agent in agents:
        for call in (agent._announcing, agent._claiming, agent._claiming_task):
            assert call.wait(60)


def end(bench: Bench, agent: Agent) -> None:
    agent.stop()
    for _, thread in bench._agents:
        thread.join(60)
    quiet(agent)


class Deaf(Wire):
    """A store whose answers to an outcome are lost; it may have heard it."""

    hears = False
    told = 0

    def end(self, job_id: str, attempt: int, end: EndOfAttempt) -> None:
        if self.hears:
            self._port.end(job_id, attempt, end)
        self.told += 1
        raise Unavailable("The answer was lost.")


@pytest.mark.parametrize("hears", [True, False], ids=["it heard", "it did not hear"])
def test_an_outcome_that_was_noted_is_told_again_by_the_next_agent(bench: Bench, hears: bool) -> None:
    port = Deaf(bench.store.runner_port())
    port.hears = hears
    job = bench.submit()
    agent = bench.agent(port=port, script={"steps": 6})
    wait_until(lambda: agent.tick() or port.told, "the outcome to be told")
    noted = noted_end(bench.run_folder(job))
    assert noted is not None
    assert noted.outcome is Outcome.COMPLETED
    agent.stop()
    agent.stop()
    agent.tick()
    assert not agent.runs
    assert (bench.job(job).status is JobStatus.COMPLETED) is hears
    again = bench.agent(script={"raise_at": 1})
    again.take_up()
    wait_until(lambda: again.tick() or not again.runs, "the next agent to let go")
    assert again.outcome is Outcome.COMPLETED
    assert bench.job(job).status is JobStatus.COMPLETED
    assert [attempt.outcome for attempt in bench.user.jobs.attempts(job.id)] == [Outcome.COMPLETED]
    assert bench.steps(job) == list(range(1, 7))
    assert not bench.run_folder(job).exists()
    quiet(agent, again)


class Shelfless(Wire):
    """A store whose files are away for as long as one looks."""

    away = True

    def put_artifact(self, attempt: int, artifact: Artifact, folder: Path) -> Artifact:
        if self.away:
            raise Unavailable("The files are away.")
        return self._port.put_artifact(attempt, artifact, folder)


def test_a_job_whose_results_cannot_be_stored_yet_can_be_cancelled(bench: Bench) -> None:
    job = bench.submit()
    port = Shelfless(bench.store.runner_port())
    agent = bench.start(port=port, script={"steps": 3})
    wait_until(lambda: bench.job(job).phase == "uploading", "the storing")
    bench.user.jobs.request(job.id, RequestedAction.CANCEL)
    bench.wait_for(job, JobStatus.CANCELLED)
    port.away = False
    wait_until(lambda: bench.machine.wait(20) or not agent.runs, "what it made to be stored")
    end(bench, agent)


class Odd(Wire):
    """A store with a fault that nobody foresaw."""

    def put_artifact(self, attempt: int, artifact: Artifact, folder: Path) -> Artifact:
        if artifact.kind is ArtifactKind.LOGS:
            raise KeyError("files")
        return self._port.put_artifact(attempt, artifact, folder)

    def announce(self, *_: Any) -> None:
        raise KeyError("seen_at")


def test_a_fault_nobody_foresaw_ends_neither_the_storing_nor_the_runner(bench: Bench) -> None:
    job = bench.submit()
    agent = bench.start(port=Odd(bench.store.runner_port()), script={"steps": 3}, lease_seconds=1e6)
    wait_until(lambda: bench.machine.wait(20) or bench.job(job).status is JobStatus.COMPLETED, "the end")
    wait_until(lambda: not agent.runs, "the agent to let go")
    end(bench, agent)
