"""The contract of who may come in: accounts with e-mail and password. It knows no cookie, no page and no row of the studio."""

from dataclasses import dataclass
from typing import Protocol

from lora_core.secrets import Secret


@dataclass(frozen=True)
class AuthSession:
    """One person's sign-in as the accounts know it. Its tokens print as stars.

    Attributes:
        operator: Whether the account says operator; the database asks again at each call.
        expires_at: When the access token ends, in seconds since 1970 by this machine's clock.
    """

    user_id: str
    email: str
    operator: bool
    access_token: Secret
    refresh_token: Secret
    expires_at: float


class Accounts(Protocol):
    """Signs people in and out. Safe to call from several threads. Every method may raise Unavailable or TooOften."""

    def sign_in(self, email: str, password: str) -> AuthSession:
        """Begin a session.

        Raises:
            Forbidden: E-mail and password do not belong together, or the account is closed.
            NotAllowed: The e-mail address is not confirmed yet.
        """

    def sign_up(self, email: str, password: str, *, invitation: str = "") -> AuthSession | None:
        """Make an account.

        Returns:
            Its first session, or None if the e-mail address is to be confirmed first.

        Raises:
            Forbidden: There is no invitation for this address, and sign-up is not open.
            NotAllowed: The password is too weak, or the account exists.
        """

    def refresh(self, session: AuthSession) -> AuthSession:
        """Exchange the refresh token, which is then spent.

        Raises:
            SignedOut: The session has ended.
        """

    def sign_out(self, session: AuthSession, *, everywhere: bool = False) -> None:
        """End this session, or all of this person's. One that has ended already is no error."""

    def request_reset(self, email: str) -> None:
        """Send a link to set a new password, if there is such an account; the answer does not say whether there is."""

    def take_link(self, token_hash: str) -> AuthSession:
        """Begin a session with the token from a mailed link, which is then spent.

        Raises:
            Forbidden: The link was used before, or is too old.
        """

    def take_access(self, access_token: str) -> AuthSession:
        """Return the session that an access token from a mailed link stands for. It cannot be refreshed.

        Raises:
            Forbidden: The link is too old.
        """

    def set_password(self, session: AuthSession, password: str) -> None:
        """Set a new password.

        Raises:
            NotAllowed: The password is too weak, or the old one.
            SignedOut: The session has ended.
        """

    def sign_up_is_open(self) -> bool:
        """Say whether anybody may sign up without an invitation. Needs no session: it also tells whether the store answers."""

    def close(self) -> None:
        """Let go of connections."""
