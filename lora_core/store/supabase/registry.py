"""Runners that one person of a team has let in. It never sees a token, only what stands for it."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from lora_core.schema.runner import RunnerInfo, RunnerRegistration, RunnerScope
from lora_core.store.base import MAX_PAGE
from lora_core.store.supabase.client import PersonClient
from lora_core.store.supabase.rows import RUNNER_COLUMNS, check_id, read_registration, read_runner

LISTED = 100


class SupabaseRunnerRegistry:
    """RunnerRegistry over PostgREST and functions."""

    def __init__(self, client: PersonClient, user_id: str) -> None:
        self._client = client
        self._user_id = user_id

    def register(self, registration_id: str, name: str, scope: RunnerScope, token_sha256: str) -> None:
        """Let a runner in; see `RunnerRegistry.register`."""
        arguments = {
            "p_id": registration_id,
            "p_name": name,
            "p_scope": scope.value,
            "p_token_sha256": token_sha256,
        }
        self._client.rpc("register_runner", arguments)

    def list(self) -> Sequence[RunnerRegistration]:
        """Return this person's registrations with their machines; see `RunnerRegistry.list`."""
        query = self._client.table("runner_registrations").select(
            "id", "name", "scope", "created_at", "revoked_at"
        )
        query = query.eq("user_id", self._user_id).order("created_at", desc=True).order("id").limit(LISTED)
        rows = self._client.rows(query)
        machines = self._machines() if rows else {}
        return [read_registration(row, tuple(machines.get(row["id"], ()))) for row in rows]

    def revoke(self, registration_id: str) -> None:
        """End a registration; see `RunnerRegistry.revoke`."""
        self._client.rpc("revoke_runner", {"p_id": check_id(registration_id, "runner registration")})

    def _machines(self) -> Mapping[str, Sequence[RunnerInfo]]:
        query = self._client.table("runners").select("registration_id", *RUNNER_COLUMNS)
        query = query.eq("user_id", self._user_id).order("seen_at", desc=True).order("id").limit(MAX_PAGE)
        machines: dict[str, list[RunnerInfo]] = defaultdict(list)
        for row in self._client.rows(query):
            machines[row["registration_id"]].append(read_runner(row))
        return machines
