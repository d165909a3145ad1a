"""The disk is full: the job fails in words, with what is free and what may be removed, and keeps its checkpoint."""

import errno
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lora_core.errors import DiskFull, StoreError
from lora_core.schema.artifact import Artifact, ArtifactKind
from lora_core.schema.job import Job, JobStatus, Outcome
from runner.disk import give_back_reserve
from tests.runner.agent.bench import Bench, trainers, wait_until
from tests.runner.agent.test_away import Wire

NO_SPACE = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class FullDisk:
    """Stands between the journal and its disk."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.refusals = 0
        self.refused = 0
        monkeypatch.setattr("runner.disk.os", SimpleNamespace(write=self._write, ftruncate=os.ftruncate))

    def _write(self, descriptor: int, content: bytes) -> int:
        """Take half of what is written, then no more: what a disk does that fills up."""
        if self.refusals:
            if len(content) > 1:
                return os.write(descriptor, content[: len(content) // 2])
            self.refusals -= 1
            self.refused += 1
            raise NO_SPACE
        return os.write(descriptor, content)


def assert_told(failed: Job) -> None:
    assert failed.status is JobStatus.FAILED
    assert "disk" in failed.error
    assert "GB are free" in failed.error
    assert "/models" in failed.error
    assert "try again" in failed.error


def test_a_trainer_without_space_fails_in_words_and_keeps_its_checkpoint(bench: Bench) -> None:
    job = bench.submit()
    bench.start(script={"steps": 40, "disk_full_at": 15, "only_first_attempt": True})
    failed = bench.wait_for(job, JobStatus.FAILED)
    assert_told(failed)
    assert failed.checkpoint_step == 10
    bench.user.jobs.move(job.id, JobStatus.QUEUED)
    bench.wait_for(job)
    assert bench.user.jobs.attempts(job.id)[1].start_step == 10
    assert bench.steps(job) == list(range(1, 41))


def test_a_journal_without_space_ends_the_attempt_in_words(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = FullDisk(monkeypatch)
    job = bench.submit()
    agent = bench.start(script={"steps": 10_000, "step_seconds": 0.02, "helper_process": True})
    wait_until(lambda: bench.job(job).checkpoint_step, "a stored checkpoint")
    disk.refusals = 1_000_000
    failed = bench.wait_for(job, JobStatus.FAILED)
    assert_told(failed)
    wait_until(lambda: not agent.runs, "the agent to let go")
    assert not trainers(bench.home)
    steps = bench.steps(job)
    assert steps == list(range(1, len(steps) + 1))
    disk.refusals = 0
    other = bench.submit()
    agent.stop()
    bench.start(script={"steps": 5})
    bench.wait_for(other)


def test_a_disk_that_was_full_for_a_moment_costs_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = FullDisk(monkeypatch)
    job = bench.submit()
    bench.start(script={"steps": 60, "step_seconds": 0.03})
    bench.wait_for_step(job, 5)
    disk.refusals = 3
    bench.wait_for(job)
    assert disk.refused == 3
    assert bench.steps(job) == list(range(1, 61))
    assert not list(bench.home.rglob("reserve"))


@pytest.mark.parametrize("place", ["runner.holding.remember", "runner.fetching.link_or_copy"])
def test_without_space_for_its_inputs_a_job_fails_at_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    def refuse(*_: Any) -> None:
        raise NO_SPACE

    monkeypatch.setattr(place, refuse)
    job = bench.submit()
    agent = bench.start(script={})
    assert_told(bench.wait_for(job, JobStatus.FAILED))
    wait_until(lambda: not agent.runs, "the agent to let go")
    assert bench.user.jobs.attempts(job.id)[0].outcome is Outcome.FAILED


class Picky(Wire):
    """A store that does not take adapters."""

    refusal: StoreError | None = None

    def put_artifact(self, attempt: int, artifact: Artifact, folder: Path) -> Artifact:
        if artifact.kind is ArtifactKind.ADAPTER and self.refusal is not None:
            raise self.refusal
        return self._port.put_artifact(attempt, artifact, folder)


def test_an_adapter_for_which_the_store_has_no_space_stays_on_the_machine(bench: Bench) -> None:
    port = Picky(bench.store.runner_port())
    port.refusal = DiskFull("There is not enough disk space.")
    job = bench.submit()
    bench.start(port=port, script={"steps": 10})
    failed = bench.wait_for(job, JobStatus.FAILED)
    assert "not enough disk space" in failed.error
    kept = bench.run_folder(job) / "adapter"
    assert str(kept) in failed.error
    assert (kept / "adapter_model.safetensors").exists()


def test_an_adapter_that_could_not_be_stored_for_now_is_delivered_by_the_next_attempt(bench: Bench) -> None:
    port = Picky(bench.store.runner_port())
    port.refusal = StoreError("The gateway is odd.")
    job = bench.submit()
    bench.start(port=port, script={"steps": 10}, lease_seconds=1e6)
    wait_until(lambda: bench.machine.wait(20) or bench.job(job).retry_at, "the pause before the next try")
    assert "The gateway is odd" in bench.job(job).error
    port.refusal = None
    bench.try_again_now(job)
    bench.wait_for(job)
    assert bench.user.artifacts.list(job.id, ArtifactKind.ADAPTER)
    assert bench.user.jobs.attempts(job.id)[1].start_step == 10, "nothing is trained twice"
    assert bench.steps(job) == list(range(1, 11))


@pytest.mark.parametrize("trains", [True, False])
def test_the_checkpoint_that_a_living_trainer_writes_stays(tmp_path: Path, trains: bool) -> None:
    half = tmp_path / "checkpoints" / ".step-000005.tmp"
    half.mkdir(parents=True)
    (tmp_path / "reserve").write_bytes(b"x")
    give_back_reserve(tmp_path, trains=trains)
    assert half.exists() is trains
    assert not (tmp_path / "reserve").exists()
