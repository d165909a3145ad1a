"""A studio in a temporary folder, agents with the scripted trainer, and polling with a deadline."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from lora_core.schema.alerts import AlertsConfig, StallRule
from lora_core.schema.base import new_id, utc_now
from lora_core.schema.config import CheckpointConfig, OptimisationConfig, TrainingConfig
from lora_core.schema.dataset import Dataset, DatasetFormat, DatasetStatus
from lora_core.schema.job import Job, JobStatus
from lora_core.schema.metrics import MetricKind, MetricPoint
from lora_core.schema.runner import Task, TaskKind
from lora_core.settings import LOCAL_USER, Settings
from lora_core.store.base import RunnerPort
from lora_core.store.local import LocalStore
from runner.agent import Agent
from runner.cadence import NEAR
from runner.clocks import SYSTEM, Clocks
from runner.machine import Identity, describe_machine
from runner.run_folders import UNKNOWN, Origin
from tests.contracts.samples import UserStore

ROOT = Path(__file__).resolve().parents[3]
DEADLINE_SECONDS = 60.0


def wait_until(condition: Callable[[], Any], what: str = "", seconds: float = DEADLINE_SECONDS) -> Any:
    """Poll until the condition holds and return it; fail after a generous deadline."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited {seconds:g} s in vain for {what or condition}"
        time.sleep(0.02)
    return found


class Machine:
    """The clocks of a machine that a test puts to sleep, or whose clock it sets; else they go on as they do."""

    def __init__(self) -> None:
        self._passed = self._slept = self._set = 0.0
        self.clocks = Clocks(
            awake=lambda: SYSTEM.awake() + self._passed,
            always=lambda: SYSTEM.always() + self._passed + self._slept,
            wall=lambda: SYSTEM.wall() + self._passed + self._slept + self._set,
        )

    def wait(self, seconds: float) -> None:
        """Let time pass, as if nothing had happened meanwhile."""
        self._passed += seconds

    def sleep(self, seconds: float) -> None:
        """Put the machine to sleep and wake it up."""
        self._slept += seconds

    def set_clock(self, seconds: float) -> None:
        """Set its clock forward, or back."""
        self._set += seconds

    def now(self) -> datetime:
        """Return what its clock shows: the clock of an embedded store."""
        return datetime.fromtimestamp(self.clocks.wall(), UTC)


