"""How a list is cut into pages, the same in every store. Knows no table and no database."""

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec

from lora_core.errors import NotFound
from lora_core.schema.base import Page
from lora_core.store.base import MAX_PAGE

T = TypeVar("T")
R = TypeVar("R")


class Cursor:
    """The opaque place in a list: the keys of the last row shown, and which list it belongs to."""

    def __init__(self, name: str, *types: type) -> None:
        self._name = name
        self._types = types

    def write(self, *keys: str | int) -> str:
        """Return the token behind a row with these keys."""
        return base64.urlsafe_b64encode(msgspec.json.encode([self._name, *keys])).decode().rstrip("=")

    def read(self, token: str) -> list[Any]:
        """Return the keys of the row the token was made from.

        Raises:
            NotFound: The token is no cursor of this list.
        """
        lost = no_such_place()
        try:
            values = msgspec.json.decode(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        except (binascii.Error, ValueError) as error:
            raise lost from error
        if not isinstance(values, list) or values[:1] != [self._name]:
            raise lost
        keys = values[1:]
        if len(keys) != len(self._types) or any(
            type(key) is not kind for key, kind in zip(keys, self._types, strict=True)
        ):
            raise lost
        if any(isinstance(key, int) and abs(key) >= 2**63 for key in keys):
            raise lost
        return keys


def no_such_place() -> NotFound:
    """Return the error of a cursor that leads nowhere."""
    return NotFound("There is no such place in this list.", "Start again from its first page.")


def clamp(limit: int) -> int:
    """Bring a limit into 1..MAX_PAGE."""
    return max(1, min(limit, MAX_PAGE))


def page(rows: Sequence[R], limit: int, make: Callable[[R], T], cursor: Callable[[R], str]) -> Page[T]:
    """Make a page of rows that were read with `limit + 1`: the extra one says that there is a further page."""
    shown = rows[:limit]
    return Page(items=[make(row) for row in shown], cursor=cursor(shown[-1]) if len(rows) > limit else None)
