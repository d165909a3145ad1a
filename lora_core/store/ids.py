"""Ids as people type them: the beginning of one is enough. Knows no table."""

from uuid import UUID

_DIGITS = 32


def id_range(beginning: str) -> tuple[str, str] | None:
    """Return the lowest and the highest id that begin so, both of which count; None if no id does.

    >>> id_range("68AB")
    ('68ab0000-0000-0000-0000-000000000000', '68abffff-ffff-ffff-ffff-ffffffffffff')
    >>> id_range("68ab-1"), id_range("none")
    (None, None)
    """
    wanted = beginning.lower()
    digits = wanted.replace("-", "")
    if len(digits) > _DIGITS or not set(digits) <= set("0123456789abcdef"):
        return None
    low, high = (str(UUID(digits.ljust(_DIGITS, filler))) for filler in "0f")
    return (low, high) if low.startswith(wanted) else None
