"""How values become columns and back. Knows no table."""

from datetime import UTC, datetime
from typing import Any

import msgspec

_STAMP_LENGTH = len("2026-01-02T03:04:05.000000Z")
Row = Any
"""A sqlite3.Row: columns by name."""


def stamp(moment: datetime) -> str:
    """Write a time as UTC ISO text of fixed width, so that text order is time order.

    >>> stamp(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    '2026-01-02T03:04:05.000000Z'
    """
    text = msgspec.json.encode(moment).decode()[1:-1]  # ten times as fast as isoformat
    if len(text) == _STAMP_LENGTH and text[-1] == "Z":
        return text
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def to_json(value: Any) -> str:
    """Write a document as JSON text."""
    return msgspec.json.encode(value).decode()


def from_json(text: str) -> Any:
    """Read a document from JSON text."""
    return msgspec.json.decode(text)
