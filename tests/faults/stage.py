"""The stage of the fault matrix: a store, runners as processes with fuses in them, and what can be done to both.

Works over either store (`LocalStage`, `TeamStage`) and with either trainer. Nothing here waits for time to pass: leases and
pauses end because the stage ends them.
"""

import contextlib
import os
import signal
import sqlite3
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil

from lora_core.errors import NotAllowed
from lora_core.schema.artifact import Artifact, ArtifactKind
from lora_core.schema.job import Job, JobStatus
from tests.faults.fuse import Fuse, to_environment
from tests.runner.agent.bench import Bench, pid_of, trainers, wait_until
from tests.runner.team.bench import TeamBench

KILLED = -signal.SIGKILL
ROUNDS = 4
"""How many runners may be needed, one after the other, to bring a job to its end after one fault."""

ENDED = (JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.PAUSED)


class FaultStage(Bench):
    """A bench whose runners can be broken at a chosen call, and whose time can be passed over."""

    entry = "tests.faults.agent"

    def __init__(self, home: Path, *arguments: Any) -> None:
        super().__init__(home, *arguments)
        self._marks = home / "faults"
        self._marks.mkdir(exist_ok=True)

    # Runners

    def start_runner(
        self,
        *fuses: Fuse,
        script: dict[str, Any] | None = None,
        home: Path | None = None,
        environment: dict[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a runner that ends when nothing is left to do.

        Args:
            fuses: What breaks in it.
            script: Instructions of the scripted trainer.
            home: Another machine's home (over a team's store only).
            environment: More variables, such as LORA_STUDIO_TRAINER=real.
        """
        arguments = ("--once", *(("--home", str(home)) if home else ()))
        return self.start_process(
            *arguments,
            script=script,
            environment={
                **self.environment(),
                **to_environment(self._marks, fuses),
                **(environment or {}),
            },
            lease_seconds=300,
        )

    def wait_for_strike(self, number: int = 1) -> None:
        """Wait until a fuse has struck so often."""
        struck = self._marks / f"struck-{number}"
        wait_until(lambda: self._runners_are_well() and struck.exists(), f"strike {number} of a fuse")

    def _runners_are_well(self) -> bool:
        """Notice a runner that ended with an error, rather than wait for what it will not do."""
        assert all(process.poll() in (None, 0, KILLED) for process in self._processes), self.all_logs()
        return True

    def mend(self) -> None:
        """Let whatever a fuse holds go on, and let no fuse strike any more."""
        (self._marks / "mended").touch()

    # Trainers

    def wait_until_held(self, job: Job, attempt: int = 1) -> None:
        """Wait until the scripted trainer stands where its script holds it."""
        held = self.run_folder(job, attempt) / "held"
        wait_until(lambda: self._runners_are_well() and held.exists(), "the trainer to be held")

    def let_go(self, job: Job, attempt: int = 1) -> None:
        """Let a held trainer go on, if there is one."""
        with contextlib.suppress(FileNotFoundError):
            (self.run_folder(job, attempt) / "go").touch()

    def trainer_of(self, job: Job, attempt: int = 1) -> psutil.Process:
        """Return the process that trains, without its shell."""
        folder = self.run_folder(job, attempt)
        found: psutil.Process = wait_until(lambda: _trainer_in(pid_of(folder), folder), "the trainer")
        return found

    def kill_trainer(self, job: Job, attempt: int = 1) -> None:
        """Kill the trainer alone, as the kernel does when memory runs out."""
        trainer = self.trainer_of(job, attempt)
        trainer.kill()
        trainer.wait(30)

    def kill_machine(self, runner: subprocess.Popen[bytes], job: Job, attempt: int = 1) -> None:
        """Kill the runner and the trainer with all its helpers at once, as a power cut does."""
        os.kill(runner.pid, signal.SIGSTOP)  # it must not see its trainer die
        os.killpg(pid_of(self.run_folder(job, attempt)), signal.SIGKILL)
        kill(runner)

    def checkpoints(self, job: Job) -> Sequence[Artifact]:
        """Return the checkpoints that are in the store, newest first."""
        return self.user.artifacts.list(job.id, ArtifactKind.CHECKPOINT)

    # Time

    def end_leases(self) -> None:
        """Let every lease run out now."""
        raise NotImplementedError

    def end_pause(self, job: Job) -> None:
        """Let a job that waits for its next try be taken now, as a person who does not want to wait."""
        with contextlib.suppress(NotAllowed):
            self.user.jobs.start_after(job.id, None)

    def bring_to_an_end(self, job: Job, *, script: dict[str, Any] | None = None, **options: Any) -> Job:
        """Start one sound runner after the other until the job has ended or is paused. None of the old ones may be alive.

        Args:
            options: For `start_runner`.
        """
        for _ in range(ROUNDS):
            if self.job(job).status in ENDED and not self._unfinished():
                break
            runner = self.start_runner(script=script, **options)
            assert runner.wait(120) == 0, self.all_logs()
            self.end_leases()
            self.end_pause(job)
        assert self.job(job).status in ENDED, f"{self.job(job)}\n{self.all_logs()}"
        return self.job(job)

    def _unfinished(self) -> bool:
        """Say whether a runner has left an attempt that its successor is to look after."""
        claims = self.settings.runs.glob("*/*/claim.json")
        return any(not claim.with_name("ended").exists() for claim in claims)

    def all_logs(self) -> str:
        """Return what all runners have logged."""
        return "\n".join(path.read_text() for path in sorted(self.home.glob("agent-*.log")))


class LocalStage(FaultStage):
    """Over the embedded store."""

    def end_leases(self) -> None:
        """Let every lease run out now."""
        self.execute("UPDATE job_attempts SET lease_until = '2020-01-01' WHERE ended_at IS NULL")

    @contextlib.contextmanager
    def locked_database(self) -> Iterator[None]:
        """Keep every other process from writing to the database."""
        with closing(sqlite3.connect(self.settings.database, isolation_level=None)) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            yield
            connection.execute("ROLLBACK")

    def execute(self, statement: str) -> None:
        """Change the database behind everybody's back."""
        with closing(sqlite3.connect(self.settings.database, timeout=30)) as connection, connection:
            connection.executescript(statement)


class TeamStage(FaultStage, TeamBench):
    """Over a team's project; runners hold a runner token and know nothing else."""

    def end_leases(self) -> None:
        """Let every lease run out now."""
        self.project.sql(
            "update job_attempts set lease_until = now() - interval '1 hour' where ended_at is null"
        )


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a runner without a word; its trainer lives on."""
    process.kill()
    process.wait(30)


def left_behind(stage: FaultStage) -> list[list[str]]:
    """Return the commands of processes that still work for a job of this stage."""
    return [process.cmdline() for process in trainers(stage.home)]


def _trainer_in(group: int, folder: Path) -> psutil.Process | None:
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(group).children():
            if str(folder) in child.cmdline():
                return child
    return None
