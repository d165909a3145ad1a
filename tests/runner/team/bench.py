"""A team's project with one person and her registered runner, for agents and pods; trainers are scripted."""

import os
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from lora_core.schema.job import Job
from lora_core.secrets import Secret, TokenKind, new_token, token_sha256
from lora_core.store.supabase.runner_port import SupabaseRunnerPort
from lora_core.store.supabase.runner_ports import open_runner_ports
from lora_core.store.supabase.task_port import SupabaseTaskPort
from runner.cadence import Cadence
from tests.contracts.samples import UserStore
from tests.contracts.team import Team
from tests.runner.agent.bench import Bench
from tests.supastub.rig import Project

QUICK = Cadence(
    claim_seconds=0.1, announce_seconds=0.5, renew_seconds=0.3, ship_seconds=0.1, report_seconds=0.3
)


class TeamBench(Bench):
    """The bench over a project. `store` hands out ports as a process of the machine opens them."""

    cadence = QUICK

    def __init__(self, home: Path, project: Project) -> None:
        home.mkdir(parents=True)
        self.project = project
        self.person = project.add_person()
        self.user_id = self.person.id
        self.team = Team(project.url, project.publishable_key, lambda _: self.person.token, home / "people")
        self.registration, self.token = self.team.register(self.user_id)
        self._ports: list[tuple[SupabaseRunnerPort, SupabaseTaskPort]] = []
        self._closing = False
        super().__init__(home)
        self.settings = self.settings.model_copy(
            update={
                "supabase_url": project.url,
                "supabase_key": project.publishable_key,
                "runner_token": SecretStr(self.token.reveal()),
            }
        )

    def open(self) -> tuple[Any, UserStore]:
        return self, self.team.store_for(self.user_id)

    def environment(self) -> dict[str, str]:
        return {
            **self.project.environment(),
            "LORA_STUDIO_RUNNER_TOKEN": self.token.reveal(),
            "LORA_STUDIO_POLL_SECONDS": "0.05",
        }

    def runner_port(self) -> SupabaseRunnerPort:
        self._ports.append(open_runner_ports(self.settings))
        return self._ports[-1][0]

    def task_port(self) -> SupabaseTaskPort:
        if not self._ports:
            self.runner_port()
        return self._ports[-1][1]

    def close(self) -> None:
        """Close the stores, which the bench closes as its own."""
        if self._closing:
            for port, _ in self._ports:
                port.close()
            self.team.close()
        else:
            self._closing = True
            super().close()

    # Pods

    def hand_out(self, *, wait_seconds: float = 60, **fields: Any) -> tuple[Job, Secret]:
        """Submit a job and hand it out."""
        job, token = self.submit(**fields), new_token(TokenKind.JOB)
        self.team.store_for(self.user_id).handout.hand_out(
            job.id, token_sha256(token.reveal()), wait_seconds=wait_seconds
        )
        return job, token

    def start_pod(
        self, token: str, *arguments: str, script: dict[str, Any] | None = None
    ) -> subprocess.Popen[bytes]:
        """Run a process that holds the job's token and nothing else."""
        environment = {**self.project.environment(), "LORA_STUDIO_JOB_TOKEN": token}
        return self.start_process("--job", *arguments, script=script, environment=environment)

    # Looking for leaks

    def files_with(self, text: str) -> set[str]:
        """Names of the files below the home that hold a text; what a runner removes meanwhile is passed over."""
        found = set()
        for folder, _, names in os.walk(self.home):
            for name in names:
                with suppress(FileNotFoundError):
                    if text.encode() in (Path(folder) / name).read_bytes():
                        found.add(name)
        return found
