"""What a person does with runners: look at them, let one in (its token is shown once), and shut one out again."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from lora_core.actions.workspace import Workspace
from lora_core.errors import ConfigError, Forbidden, NotAllowed
from lora_core.schema.base import new_id, utc_now
from lora_core.schema.job import WorkInHand
from lora_core.schema.runner import ONLINE_SECONDS, RunnerInfo, RunnerRegistration, RunnerScope
from lora_core.secrets import Secret, TokenKind, new_token, token_sha256
from lora_core.settings import Settings
from lora_core.store.base import RunnerRegistry

MAX_NAME = 80


@dataclass(frozen=True)
class NewRunner:
    """A runner that was just let in. Its token exists here and nowhere else: it cannot be read again."""

    registration_id: str
    name: str
    scope: RunnerScope
    token: Secret
    environment: Mapping[str, str] = field(repr=False)
    """What the machine needs in its environment; holds the token."""

    @property
    def command(self) -> str:
        """What to type on the machine, in a checkout of the studio; holds the token."""
        return start_command(self.environment, "python -m runner")


@dataclass(frozen=True)
class RunnersView:
    """The runners a person can count on.

    Attributes:
        registrations: Those the person let in (team mode), newest first, with the machines that use them.
        machines: All machines that may claim this person's jobs, most recently seen first.
    """

    registrations: Sequence[RunnerRegistration]
    machines: Sequence[RunnerInfo]

    @property
    def open_registrations(self) -> list[RunnerRegistration]:
        """Registrations that were not revoked."""
        return [registration for registration in self.registrations if registration.revoked_at is None]

    @property
    def shared(self) -> list[RunnerInfo]:
        """Machines of the team that somebody else let in."""
        own = {machine.id for registration in self.registrations for machine in registration.machines}
        return [machine for machine in self.machines if machine.id not in own]

    def registration_of(self, machine: RunnerInfo) -> RunnerRegistration | None:
        """Return the person's own registration that a machine uses; None for the team's, and in the embedded mode."""
        for registration in self.registrations:
            if any(known.id == machine.id for known in registration.machines):
                return registration
        return None


def read_runners(workspace: Workspace) -> RunnersView:
    """Return the runners of this person: registrations (none in the embedded mode) and machines."""
    registrations = workspace.registry.list() if workspace.registry else ()
    return RunnersView(registrations, workspace.runners.list())


def read_work(workspace: Workspace) -> dict[str, list[WorkInHand]]:
    """Return this person's jobs that runners hold now, by the runner's id; of other people's jobs nothing is known."""
    by_runner: dict[str, list[WorkInHand]] = {}
    for work in workspace.jobs.at_work():
        by_runner.setdefault(work.runner_id, []).append(work)
    return by_runner


def is_online(runner: RunnerInfo, now: datetime | None = None) -> bool:
    """Say whether a runner was heard of lately."""
    return (now or utc_now()) - runner.seen_at < timedelta(seconds=ONLINE_SECONDS)


def register_runner(
    workspace: Workspace, name: str, scope: RunnerScope = RunnerScope.MINE, *, registration_id: str = ""
) -> NewRunner:
    """Let a runner in and make its token. Only the token's sha256 is stored, so this is the only time it can be read.

    Args:
        name: What people call the machine.
        scope: Whose jobs it may claim; `team` is for the operator.
        registration_id: Made by the caller, so that a repeated click cannot let in two.

    Raises:
        NotAllowed: The embedded mode needs no tokens.
        ConfigError: The name is empty.
        Forbidden: Scope `team`, and the person is no operator.
    """
    registry = _registry(workspace)
    clean = " ".join(name.split())[:MAX_NAME]
    if not clean:
        raise ConfigError(
            "A runner needs a name.", "Use one that tells which machine it is, such as gpu-box."
        )
    if scope is RunnerScope.TEAM and workspace.operator is None:
        raise Forbidden(
            "Only the operator lets in runners for the whole team.", "Register it for your own jobs."
        )
    token = new_token(TokenKind.RUNNER)
    registration_id = registration_id or new_id()
    registry.register(registration_id, clean, scope, token_sha256(token.reveal()))
    environment = project_environment(workspace.settings) | {"LORA_STUDIO_RUNNER_TOKEN": token.reveal()}
    return NewRunner(registration_id, clean, scope, token, environment)


def revoke_runner(workspace: Workspace, registration_id: str) -> None:
    """Shut a runner out: its token, and those of the jobs it holds, are refused at once.

    Jobs it was training go back to the queue when their lease ends, and on from their last checkpoint elsewhere.

    Raises:
        NotAllowed: The embedded mode has no registrations.
        NotFound: No such registration of this person.
    """
    _registry(workspace).revoke(registration_id)


def project_environment(settings: Settings) -> dict[str, str]:
    """Return the part of a runner's environment that names the project. It holds no secret."""
    return {"SUPABASE_URL": settings.supabase_url, "SUPABASE_PUBLISHABLE_KEY": settings.supabase_key}


def start_command(environment: Mapping[str, str], command: str) -> str:
    """Write a command with its environment, one variable a line, as a POSIX shell reads it.

    >>> print(start_command({"A": "x y"}, "python -m runner"))
    export A='x y'
    python -m runner
    """
    lines = [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]
    return "\n".join([*lines, command])


def _registry(workspace: Workspace) -> RunnerRegistry:
    if workspace.registry is None:
        raise NotAllowed(
            "This studio is for one person on this machine: its runners need no token.",
            "Start one with `python -m runner`. To use other machines, connect a Supabase project (docs/supabase.md).",
        )
    return workspace.registry
