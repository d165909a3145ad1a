"""What a project tells about itself with no more than its publishable key: version, clock, limits, whether a token is good.

Over httpx alone, since machines without supabase-py ask too.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any

import httpx

from lora_core.errors import ConfigError, NotFound, SignedOut, StudioError
from lora_core.schema.base import utc_now
from lora_core.store.supabase.errors import error_of, typed_errors
from lora_core.store.supabase.tls import tls

SCHEMA_VERSION = "20261122001200"
"""Number of the newest file in supabase/migrations, which this code was written for."""

TIMEOUT = httpx.Timeout(10.0, connect=4.0)

_NO_PROJECT = ("Behind SUPABASE_URL something answers that is no Supabase project.", "Check the address.")


@dataclass(frozen=True)
class ProjectAbout:
    """What a project says about itself.

    Attributes:
        version: Number of the newest migration that is applied.
        ahead_seconds: How much its clock is ahead of this machine's, halfway through the call.
        max_object_bytes: Limit of each bucket; None where only the project's own limit holds.
    """

    version: str
    ahead_seconds: float
    max_object_bytes: Mapping[str, int | None]


@dataclass(frozen=True)
class RunnerAbout:
    """What a runner token stands for."""

    id: str
    name: str
    scope: str


@dataclass(frozen=True)
class AuthAbout:
    """How a project takes new accounts.

    Attributes:
        sign_up: Whether it takes any; the invitations are checked after that, in the database.
        confirms_email: Whether people must follow a link in a mail before they can sign in.
    """

    sign_up: bool
    confirms_email: bool


class Project:
    """A project as anybody with its key sees it. Not for the pages: they have the stores.

    Args:
        url: Address of the project.
        key: A key of it; the publishable one, but for the operator's set-up.
    """

    def __init__(self, url: str, key: str) -> None:
        self._http = httpx.Client(
            base_url=url.rstrip("/"),
            headers={"apikey": key, "authorization": f"Bearer {key}", "x-supabase-api-version": "2024-01-01"},
            timeout=TIMEOUT,
            verify=tls(),
            http2=False,
        )

    def close(self) -> None:
        """Let go of the connection."""
        self._http.close()

    def about(self) -> ProjectAbout:
        """Ask for version, clock and limits.

        Raises:
            NotFound: The studio's tables are not there, or there is no project behind the address.
            SignedOut: The key is not this project's.
            Unavailable: Nothing answers.
        """
        began = utc_now()
        answer = self.call("studio_about", {})
        halfway = began + (utc_now() - began) / 2
        there = datetime.fromisoformat(answer["now"])
        return ProjectAbout(
            str(answer["version"]), (there - halfway).total_seconds(), dict(answer["max_object_bytes"])
        )

    def runner(self, token: str) -> RunnerAbout:
        """Ask what a runner token stands for; nothing changes by asking.

        Raises:
            SignedOut: The token is not known, or was revoked.
        """
        answer = self.call("runner_about", {"p_token": token})
        return RunnerAbout(answer["id"], answer["name"], answer["scope"])

    def auth(self) -> AuthAbout:
        """Ask how the project takes new accounts."""
        answer = self.request("GET", "/auth/v1/settings")
        return AuthAbout(not answer.get("disable_signup"), not answer.get("mailer_autoconfirm"))

    def call(self, function: str, parameters: Mapping[str, object]) -> Any:
        """Call a function of the database.

        Raises:
            NotFound: There is no such function: the migrations are missing, or older than this code.
        """
        return self.request("POST", f"/rest/v1/rpc/{function}", parameters)

    def request(self, method: str, path: str, body: Mapping[str, object] | None = None) -> Any:
        """Send one request and return what came back.

        Raises:
            StudioError: What was refused, in words for a person.
        """
        with typed_errors():
            answer = self._http.request(method, path, json=body)
        if not answer.is_success:
            raise _explained(answer)
        try:
            return answer.json() if answer.content else None
        except ValueError as error:
            raise NotFound(*_NO_PROJECT) from error


def check_version(version: str) -> None:
    """Refuse a database that this code was not written for.

    Raises:
        ConfigError: It is older or newer.
    """
    if version < SCHEMA_VERSION:
        raise ConfigError(
            f"The project's database is at version {version}; this studio needs {SCHEMA_VERSION}.",
            "Apply the newer migrations: supabase db push.",
        )
    if version > SCHEMA_VERSION:
        raise ConfigError(
            f"The project's database is at version {version}, newer than this studio's {SCHEMA_VERSION}.",
            "Update the studio on this machine.",
        )


def _explained(answer: httpx.Response) -> StudioError:
    if b"PGRST202" in answer.content:
        return NotFound(
            "The studio's tables are not in this project.", "Apply the migrations: supabase db push."
        )
    if answer.status_code == HTTPStatus.UNAUTHORIZED and b"api key" in answer.content.lower():
        return SignedOut(
            "The key is not one of this project's.", "Copy it again from the project's settings, API keys."
        )
    if answer.status_code == HTTPStatus.NOT_FOUND and b"{" not in answer.content[:1]:
        return NotFound(*_NO_PROJECT)
    return error_of(answer.status_code, answer.content)