class Bench:
    """A studio and what tests do with it."""

    user_id = LOCAL_USER
    cadence = NEAR
    entry = "runner"
    """Module that a runner's process runs."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.machine = Machine()
        self.settings = Settings(home=home, poll_seconds=0.05, trainer="scripted", lease_seconds=10)
        self.store, self.user = self.open()
        self._agents: list[tuple[Agent, threading.Thread]] = []
        self._driven: list[Agent] = []
        self._processes: list[subprocess.Popen[bytes]] = []
        self._identities: list[Identity] = []

    def open(self) -> tuple[Any, UserStore]:
        """Open the store: what hands out ports, and what the person works with."""
        store = LocalStore(self.settings, self.machine.now)
        return store, store.for_user(self.user_id)

    def environment(self) -> dict[str, str]:
        """What a runner's process finds in its environment."""
        return {}

    # What a person does

    def add_dataset(self, content: bytes = b'{"text": "hello"}\n' * 50, **fields: Any) -> Dataset:
        dataset_id = new_id()
        key = f"{self.user_id}/datasets/{dataset_id}/data"
        size, sha256 = self.user.blobs.put("lora-datasets", key, iter([content]))
        known = {"name": "greetings", "format": DatasetFormat.TEXT, "status": DatasetStatus.READY, **fields}
        dataset = Dataset(
            id=dataset_id,
            user_id=self.user_id,
            storage_path=key,
            bytes=size,
            sha256=sha256,
            created_at=utc_now(),
            **known,
        )
        self.user.datasets.add(dataset)
        return dataset

    def submit(
        self,
        *,
        keep: int = 2,
        retry_smaller: bool = True,
        stall: StallRule | None = None,
        config: TrainingConfig | None = None,
        **fields: Any,
    ) -> Job:
        config = config or TrainingConfig(
            checkpoints=CheckpointConfig(keep=keep),
            optimisation=OptimisationConfig(retry_smaller=retry_smaller),
            alerts=AlertsConfig(stall=stall or StallRule()),
        )
        return self.user.jobs.submit(
            Job(
                id=new_id(),
                user_id=self.user_id,
                name="greeter",
                dataset_id=fields.pop("dataset_id", None) or self.add_dataset().id,
                config=config,
                created_at=utc_now(),
                updated_at=utc_now(),
                **fields,
            )
        )

    def ask(self, kind: TaskKind, subject_id: str, **arguments: Any) -> Task:
        now = utc_now()
        return self.user.tasks.add(
            Task(
                id=new_id(),
                user_id=self.user_id,
                kind=kind,
                subject_id=subject_id,
                arguments=arguments,
                created_at=now,
                updated_at=now,
            )
        )

    # What a person sees

    def job(self, job: Job) -> Job:
        return self.user.jobs.get(job.id)

    def points(self, job: Job, kind: MetricKind = MetricKind.TRAIN) -> list[MetricPoint]:
        return list(self.user.metrics.points(job.id, kind).items)

    def steps(self, job: Job, kind: MetricKind = MetricKind.TRAIN) -> list[int]:
        return [point.step for point in self.points(job, kind)]

    def logs(self, job: Job) -> list[str]:
        return [line.text for line in reversed(self.user.metrics.logs(job.id, limit=500).items)]

    def wait_for(self, job: Job, *statuses: JobStatus) -> Job:
        wanted = statuses or (JobStatus.COMPLETED,)

        def reached() -> Job | None:
            now = self.job(job)
            ended = {JobStatus.FAILED, JobStatus.COMPLETED, JobStatus.CANCELLED}
            assert now.status in wanted or now.status not in ended, (
                f"{now.status}: {now.error}\n{self.logs(job)}"
            )
            return now if now.status in wanted else None

        found: Job = wait_until(reached, f"{[status.value for status in wanted]}")
        return found

    def wait_for_step(self, job: Job, step: int) -> None:
        wait_until(lambda: self.job(job).current_step >= step, f"step {step}")

    def run_folder(self, job: Job, attempt: int = 1) -> Path:
        return self.settings.runs / job.id / str(attempt)

    # Agents

    def agent(
        self,
        *,
        port: RunnerPort | None = None,
        slots: int = 1,
        script: dict[str, Any],
        here: Origin = UNKNOWN,
        **changes: Any,
    ) -> Agent:
        settings = self.settings.model_copy(update={"script": json.dumps(script), **changes})
        self._identities.append(Identity(settings.root / "runners", "bench"))
        info = describe_machine(self._identities[-1], "test")
        jobs, tasks = port or self.store.runner_port(), self.store.task_port()
        clocks = self.machine.clocks
        agent = Agent(
            settings, jobs, tasks, info, slots=slots, cadence=self.cadence, clocks=clocks, here=here
        )
        self._driven.append(agent)
        return agent

    def start(self, **options: Any) -> Agent:
        """Run an agent in a thread of this process; its trainers are processes all the same."""
        agent = self.agent(**{"script": {}, **options})
        thread = threading.Thread(target=agent.run)
        thread.start()
        self._agents.append((agent, thread))
        return agent

    def start_process(
        self,
        *arguments: str,
        script: dict[str, Any] | None = None,
        lease_seconds: float = 10,
        environment: dict[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Run an agent as a person does."""
        all_of_it = {
            **os.environ,
            "LORA_STUDIO_HOME": str(self.home),
            "LORA_STUDIO_POLL_SECONDS": "0.05",
            "LORA_STUDIO_LEASE_SECONDS": str(lease_seconds),
            "LORA_STUDIO_TRAINER": "scripted",
            "LORA_STUDIO_SCRIPT": json.dumps(script or {}),
            **(self.environment() if environment is None else environment),
        }
        command = [sys.executable, "-m", self.entry, *arguments]
        log = (self.home / f"agent-{len(self._processes)}.log").open("wb")
        process = subprocess.Popen(command, cwd=ROOT, env=all_of_it, stderr=log, start_new_session=True)
        log.close()
        self._processes.append(process)
        return process

    def try_again_now(self, job: Job) -> None:
        """Wait for a pause before the next try, and end it."""
        wait_until(lambda: self.job(job).retry_at, "the pause")
        self.user.jobs.start_after(job.id, None)

    def agent_log(self, number: int = 0) -> str:
        return (self.home / f"agent-{number}.log").read_text()

    def close(self) -> None:
        for agent, _ in self._agents:
            agent.stop()
            agent.stop()
        for _, thread in self._agents:
            thread.join(20)
        for agent in self._driven:
            for run in agent.runs:
                run.abandon()
        for process in self._processes:
            if process.poll() is None:
                process.kill()
                process.wait()
        for process in trainers(self.home):
            process.kill()
        for identity in self._identities:
            identity.release()
        self.store.close()


def trainers(home: Path) -> list[psutil.Process]:
    """Processes of trainers and their helpers that are alive below a home folder."""
    found = []
    for process in psutil.process_iter():
        try:
            command = " ".join(process.cmdline())
            below = str(home) in command or str(home) in process.cwd()
            if below and process.status() != psutil.STATUS_ZOMBIE and process.pid != os.getpid():
                found.append(process)
        except psutil.Error:
            continue
    return found


def pid_of(folder: Path) -> int:
    """Process id of the group of a run folder."""
    return int(wait_until(lambda: (folder / "pid").exists() and (folder / "pid").read_text().strip()))


def kill_group(folder: Path) -> None:
    """Kill a trainer with its shell, as a machine that goes down would."""
    os.killpg(pid_of(folder), signal.SIGKILL)
