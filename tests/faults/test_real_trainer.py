"""The fault matrix with the real trainer: a tiny random model, 12 updates, evaluations and checkpoints every 4.

After each fault everything holds that holds for the scripted trainer, every loss is that of a run that nothing went wrong
with (dropout is on), and the last checkpoint is one that the trainer itself can read.
"""

import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from lora_core.schema.artifact import ArtifactKind
from lora_core.schema.job import Job, JobStatus
from runner.machine import usable_cpus
from runner.train.saving import read_checkpoint
from tests.faults.fuse import ENDLESS, Fuse
from tests.faults.invariants import check_all, read_artifact, read_curve
from tests.faults.stage import KILLED, LocalStage, kill
from tests.runner.agent.bench import wait_until
from tests.runner.train.bench import Outcome
from tests.runner.train.conftest import tiny_model
from tests.runner.train.real_jobs import assert_equal_to, place_model, submit, uninterrupted

__all__ = ["tiny_model"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

REAL = {"LORA_STUDIO_TRAINER": "real"}
PATIENCE_SECONDS = 300.0


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Outcome:
    """The run that nothing goes wrong with, on as many threads as a runner gives to a trainer here."""
    return uninterrupted(tmp_path_factory.mktemp("whole"), tiny_model, threads=usable_cpus())


@dataclass(frozen=True)
class Scene:
    """A case on stage."""

    stage: LocalStage
    job: Job
    runner: subprocess.Popen[bytes]


def let_it_be(scene: Scene) -> None:
    """The fault happens once: the next trainer of the same runner is spared."""
    scene.stage.mend()


def kill_runner(scene: Scene) -> None:
    """The runner is gone while its trainer is held; the trainer goes on and ends with nobody there."""
    kill(scene.runner)
    scene.stage.mend()


def kill_machine(scene: Scene) -> None:
    """Runner and trainer are gone at once."""
    scene.stage.kill_machine(scene.runner, scene.job)
    scene.stage.mend()


def stop_runner(scene: Scene) -> None:
    """The runner is shut down: the trainer saves."""
    scene.runner.send_signal(signal.SIGTERM)
    events = scene.stage.run_folder(scene.job) / "events.jsonl"
    wait_until(
        lambda: '"name": "request"' in events.read_text(), "the trainer to have heard", PATIENCE_SECONDS
    )
    scene.stage.mend()


def store_comes_back(scene: Scene) -> None:
    """The store does not answer for a while."""
    scene.stage.wait_for_strike(3)
    scene.stage.mend()


@dataclass(frozen=True)
class Case:
    """One fault.

    Attributes:
        breaks: What happens, as a sentence.
        fuse: What breaks, in the first runner or its trainer.
        then: What happens once it has struck.
        attempts: How the attempts end, in order.
        resumes: From which updates the later attempts go on.
        told: Words that stand in the job's log.
    """

    breaks: str
    fuse: Fuse
    then: Callable[[Scene], None] = let_it_be
    attempts: str = "failed completed"
    resumes: tuple[int, ...] = ()
    told: str = ""

    def __str__(self) -> str:
        return self.breaks


def at_update(step: int, does: str = "hold") -> Fuse:
    return Fuse("trainer.step", does, of="'train'", call=step)  # type: ignore[arg-type]


NEVER_STOPPED = "completed"

CASES = (
    Case("the trainer is killed while it loads the model", Fuse("trainer.load", "die")),
    Case("the trainer is killed between two checkpoints", at_update(6, "die"), resumes=(4,)),
    Case(
        "the trainer is killed while it writes a checkpoint",
        Fuse("trainer.rename", "die", of=".step-000008.tmp"),
        resumes=(4,),
    ),
    Case("the trainer is killed while it evaluates", Fuse("trainer.evaluate", "die", call=3), resumes=(4,)),
    Case(
        "the trainer is killed while it writes the adapter",
        Fuse("trainer.rename", "die", of="/.adapter.tmp"),
        resumes=(12,),
    ),
    Case(
        "the trainer is killed when its work is done but not said",
        Fuse("trainer.result", "die"),
        resumes=(12,),
    ),
    Case(
        "the disk is full at a checkpoint",
        Fuse("trainer.write", "disk full", of=".step-000008.tmp"),
        attempts=NEVER_STOPPED,
        told="No checkpoint of step 8",
    ),
    Case(
        "the disk is full for the adapter",
        Fuse("trainer.write", "disk full", of="/.adapter.tmp"),
        resumes=(12,),
        told="The disk is full",
    ),
    Case("the runner is killed, the trainer goes on", at_update(6), kill_runner, NEVER_STOPPED),
    Case("runner and trainer are killed at once", at_update(6), kill_machine, "lost completed", (4,)),
    Case("the runner is shut down", at_update(6), stop_runner, "released completed", (7,)),
    Case(
        "the store is away while the trainer computes",
        Fuse("ship", "unavailable", call=4, times=ENDLESS),
        store_comes_back,
        NEVER_STOPPED,
    ),
    Case(
        "the runner is killed while it uploads the adapter",
        Fuse("put_artifact", "die", of="name='adapter'"),
        attempts=NEVER_STOPPED,
    ),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_after_the_fault_it_is_as_if_there_had_been_none(
    case: Case, local: LocalStage, tiny_model: Path, whole: Outcome
) -> None:
    place_model(local.settings, tiny_model)
    job = submit(local)
    scene = Scene(local, job, local.start_runner(case.fuse, environment=REAL))
    wait_until((local.home / "faults" / "struck-1").exists, "the fault", PATIENCE_SECONDS)
    case.then(scene)
    bring_to_an_end(scene)
    check_all(local, job, read_curve(whole.folder.events_file))
    assert_equal_to(whole, local, job)
    check_last_checkpoint(local, job, 12)
    attempts = local.user.jobs.attempts(job.id)
    assert " ".join(str(attempt.outcome) for attempt in attempts) == case.attempts, local.logs(job)
    for step in case.resumes:
        assert [text for text in local.logs(job) if text.startswith(f"Going on from step {step} exactly")]
    assert [text for text in local.logs(job) if case.told in text] or not case.told


def test_a_loss_that_is_no_number_pauses_before_a_good_checkpoint_is_overwritten(
    local: LocalStage, tiny_model: Path, whole: Outcome
) -> None:
    place_model(local.settings, tiny_model)
    job = submit(local)
    bad = Fuse("trainer.loss", "unavailable", of="step 8.", times=2)
    runner = local.start_runner(bad, environment=REAL)
    assert runner.wait(PATIENCE_SECONDS) == 0, local.all_logs()
    paused = local.job(job)
    assert (paused.status, paused.current_step, paused.checkpoint_step) == (JobStatus.PAUSED, 8, 4)
    assert "not a finite number" in paused.status_reason
    check_last_checkpoint(local, job, 4)
    local.user.jobs.move(job.id, JobStatus.QUEUED)
    local.bring_to_an_end(job, environment=REAL)
    check_all(local, job, read_curve(whole.folder.events_file))
    assert_equal_to(whole, local, job)


def bring_to_an_end(scene: Scene) -> None:
    """Wait for what is alive, then start sound runners until the job is done; a person tries again what waits for one."""
    stage, job = scene.stage, scene.job
    assert scene.runner.wait(PATIENCE_SECONDS) in (0, KILLED), stage.all_logs()
    stage.mend()
    stage.end_leases()
    stage.end_pause(job)
    if stage.job(job).status is JobStatus.FAILED:
        stage.user.jobs.move(job.id, JobStatus.QUEUED)
    stage.bring_to_an_end(job, environment=REAL)


def check_last_checkpoint(stage: LocalStage, job: Job, step: int) -> None:
    """The newest checkpoint is of this step, and the trainer can read all of it without unpickling anything."""
    artifacts = stage.user.artifacts.list(job.id, ArtifactKind.CHECKPOINT)
    newest = max(artifacts, key=lambda artifact: artifact.step or 0)
    assert newest.step == step
    folder = stage.home / "looked_at"
    folder.mkdir()
    for name, content in read_artifact(stage, newest).items():
        (folder / name).write_bytes(content)
    state = read_checkpoint(folder)
    assert (state.step, state.environment.device, set(state.alerts) >= {"spike"}) == (step, "cpu", True)
    optimizer = torch.load(folder / "optimizer.pt", weights_only=True)
    assert {int(each["step"]) for each in optimizer["state"].values()} == {step}
    assert torch.load(folder / "scheduler.pt", weights_only=True)["last_epoch"] == step
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
