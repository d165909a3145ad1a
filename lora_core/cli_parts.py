"""What commands share: the terminal, errors in one sentence, who works here, and the job that the beginning of an id means."""

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Annotated, Protocol, TypeVar

import typer
from rich.console import Console
from rich.markup import escape

from lora_core.actions import jobs
from lora_core.actions.sessions import SignedIn
from lora_core.actions.workspace import Workspace
from lora_core.errors import ConfigError, NotFound, StudioError
from lora_core.schema.job import Job, JobFilter
from lora_core.secrets import Secret
from lora_core.settings import Settings
from lora_core.studio import AnyStudio, Studio, TeamStudio, open_studio

EMAIL = "LORA_STUDIO_EMAIL"
PASSWORD = "LORA_STUDIO_PASSWORD"  # noqa: S105 - a variable's name

out = Console()
err = Console(stderr=True)

JobArgument = Annotated[str, typer.Argument(metavar="JOB", help="Job id, or the beginning of one.")]


class Access:
    """Who works at this command line: the one person of an embedded studio, or a person of a team, signed in until it ends."""

    def __init__(self, email: str = "") -> None:
        self._email = email
        self._studio: AnyStudio | None = None
        self._person: SignedIn | None = None

    def workspace(self) -> Workspace:
        """Open the studio that the environment names; in a team, sign in.

        Raises:
            ConfigError: It is a team's, and no e-mail address or password is given.
            Forbidden: They do not belong together.
        """
        studio = self._studio = open_studio(Settings())
        if isinstance(studio, Studio):
            return studio.workspace()
        self._person = self._sign_in(studio)
        return studio.workspace(self._person)

    def team(self, email: str = "") -> tuple[TeamStudio, SignedIn]:
        """Open the team's studio that the environment names, and sign in.

        Args:
            email: Who, if not the one given before the command.

        Raises:
            ConfigError: There is no team, no e-mail address or no password.
            Forbidden: They do not belong together.
        """
        self._email = email or self._email
        studio = self._studio = TeamStudio(Settings())
        self._person = self._sign_in(studio)
        return studio, self._person

    def close(self) -> None:
        """Sign out and let go of the studio."""
        if self._person is not None:
            self._person.end()
        if self._studio is not None:
            self._studio.close()

    def _sign_in(self, studio: TeamStudio) -> SignedIn:
        email = self._email.strip()
        if not email:
            raise ConfigError(
                "This studio is a team's: say who you are.",
                f"Put --email before the command, or set {EMAIL}; the password is asked for, or read from {PASSWORD}.",
            )
        accounts, now = studio.sessions.accounts, time.time()
        auth = accounts.sign_in(email, read_password(f"Password of {email}").reveal())
        return SignedIn(auth, accounts, began_at=now, used_at=now)


_access: ContextVar[Access] = ContextVar("access")


def who_works(
    context: typer.Context,
    email: Annotated[
        str, typer.Option(envvar=EMAIL, help="Who you are, where the studio is a team's.", show_default=False)
    ] = "",
) -> None:
    """LoRA Studio: fine-tune language models with LoRA."""
    access = Access(email)
    _access.set(access)
    context.call_on_close(access.close)


def open_workspace() -> Workspace:
    """Return the view of the person at this command line, embedded or a team's; call it once a command.

    Raises:
        ConfigError: It is a team's, and no e-mail address or password is given.
        Forbidden: They do not belong together.
    """
    return _access.get().workspace()


def open_team(email: str = "") -> tuple[TeamStudio, SignedIn]:
    """Return the team's studio and the person at this command line; see `Access.team`."""
    return _access.get().team(email)


def read_password(prompt: str, *, confirm: bool = False) -> Secret:
    """Take a password from the environment, or ask for it without showing it.

    Raises:
        ConfigError: There is none, and nobody to ask.
    """
    password = os.environ.get(PASSWORD, "")
    if not password:
        if not sys.stdin.isatty():
            raise ConfigError("A password is needed, and there is nobody to ask.", f"Set {PASSWORD}.")
        password = str(typer.prompt(prompt, hide_input=True, confirmation_prompt=confirm, err=True))
    return Secret(password)


@contextmanager
def explained() -> Iterator[None]:
    """Turn a studio error into its sentence and exit status 1; everything else keeps its traceback."""
    try:
        yield
    except StudioError as error:
        err.print(f"[red]{type(error).__name__}[/red]: {escape(str(error))}", highlight=False)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def find_job(workspace: Workspace, start: str) -> Job:
    """Return the job whose id is, or uniquely begins with, `start`.

    Raises:
        NotFound: There is none, or more than one.
    """
    if len(start) == 36:
        return workspace.jobs.get(start)
    found = jobs.list_jobs(workspace, JobFilter(archived=None, id_begins=start), limit=500).items
    if len(found) != 1:
        raise NotFound(
            f"{len(found) or 'No'} jobs begin with {start!r}." if found else f"No job begins with {start!r}.",
            "`list` shows the ids.",
        )
    return found[0]


class Named(Protocol):
    """What people call by its id or its name."""

    @property
    def id(self) -> str:
        """Made by the studio."""

    @property
    def name(self) -> str:
        """Given by the person."""


NamedT = TypeVar("NamedT", bound=Named)


def find_named(known: Sequence[NamedT], wanted: str, kind: str) -> NamedT:
    """Return the one with an id that begins so, else the one of this name.

    Args:
        kind: What it is, in the singular; `<kind>s` is also the command that lists them.

    Raises:
        NotFound: There is none, or more than one.
    """
    found = [one for one in known if one.id.startswith(wanted.lower())] or [
        one for one in known if one.name == wanted
    ]
    if len(found) != 1 or not wanted:
        raise NotFound(
            f"{len(found)} {kind}s are called {wanted!r}." if found else f"You have no {kind} {wanted!r}.",
            f"`{kind}s` shows the ids.",
        )
    return found[0]
