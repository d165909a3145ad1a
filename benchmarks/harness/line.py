"""One result of a benchmark, what a benchmark is told, and how it says that it cannot measure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import NamedTuple

ROUNDS = 3
"""Least rounds behind a figure; sides take turns within each."""


class NotMeasured(Exception):
    """The benchmark cannot be run here and now; says what is missing."""


@dataclass(frozen=True)
class Options:
    """How to measure.

    Args:
        quick: Small sizes and the tiny model: shows that the benchmark runs; its figures say little.
        folder: An empty folder that is removed afterwards.
    """

    quick: bool
    folder: Path

    def pick(self, full: int, quick: int) -> int:
        """Choose a size."""
        return quick if self.quick else full


class Line(NamedTuple):
    """One row of the table.

    Args:
        name: What is compared.
        ours: Median of our side, in `unit`; None where there is no figure.
        theirs: Median of the other side.
        ratio: Median over rounds of ours / theirs within a round.
        goal: Such as "<= 1.01" or ">= 3", about the ratio; empty for none.
        note: Who the other side is, and what has to be known to read the line.
    """

    name: str
    ours: float | None
    theirs: float | None
    ratio: float | None
    unit: str
    goal: str = ""
    note: str = ""

    def is_met(self) -> bool | None:
        """Say whether the ratio meets the goal; None without a goal.

        >>> Line("load", 2.0, 4.0, 0.5, "s", "<= 1").is_met()
        True
        """
        if not self.goal or self.ratio is None:
            return None
        sign, limit = self.goal.split()
        return self.ratio <= float(limit) if sign == "<=" else self.ratio >= float(limit)


Measure = Callable[[Options], Sequence[Line]]


def compare(
    name: str, ours: Sequence[float], theirs: Sequence[float], unit: str, goal: str = "", note: str = ""
) -> Line:
    """Make a line of two sides measured in the same rounds: medians, and the median of the rounds' ratios."""
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    spread = f"rounds {min(ratios):.3g}–{max(ratios):.3g}, n={len(ratios)}"
    return Line(
        name,
        median(ours),
        median(theirs),
        median(ratios),
        unit,
        goal,
        f"{note}; {spread}" if note else spread,
    )
