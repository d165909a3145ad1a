"""A case of the fault matrix: where a job is broken, how, and what must become of it. The same over both stores.

A case is walked through in this order: a runner takes the job, the fault strikes, what is alive comes to its end, leases run
out, and sound runners finish what is left. Then everything that must hold, holds.
"""

import signal
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lora_core.schema.job import Job, JobStatus, RequestedAction
from tests.faults.fuse import Fuse
from tests.faults.invariants import Curve, check_all
from tests.faults.stage import KILLED, FaultStage, kill
from tests.runner.agent.bench import wait_until

SCRIPT = {"steps": 20, "step_seconds": 0.005, "print_lines": 3, "helper_process": True}
"""The job of the matrix: evaluations and checkpoints every 5 steps, some output, and a helper as a data loader is one."""


@dataclass
class Scene:
    """A case on stage."""

    stage: FaultStage
    job: Job
    runner: subprocess.Popen[bytes]


Step = Callable[[Scene], None]


def let_it_be(scene: Scene) -> None:
    """The fault passes by itself."""
    scene.stage.let_go(scene.job)


def runner_dies_later(scene: Scene) -> None:
    """A fuse kills the runner after the trainer has gone on, which it does when two checkpoints are stored."""
    stage, job = scene.stage, scene.job
    wait_until(lambda: len(stage.checkpoints(job)) == 2, "two checkpoints in the store")
    stage.let_go(job)
    runner_dies(scene)


def runner_dies(scene: Scene) -> None:
    """A fuse has killed the runner."""
    assert scene.runner.wait(60) == KILLED, scene.stage.all_logs()
    scene.stage.let_go(scene.job)


def kill_runner(scene: Scene) -> None:
    """The runner is gone; its trainer goes on, and ends with nobody there."""
    kill(scene.runner)
    scene.stage.let_go(scene.job)


def kill_trainer(scene: Scene) -> None:
    """The trainer is gone, with its helper still there."""
    scene.stage.kill_trainer(scene.job)
    scene.stage.mend()


def kill_machine(scene: Scene) -> None:
    """Everything is gone."""
    scene.stage.kill_machine(scene.runner, scene.job)


def store_comes_back(scene: Scene) -> None:
    """The store is away for several calls while the trainer goes on."""
    scene.stage.let_go(scene.job)
    scene.stage.wait_for_strike(3)
    scene.stage.mend()


def somebody_else_finishes(scene: Scene) -> None:
    """The runner hangs (a laptop that sleeps) and wakes up when another one has done the job."""
    scene.runner.send_signal(signal.SIGSTOP)
    scene.stage.end_leases()
    assert scene.stage.start_runner(script=SCRIPT).wait(60) == 0, scene.stage.all_logs()
    assert scene.stage.job(scene.job).status is JobStatus.COMPLETED
    scene.runner.send_signal(signal.SIGCONT)


def ask(action: RequestedAction) -> Step:
    """Return: the runner is gone, and the person asks for something before another one is there."""

    def asking(scene: Scene) -> None:
        kill(scene.runner)
        scene.stage.user.jobs.request(scene.job.id, action)

    return asking


@dataclass(frozen=True)
class Case:
    """One line of the matrix.

    Attributes:
        phase: Where the job is when it happens.
        breaks: What happens, as a sentence.
        before: What is done to the store beforehand.
        fuses: What breaks in the first runner.
        second: What breaks in the second one.
        hold: Where the trainer stands meanwhile (`Script.hold`).
        script: More instructions for the trainer.
        then: What happens once fuse or trainer are where they should be.
        attempts: How the attempts end, in order.
        fails: Words that the failed attempt must say; empty if none fails.
        by_hand: The failure does not pass by itself: the job waits for the person, who tries again.
        ends: How the job ends at last.
    """

    phase: str
    breaks: str
    fuses: tuple[Fuse, ...] = ()
    second: tuple[Fuse, ...] = ()
    hold: str = ""
    script: Mapping[str, Any] = field(default_factory=dict)
    before: Callable[[FaultStage], None] | None = None
    then: Step = let_it_be
    attempts: str = "completed"
    fails: str = ""
    by_hand: bool = False
    ends: JobStatus = JobStatus.COMPLETED

    def __str__(self) -> str:
        return f"{self.phase}: {self.breaks}"

    def play(self, stage: FaultStage, curve: Curve) -> Job:
        """Walk through the case and check everything."""
        job = stage.submit()
        if self.before is not None:
            self.before(stage)
        script = {**SCRIPT, **self.script, "hold": self.hold}
        scene = Scene(stage, job, stage.start_runner(*self.fuses, script=script))
        if self.hold:
            stage.wait_until_held(job)
        if self.fuses and self.then not in (runner_dies, runner_dies_later):
            stage.wait_for_strike()
        self.then(scene)
        assert scene.runner.wait(120) in (0, KILLED), stage.all_logs()
        self._check_failure(stage, job)
        stage.end_leases()
        stage.end_pause(job)
        if self.second:
            second = stage.start_runner(*self.second, script=SCRIPT)
            assert second.wait(120) in (0, KILLED), stage.all_logs()
            stage.end_leases()
            stage.end_pause(job)
        stage.bring_to_an_end(job, script=SCRIPT)
        check_all(stage, job, curve)
        done = stage.job(job)
        ended = [str(attempt.outcome) for attempt in stage.user.jobs.attempts(job.id)]
        assert (done.status, " ".join(ended)) == (self.ends, self.attempts), stage.all_logs()
        return done

    def _check_failure(self, stage: FaultStage, job: Job) -> None:
        if not self.fails:
            return
        now = stage.job(job)
        assert now.status is (JobStatus.FAILED if self.by_hand else JobStatus.QUEUED), now
        assert self.fails in now.error
        if self.by_hand:
            stage.user.jobs.move(job.id, JobStatus.QUEUED)


def until(stage: FaultStage, text: str) -> None:
    """Wait until a runner has logged something."""
    wait_until(lambda: text in stage.all_logs(), f"the log line {text!r}")
