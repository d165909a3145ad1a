"""Shows results as a table, and keeps them in RESULTS.md: one block a benchmark, replaced by its next record."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness.line import Line

FILE = Path(__file__).parents[1] / "RESULTS.md"
HEAD = ("what", "ours", "theirs", "ours / theirs", "unit", "goal", "note")


def table(lines: Sequence[Line]) -> str:
    """Lay lines out as a Markdown table."""
    rows = [HEAD, tuple("-" * 3 for _ in HEAD), *map(_cells, lines)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def block(name: str, about: str, facts: Sequence[str], lines: Sequence[Line]) -> str:
    """Make a benchmark's block.

    Args:
        about: What is measured, in a sentence or two.
        facts: Date, machine, load.
    """
    words = "\n".join(f"- {fact}" for fact in facts)
    return f"{_begin(name)}\n## {name}\n\n{about}\n\n{words}\n\n{table(lines)}\n{_end(name)}"


def record(name: str, text: str, file: Path = FILE) -> None:
    """Put a block in the place of the benchmark's older one, or at the end."""
    whole = file.read_text(encoding="utf-8")
    before, found, rest = whole.partition(_begin(name))
    if found:
        after = rest.partition(_end(name))[2]
        whole = before + text + after
    else:
        whole = whole.rstrip("\n") + "\n\n" + text + "\n"
    file.write_text(whole, encoding="utf-8")


def figure(value: float | None) -> str:
    """Write a number with three digits that count.

    >>> figure(1234.5), figure(0.01234), figure(None)
    ('1,234', '0.0123', '–')
    """
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _cells(line: Line) -> tuple[str, ...]:
    met = {None: "", True: " met", False: " **missed**"}[line.is_met()]
    ratio = (
        "–" if line.ratio is None else f"{line.ratio:.4f}" if 0.9 < line.ratio < 1.1 else figure(line.ratio)
    )
    return (line.name, figure(line.ours), figure(line.theirs), ratio, line.unit, line.goal + met, line.note)


def _begin(name: str) -> str:
    return f"<!-- begin {name} -->"


def _end(name: str) -> str:
    return f"<!-- end {name} -->"
