"""What the operator of a team does: see totals, set quotas, invite people, open sign-up. Nobody's content passes here."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlencode, urlsplit

from lora_core.actions.workspace import Workspace
from lora_core.errors import ConfigError, Forbidden
from lora_core.schema.base import new_id, utc_now
from lora_core.schema.people import Invitation, PersonTotals, Quota
from lora_core.secrets import Secret, TokenKind, new_token, token_sha256
from lora_core.store.base import OperatorStore

VALID_DAYS = 7
MAX_VALID_DAYS = 30
_EMAIL = re.compile(r"[^@\s<>\"',;:\\()\[\]]{1,64}@[^@\s<>\"',;:\\()\[\]]+\.[^@\s<>\"',;:\\()\[\].]{2,}")


@dataclass(frozen=True)
class NewInvitation:
    """An invitation that was just made. Its link exists here and nowhere else: it cannot be read again."""

    invitation_id: str
    email: str
    code: Secret
    expires_at: datetime
    public_url: str = ""

    def link(self, app_url: str = "") -> str:
        """Return the address at which the person signs up.

        Args:
            app_url: Any address of the app, used where the settings name no public one.
        """
        parts = urlsplit(self.public_url or app_url)
        query = urlencode({"invitation": self.code.reveal(), "email": self.email})
        return f"{parts.scheme}://{parts.netloc}/sign_in?{query}"


@dataclass(frozen=True)
class TeamView:
    """All that the operator's page shows."""

    people: Sequence[PersonTotals]
    invitations: Sequence[Invitation]
    sign_up_is_open: bool

    @property
    def open_invitations(self) -> list[Invitation]:
        """Invitations that were not accepted; those that have run out among them."""
        return [invitation for invitation in self.invitations if invitation.accepted_at is None]


def is_operator(workspace: Workspace) -> bool:
    """Say whether this person is the team's operator; the store checks it again at each call."""
    return workspace.operator is not None


def read_team(workspace: Workspace) -> TeamView:
    """Return people with totals of this month, invitations, and whether anybody may sign up.

    Raises:
        Forbidden: The person is no operator.
    """
    operator = _operator(workspace)
    return TeamView(operator.totals(), operator.invitations(), operator.sign_up_is_open())


def invite_person(workspace: Workspace, email: str, *, valid_days: int = VALID_DAYS) -> NewInvitation:
    """Keep a place for an e-mail address. The studio sends no mail: the operator passes the link on.

    Raises:
        ConfigError: This is no e-mail address, or the days are out of bounds.
        Forbidden: The person is no operator.
    """
    operator = _operator(workspace)
    address = clean_email(email)
    if not 1 <= valid_days <= MAX_VALID_DAYS:
        raise ConfigError(f"An invitation is good for 1 to {MAX_VALID_DAYS} days, not {valid_days}.")
    code, invitation_id = new_token(TokenKind.INVITATION), new_id()
    operator.invite(invitation_id, address, token_sha256(code.reveal()), valid_days=valid_days)
    expires_at = utc_now() + timedelta(days=valid_days)
    return NewInvitation(invitation_id, address, code, expires_at, workspace.settings.public_url)


def withdraw_invitation(workspace: Workspace, invitation_id: str) -> None:
    """Take back an invitation that was not accepted.

    Raises:
        Forbidden: The person is no operator.
    """
    _operator(workspace).withdraw(invitation_id)


def set_quota(workspace: Workspace, quota: Quota) -> None:
    """Set what one person may use. What is in use already stays; new jobs and uploads are refused above it.

    Raises:
        Forbidden: The person is no operator.
        NotFound: No such person.
    """
    _operator(workspace).set_quota(quota)


def open_sign_up(workspace: Workspace, *, is_open: bool) -> None:
    """Let anybody who reaches the studio make an account, or only those with an invitation.

    Raises:
        Forbidden: The person is no operator.
    """
    _operator(workspace).open_sign_up(is_open=is_open)


def clean_email(text: str) -> str:
    """Return an e-mail address as it is compared: trimmed, in lower case.

    Raises:
        ConfigError: This is no e-mail address.

    >>> clean_email(" Ada@Example.org ")
    'ada@example.org'
    """
    address = text.strip().lower()
    if len(address) > 254 or not _EMAIL.fullmatch(address):
        raise ConfigError("This is not an e-mail address.", "Write it as name@example.org.")
    return address


def _operator(workspace: Workspace) -> OperatorStore:
    if workspace.operator is None:
        raise Forbidden(
            "This is for the operator of the team.", "Ask the operator if you need something here."
        )
    return workspace.operator
