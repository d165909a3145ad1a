"""A number that is not known exactly: from where to where it may lie. Adds up and multiplies as people expect."""

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True)
class Span:
    """From `low` to `high`, in the unit of what it says.

    >>> Span(1, 2) + Span(10, 10)
    Span(low=11, high=12)
    >>> Span(1, 3).middle
    2.0
    """

    low: float
    high: float

    @classmethod
    def exactly(cls, value: float) -> Self:
        """Return a span of no width."""
        return cls(value, value)

    @property
    def middle(self) -> float:
        """The number half-way."""
        return (self.low + self.high) / 2

    def __add__(self, other: "Span") -> "Span":
        return Span(self.low + other.low, self.high + other.high)

    def times(self, low: float, high: float | None = None) -> "Span":
        """Multiply: by one factor, or by one that may itself lie between two (both positive)."""
        return Span(self.low * low, self.high * (low if high is None else high))

    def joined(self, other: "Span") -> "Span":
        """Return the span that holds both."""
        return Span(min(self.low, other.low), max(self.high, other.high))
