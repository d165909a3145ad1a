"""Ranges as people read them: two digits that count, one unit for both ends."""

from lora_core.estimate.memory import GIB, PROCESS, MemoryEstimate
from lora_core.estimate.spans import Span

MINUTE, HOUR = 60, 3600
LEAST_SHARE = 0.03
"""Parts below this share of what the run adds to the process are not named in a sentence."""


def memory_words(span: Span) -> str:
    """Write a range of bytes in GB (2^30 bytes, as memory is sold).

    >>> memory_words(Span(1.52 * GIB, 2.31 * GIB)), memory_words(Span(12.2 * GIB, 12.3 * GIB)), memory_words(Span(0, 20_000_000))
    ('1.5 to 2.3 GB', '12 GB', 'under 0.1 GB')
    """
    low, high = _rounded(span.low / GIB), _rounded(span.high / GIB)
    if high == "0.0":
        return "under 0.1 GB"
    return f"{high} GB" if low == high else f"{low} to {high} GB"


def time_words(span: Span) -> str:
    """Write a range of seconds in seconds, minutes or hours.

    >>> time_words(Span(40, 80)), time_words(Span(100, 600)), time_words(Span(4000, 40_000))
    ('40 to 80 seconds', '1.7 to 10 minutes', '1.1 to 11 hours')
    """
    unit, name = (HOUR, "hours") if span.high > 2 * HOUR else (MINUTE, "minutes")
    if span.high < 2 * MINUTE:
        unit, name = 1, "seconds"
    low, high = _rounded(span.low / unit), _rounded(span.high / unit)
    return f"{high} {name}" if low == high else f"{low} to {high} {name}"


def parts_words(memory: MemoryEstimate) -> str:
    """Name the parts that matter, largest first."""
    least = LEAST_SHARE * memory.without(PROCESS).high
    large = [part for part in memory.parts if part.size.high >= least]
    large.sort(key=lambda part: -part.size.middle)
    return ", ".join(f"{part.name.lower()} {memory_words(part.size)}" for part in large)


def _rounded(value: float) -> str:
    return f"{value:,.0f}" if value >= 9.95 else f"{value:.1f}"
