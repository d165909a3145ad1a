"""Which runners a person of a team can count on: their own, and those of the whole team."""

from collections.abc import Sequence

from lora_core.schema.runner import RunnerInfo, RunnerScope
from lora_core.store.supabase.client import PersonClient
from lora_core.store.supabase.rows import RUNNER_COLUMNS, read_runner

LISTED = 100


class SupabaseRunnerStore:
    """RunnerStore over PostgREST."""

    def __init__(self, client: PersonClient, user_id: str) -> None:
        self._client = client
        self._user_id = user_id

    def list(self) -> Sequence[RunnerInfo]:
        """Return runners that may claim this person's jobs, most recently seen first (at most 100)."""
        query = self._client.table("runners").select(*RUNNER_COLUMNS)
        query = query.or_(f"user_id.eq.{self._user_id},scope.eq.{RunnerScope.TEAM.value}")
        query = query.order("seen_at", desc=True).order("id").limit(LISTED)
        return [read_runner(row) for row in self._client.rows(query)]
