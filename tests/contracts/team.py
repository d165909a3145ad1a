"""What a test needs to be one or several people and a machine of a team: stores with a session, ports with a token."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from pydantic import SecretStr

from lora_core.schema.base import new_id
from lora_core.schema.runner import RunnerScope
from lora_core.secrets import Secret, TokenKind, new_token, token_sha256
from lora_core.settings import Settings
from lora_core.store.base import DispatchPort, RunnerPort, TaskPort
from lora_core.store.supabase.runner_ports import open_dispatch_port, open_runner_ports
from lora_core.store.supabase.store import SupabaseUserStore, open_user_store


class Team:
    """People and machines over one project. Close it at the end: it has connections.

    Args:
        url: Address of the project.
        key: Its publishable key.
        token_of: Returns a person's access token by id.
        folder: For files on their way.
    """

    def __init__(self, url: str, key: str, token_of: Callable[[str], str], folder: Path) -> None:
        self._url = url
        self._key = key
        self._token_of = token_of
        self._folder = folder
        self._open = ExitStack()
        self._stores: dict[str, SupabaseUserStore] = {}

    def store_for(self, user_id: str) -> SupabaseUserStore:
        """Return the stores of a person, who has one session."""
        if user_id not in self._stores:
            stores = open_user_store(
                self._url, self._key, user_id, lambda: self._token_of(user_id), spool=self._folder / user_id
            )
            self._open.callback(stores.close)
            self._stores[user_id] = stores
        return self._stores[user_id]

    def register(self, user_id: str, scope: RunnerScope = RunnerScope.MINE) -> tuple[str, Secret]:
        """Let a runner in; return its registration's id and its token."""
        registration_id, token = new_id(), new_token(TokenKind.RUNNER)
        sha256 = token_sha256(token.reveal())
        self.store_for(user_id).registry.register(registration_id, "Workshop", scope, sha256)
        return registration_id, token

    def ports(self, token: Secret) -> tuple[RunnerPort, TaskPort]:
        """Return the ports of a machine with this token."""
        runner_port, task_port = open_runner_ports(self._settings(token))
        self._open.callback(runner_port.close)
        return runner_port, task_port

    def dispatch_port(self, token: Secret) -> DispatchPort:
        """Return what a machine with this token may do with notification routes."""
        port, close = open_dispatch_port(self._settings(token))
        self._open.callback(close)
        return port

    def _settings(self, token: Secret) -> Settings:
        return Settings(
            home=self._folder / "runner",
            supabase_url=self._url,
            supabase_key=self._key,
            runner_token=SecretStr(token.reveal()),
        )

    def close(self) -> None:
        """Close all connections."""
        self._open.close()
