"""Numbers as people read them. The same value always gives the same text, so an unchanged page sends nothing."""

from collections.abc import Sequence
from datetime import datetime

UNKNOWN_TIME = "--:--:--"
UNKNOWN = "–"


def duration(seconds: float | None) -> str:
    """Write seconds as HH:MM:SS, or dashes where unknown.

    >>> duration(3725.9), duration(None)
    ('01:02:05', '--:--:--')
    """
    if seconds is None or seconds < 0:
        return UNKNOWN_TIME
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{rest:02d}"


def loss(value: float | None) -> str:
    """Write a loss with four decimals."""
    return UNKNOWN if value is None else f"{value:.4f}"


def change(values: Sequence[float], *, back: int) -> str | None:
    """Write how the last value of a series differs from the one `back` places before; None where it does not.

    >>> change([1.5, 1.25], back=1), change([1.5], back=1)
    ('-0.2500', None)
    """
    if len(values) <= back:
        return None
    difference = f"{values[-1] - values[-1 - back]:+.4f}"
    return None if difference in ("+0.0000", "-0.0000") else difference


def cost(usd: float) -> str:
    r"""Write US dollars, the sign escaped: two of them in one label would make a formula."""
    return f"\\${usd:,.2f}"


def count(value: float | None) -> str:
    """Write a count with thousands separated."""
    return UNKNOWN if value is None else f"{value:,.0f}"


def rate(value: float | None, unit: str) -> str:
    """Write a rate such as "1,204 tokens/s"."""
    return UNKNOWN if value is None else f"{value:,.0f} {unit}"


def size(value: int) -> str:
    """Write bytes in the unit that leaves one to three digits before the point.

    >>> size(512), size(98_000_000)
    ('512 B', '98.0 MB')
    """
    amount = float(value)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} B" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def run_time(started: datetime | None, ended: datetime | None) -> float | None:
    """Return seconds between two moments, or None while one is unknown."""
    return (ended - started).total_seconds() if started and ended else None
