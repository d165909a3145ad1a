"""What only the operator of a team may do. The database checks who asks, at every call."""

from collections.abc import Sequence

from lora_core.schema.people import Invitation, PersonTotals, Quota
from lora_core.store.supabase.client import PersonClient
from lora_core.store.supabase.rows import is_id, read_invitation, read_totals


class SupabaseOperatorStore:
    """OperatorStore over functions of the database."""

    def __init__(self, client: PersonClient) -> None:
        self._client = client

    def totals(self) -> Sequence[PersonTotals]:
        """Return every person with totals and quota; see `OperatorStore.totals`."""
        return [read_totals(row) for row in self._client.rpc("operator_totals", {})]

    def set_quota(self, quota: Quota) -> None:
        """Set one person's quota; see `OperatorStore.set_quota`."""
        self._client.rpc("operator_set_quota", {"p_quota": quota.model_dump(mode="json")})

    def invitations(self) -> Sequence[Invitation]:
        """Return invitations, newest first; see `OperatorStore.invitations`."""
        return [read_invitation(row) for row in self._client.rpc("operator_invitations", {})]

    def invite(self, invitation_id: str, email: str, code_sha256: str, *, valid_days: int = 7) -> None:
        """Invite a person; see `OperatorStore.invite`."""
        arguments = {
            "p_id": invitation_id,
            "p_email": email,
            "p_code_sha256": code_sha256,
            "p_valid_days": valid_days,
        }
        self._client.rpc("operator_invite", arguments)

    def withdraw(self, invitation_id: str) -> None:
        """Take back an invitation that was not accepted; a missing one is no error."""
        if is_id(invitation_id):
            self._client.rpc("operator_withdraw", {"p_id": invitation_id})

    def sign_up_is_open(self) -> bool:
        """Say whether anybody may sign up without an invitation."""
        return bool(self._client.rpc("operator_sign_up_is_open", {}))

    def open_sign_up(self, *, is_open: bool) -> None:
        """Let anybody sign up, or only those with an invitation."""
        self._client.rpc("operator_open_sign_up", {"p_open": is_open})
