"""Values that must never be shown or stored in clear. A secret has no serialiser, so it cannot leak into a spec."""

import hashlib
import re
import secrets
from enum import StrEnum
from typing import Any, NoReturn


class TokenKind(StrEnum):
    """What a token is for; its value is how such tokens begin, so that a leaked one can be told by its looks."""

    RUNNER = "lsr_"
    JOB = "lsj_"
    TASK = "lst_"
    INVITATION = "lsi_"


class Secret:
    """A string that prints as stars and refuses to be serialised or pickled.

    >>> print(Secret("hf_abc"), repr(Secret("hf_abc")))
    *** Secret(***)
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the value itself; call it only where it is used (an environment, a header)."""
        return self._value

    @property
    def last_four(self) -> str:
        """The last four characters, which is all a page may show."""
        return self._value[-4:]

    def __str__(self) -> str:
        return "***"

    def __repr__(self) -> str:
        return "Secret(***)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("A secret cannot be pickled.")

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


_LOOKS_SECRET = re.compile(
    r"\b(?:ls[rjti]_|hf_|sb_secret_|rpa_|sk-)[A-Za-z0-9_-]{8,}"
    r"|\beyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+"
    r"|(?<=://)[^/\s@:]*:[^/\s@]+(?=@)"
)
"""Tokens of ours, of the Hub, of Supabase, of RunPod and the like; web tokens; user and password in an address."""


def hide_secrets(text: str) -> str:
    """Replace what looks like a token or a password in a text that leaves the studio, such as an error's.

    >>> hide_secrets("401 for hf_AbCdEfGhIjKl at https://ada:pass@example.org/x")
    '401 for *** at https://***@example.org/x'
    """
    return _LOOKS_SECRET.sub("***", text)


def new_token(kind: TokenKind) -> Secret:
    """Make a token of 256 random bits. The store gets only its `token_sha256`."""
    return Secret(kind.value + secrets.token_urlsafe(32))


def token_sha256(token: str) -> str:
    """Return what stands for a token in a store: its sha256 in hex. 256 random bits need no salt.

    >>> len(token_sha256("lsr_x"))
    64
    """
    return hashlib.sha256(token.encode()).hexdigest()
