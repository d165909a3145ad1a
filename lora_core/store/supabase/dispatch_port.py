"""A team's dispatcher: messages with their encrypted addresses, by the runner's token, over the functions for runners."""

from collections.abc import Sequence

from lora_core.schema.job import Job
from lora_core.schema.notification import Delivery, DeliveryState
from lora_core.secrets import Secret
from lora_core.store.supabase.gateway import Gateway
from lora_core.store.supabase.rows import Row, read_job, read_notification


class SupabaseDispatchPort:
    """DispatchPort over functions. Safe for several threads; every call bears to be made twice."""

    def __init__(self, gateway: Gateway, token: Secret) -> None:
        self._gateway = gateway
        self._token = token

    def claim_delivery(
        self, claim_id: str, key_ids: Sequence[str], *, lease_seconds: float
    ) -> Delivery | None:
        """Take the oldest message that nobody has taken; see `DispatchPort.claim_delivery`."""
        answer = self._gateway.rpc(
            "delivery_claim",
            p_token=self._token.reveal(),
            p_claim=claim_id,
            p_key_ids=list(key_ids),
            p_lease_seconds=lease_seconds,
        )
        if answer is None:
            return None
        return Delivery(
            claim_id=answer["claim_id"],
            route_id=answer["route_id"],
            ciphertext=answer["ciphertext"],
            key_id=answer["key_id"],
            tries=answer["tries"],
            notification=read_notification(answer["notification"]),
            job=_read_job(answer["job"]),
        )

    def end_delivery(
        self, delivery: Delivery, state: DeliveryState, *, error: str = "", wait_seconds: float = 0.0
    ) -> None:
        """Report what became of a message; see `DispatchPort.end_delivery`."""
        self._gateway.rpc(
            "delivery_end",
            p_token=self._token.reveal(),
            p_claim=delivery.claim_id,
            p_state=state.value,
            p_error=error[:500],
            p_wait_seconds=wait_seconds,
        )


def _read_job(row: Row | None) -> Job | None:
    """Make a job of its row; one that this version cannot read is told without its numbers."""
    try:
        return read_job(row) if row is not None else None
    except ValueError:
        return None
