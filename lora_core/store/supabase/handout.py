"""Hands a job of one person to a machine that gets nothing but a job token. The token itself is never seen here."""

from lora_core.store.supabase.client import PersonClient
from lora_core.store.supabase.rows import check_id


class SupabaseJobHandout:
    """JobHandout over a function of the database."""

    def __init__(self, client: PersonClient) -> None:
        self._client = client

    def hand_out(self, job_id: str, token_sha256: str, *, wait_seconds: float) -> int:
        """Begin an attempt that waits for the holder of the token; see `JobHandout.hand_out`."""
        arguments = {
            "p_job": check_id(job_id, "job"),
            "p_token_sha256": token_sha256,
            "p_wait_seconds": wait_seconds,
        }
        return int(self._client.rpc("hand_out_job", arguments))
