"""A studio as real processes in a folder of its own: app, runner or both, with their logs. Knows no browser.

`Stage` is the embedded studio; `team_stage.py` has those of a team. Journeys see no difference: they ask for a stage's app,
runner and `workspace`, and run in every mode that makes sense for them.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

import httpx
import psutil

from lora_core.actions import datasets, jobs
from lora_core.actions.configs import config_from_preset
from lora_core.actions.files import chunks_of
from lora_core.actions.workspace import Workspace
from lora_core.launch import app_command
from lora_core.schema.dataset import Dataset
from lora_core.schema.job import Job, JobStatus
from lora_core.settings import Settings
from lora_core.studio import Studio

ROOT = Path(__file__).parents[2]
REFRESH_SECONDS = 1.0
SOON = 60.0
"""Seconds for what takes a moment on a good machine: CI has two slow cores, and a browser on them."""

RUNNER = (sys.executable, "-m", "runner", "--name", "this-machine")
OURS = ("LORA_STUDIO_", "SUPABASE_", "POSTGRES", "PG")
"""Variables of whoever runs the tests that no process on a stage may see."""

T = TypeVar("T")


class Mode(StrEnum):
    """How a studio is set up."""

    EMBEDDED = "embedded"
    """One person, SQLite, app and runner on one machine."""

    TEAM = "team"
    """A project, people who sign in, and a runner of the whole team that knows no more than its own token."""

    POD = "pod"
    """As a team; every job is handed out to a process that knows no more than a token for that job."""


def eventually(fact: Callable[[], T], what: str, *, within: float = SOON) -> T:
    """Wait until `fact` gives something true and return it.

    Raises:
        AssertionError: It did not within that many seconds; the last answer is in the message.
    """
    deadline = time.monotonic() + within
    while True:
        answer = fact()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"not within {within:.0f} s: {what} (at last: {answer!r})"
        time.sleep(0.1)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def script(**instructions: object) -> dict[str, str]:
    """Return the environment in which a runner starts the scripted trainer with these instructions."""
    return {"LORA_STUDIO_TRAINER": "scripted", "LORA_STUDIO_SCRIPT": json.dumps(instructions)}


class Stage:
    """One home folder, one port, and the processes on them. Close it: that ends every process it started."""

    mode = Mode.EMBEDDED

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.settings = self._settings()
        self.url = f"http://127.0.0.1:{self.settings.port}"
        kept = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
        self.environment = {
            **kept,
            "LORA_STUDIO_HOME": str(self.settings.home),
            "LORA_STUDIO_PORT": str(self.settings.port),
            "LORA_STUDIO_REFRESH_SECONDS": str(REFRESH_SECONDS),
            "HF_HUB_OFFLINE": "1",
            "TOKENIZERS_PARALLELISM": "false",
            "PYTHONUNBUFFERED": "1",
            **(environment or {}),
        }
        self._studio: Studio | None = None
        self._processes: list[subprocess.Popen[bytes]] = []
        self.app: subprocess.Popen[bytes] | None = None
        self.runner: subprocess.Popen[bytes] | None = None

    def _settings(self) -> Settings:
        return Settings(home=self.folder / "home", port=free_port(), refresh_seconds=REFRESH_SECONDS)

    # Processes

    def start(self) -> "Stage":
        """Start app and runner, each as a process."""
        self.start_runner()
        self.start_app()
        return self

    def start_app(self) -> None:
        """Start the app as the launcher does, and wait until it answers."""
        self.app = self.spawn("app", app_command(self.settings))
        self.wait_for_app(self.app)

    def start_runner(self) -> None:
        """Start a runner."""
        self.runner = self.spawn("runner", RUNNER)

    def spawn(
        self, name: str, command: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a process in its own session; what it prints goes to `<name>.log`."""
        with self.log_file(name).open("ab") as log:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=self.environment if environment is None else environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._processes.append(process)
        return process

    def wait_for_app(self, process: subprocess.Popen[bytes]) -> None:
        """Wait until the app answers; a process that has ended is a failure at once."""

        def healthy() -> bool:
            assert process.poll() is None, f"ended with {process.returncode}; see the logs"
            return self.app_answers()

        eventually(healthy, "the app answers", within=120)

    def app_answers(self) -> bool:
        """Say whether something answers at the app's address."""
        try:
            return httpx.get(f"{self.url}/api/health", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False

    def kill_app(self) -> None:
        """Kill the app without a word, as a crash would."""
        assert self.app is not None
        self.app.kill()
        self.app.wait(10)

    def training_processes(self) -> list[psutil.Process]:
        """Return the processes under which trainers run: the runner, if it was started."""
        return [psutil.Process(self.runner.pid)] if self.runner and self.runner.poll() is None else []

    def trainers(self) -> list[psutil.Process]:
        """Return the scripted trainers that are at work."""
        children = [child for parent in self.training_processes() for child in family_of(parent)]
        return [child for child in children if alive(child) and "runner.scripted" in command_of(child)]

    def close(self) -> None:
        """End what is still running, its children included, and let go of the store."""
        for process in reversed(self._processes):
            end(process)
        if self._studio is not None:
            self._studio.close()

    def log_file(self, name: str) -> Path:
        """Where a process's output goes."""
        return self.folder / f"{name}.log"

    def logs(self) -> dict[str, str]:
        """Return what every process has printed."""
        return {path.name: path.read_text("utf-8", "replace") for path in sorted(self.folder.glob("*.log"))}

    # The store, seen from outside

    @property
    def workspace(self) -> Workspace:
        """The person's view, through a connection of this process."""
        if self._studio is None:
            self._studio = Studio(self.settings)
        return self._studio.workspace()

    def only_job(self) -> Job:
        """Return the one job there is."""
        (job,) = jobs.list_jobs(self.workspace).items
        return job

    def job(self, job_id: str) -> Job:
        """Return a job as it is now."""
        return jobs.get_job(self.workspace, job_id)

    def wait_for_status(self, job_id: str, status: JobStatus, *, within: float = SOON) -> Job:
        """Wait until the job is in this state."""
        eventually(lambda: self.job(job_id).status is status, f"{status.value}: {job_id}", within=within)
        return self.job(job_id)

    def wait_for_step(self, job_id: str, step: int, *, within: float = SOON) -> int:
        """Wait until the store knows of this step, or a later one."""
        eventually(lambda: self.job(job_id).current_step >= step, f"step {step}", within=within)
        return self.job(job_id).current_step

    def add_dataset(self, path: Path, *, name: str = "", within: float = SOON) -> Dataset:
        """Add a file as the upload route does, and wait for its check."""
        added = datasets.upload_dataset(self.workspace, path.name, chunks_of(path.open("rb")), name=name)

        def checked() -> Dataset | None:
            view = datasets.view_dataset(self.workspace, added.id)
            return None if view.busy else view.dataset

        return eventually(checked, f"{path.name} is checked", within=within)

    def add_job(self, dataset: Dataset, name: str, *overrides: str) -> Job:
        """Queue a job on a data set."""
        config = config_from_preset("quick-check", list(overrides))
        return jobs.submit_job(self.workspace, name=name, dataset_id=dataset.id, config=config)


def alive(process: psutil.Process) -> bool:
    """Say whether a process still runs; one that only waits to be reaped does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def family_of(process: psutil.Process) -> list[psutil.Process]:
    """Return a process's children and theirs, none if it has just ended."""
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def command_of(process: psutil.Process) -> list[str]:
    """Return a process's command, empty if it has just ended."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process that was started here, gently at first, and whatever it has started itself."""
    family: list[psutil.Process] = []
    if process.poll() is None:
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
    for child in family:
        try:
            child.kill()
        except psutil.NoSuchProcess:
            continue
