"""A team's studio as real processes: a project, the app, and a runner or pods elsewhere, each with nothing but its own token.

Machines share no folder: the app, the runner and each pod have homes of their own, so that whatever one of them knows of
another has gone through the project.
"""

import re
import subprocess
import sys
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import psutil

from lora_core.actions import runners
from lora_core.actions.handout import Handout
from lora_core.actions.runners import NewRunner
from lora_core.actions.workspace import Workspace
from lora_core.schema.runner import RunnerScope
from lora_core.settings import Settings
from lora_core.studio import TeamStudio
from tests.journeys.landlord import Landlord
from tests.journeys.stage import RUNNER, Mode, Stage
from tests.supastub.access import Person
from tests.supastub.journey import LocalProject

ANNE, BEN, OPERATOR = "anne@studio.test", "ben@studio.test", "olga@studio.test"
LARGEST_FILE_BYTES = 2**30
NEEDED_TO_RUN = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
"""What a rented machine has in its environment anyway."""

FOR_TRAINERS = (
    "HF_HUB_OFFLINE",
    "TOKENIZERS_PARALLELISM",
    "PYTHONUNBUFFERED",
    "LORA_STUDIO_TRAINER",
    "LORA_STUDIO_SCRIPT",
    "LORA_STUDIO_MODEL_ROOTS",
)
"""What a journey tells every machine that trains."""

ANY_SECRET = re.compile(r"lsr_|sb_secret_|postgres(ql)?://|eyJ[\w-]+\.")
"""A runner's token, the project's secret key, its database, a person's session."""


class TeamStage(Stage):
    """A project in a process of its own, two people and an operator, the app, and a runner of the whole team."""

    mode = Mode.TEAM

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        self.project = LocalProject(
            people=[ANNE, BEN], operators=[OPERATOR], largest_file_bytes=LARGEST_FILE_BYTES
        )
        try:
            self.person, self.other, self.operator = self.project.people
            super().__init__(folder, environment)
        except BaseException:
            self.project.close()
            raise
        self.environment |= self.project.environment()
        self._workspaces: dict[str, Workspace] = {}

    def _settings(self) -> Settings:
        return (
            super()
            ._settings()
            .model_copy(
                update={"supabase_url": self.project.url, "supabase_key": self.project.publishable_key}
            )
        )

    # Processes

    def start_runner(self) -> None:
        """Start the runner of the whole team, on a machine that is not the app's."""
        environment = {**self.machine("runner"), **self.registration.environment}
        self.runner = self.spawn("runner", self.runner_command, environment)

    @property
    def runner_command(self) -> tuple[str, ...]:
        """What is typed on the runner's machine."""
        return RUNNER

    @cached_property
    def registration(self) -> NewRunner:
        """The runner that the operator has let in; the same over restarts of it."""
        return runners.register_runner(self.workspace_of(self.operator), "this-machine", RunnerScope.TEAM)

    def machine(self, name: str) -> dict[str, str]:
        """Return the environment of a machine that is not the app's, with a home of its own."""
        kept = {key: self.environment[key] for key in NEEDED_TO_RUN + FOR_TRAINERS if key in self.environment}
        return {**kept, "LORA_STUDIO_HOME": str(self.home_of(name))}

    def home_of(self, name: str) -> Path:
        """Return the home folder of such a machine."""
        return self.folder / f"home-of-{name}"

    def close(self) -> None:
        """End every process, the project last: a runner that stops gives its jobs back."""
        try:
            super().close()
        finally:
            if self._team is not None:
                self._team.close()
            self.project.close()

    # The store, seen from outside

    _team: TeamStudio | None = None

    @property
    def workspace(self) -> Workspace:
        """The view of the person of most journeys, Anne."""
        return self.workspace_of(self.person)

    def workspace_of(self, person: Person) -> Workspace:
        """Return the view of a person, who signs in for it at a machine of their own."""
        if self._team is None:
            elsewhere = self.settings.model_copy(update={"home": self.home_of("people")})
            self._team = TeamStudio(elsewhere)
        if person.email not in self._workspaces:
            _, session = self._team.sessions.sign_in(person.email, person.password)
            self._workspaces[person.email] = self._team.workspace(session)
        return self._workspaces[person.email]


class PodStage(TeamStage):
    """A team whose runner only checks data sets. A landlord hands every queued job of Anne to a pod of its own."""

    mode = Mode.POD

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        super().__init__(folder, environment)
        self.pods: list[subprocess.Popen[bytes]] = []
        self.landlord: Landlord | None = None

    @property
    def runner_command(self) -> tuple[str, ...]:
        """The runner trains nothing."""
        return (*RUNNER, "--no-training")

    def start_runner(self) -> None:
        """Start the runner and the landlord."""
        super().start_runner()
        self.landlord = Landlord(self.workspace, self.start_pod)
        self.landlord.start()

    def start_pod(self, handout: Handout) -> None:
        """Start a fresh machine for one job, with what was handed out and nothing else."""
        name = f"pod-{len(self.pods) + 1}"
        assert not self.home_of(name).exists()
        environment = {**self.machine(name), **handout.environment}
        pod = self.spawn(name, [sys.executable, "-m", "runner", "--job", "--name", name], environment)
        self.assert_knows_one_job_only(pod, handout)
        self.pods.append(pod)

    def assert_knows_one_job_only(self, pod: subprocess.Popen[bytes], handout: Handout) -> None:
        """Check what stands in the environment of the process itself: a job token, and no other secret."""
        held = psutil.Process(pod.pid).environ()
        assert held["LORA_STUDIO_JOB_TOKEN"] == handout.token.reveal()
        assert "LORA_STUDIO_RUNNER_TOKEN" not in held
        people = [secret for person in self.project.people for secret in (person.token, person.password)]
        secrets = [
            *people,
            self.registration.token.reveal(),
            self.project.secret_key,
            self.project.keys.jwt_secret,
        ]
        found = [
            name
            for name, value in held.items()
            if ANY_SECRET.search(value) or any(secret in value for secret in secrets)
        ]
        assert not found, found

    def training_processes(self) -> list[psutil.Process]:
        """Return the pods that are at work."""
        return [psutil.Process(pod.pid) for pod in self.pods if pod.poll() is None]

    def close(self) -> None:
        """Stop renting first: what the pods give back at their end would be handed out again."""
        try:
            if self.landlord is not None:
                self.landlord.stop()
        finally:
            super().close()
        if self.landlord is not None:
            assert self.landlord.complaints == []
