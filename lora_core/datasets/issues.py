"""Collects faults of rows: counts all, keeps the first of each severity, writes every one to a file."""

from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import IO, Literal, Self

import msgspec

from lora_core.schema.dataset import CheckReport, RowIssue

KEPT = 200
Severity = Literal["error", "warning"]


class IssueLog:
    """Write end of the list of faults. Use as a context manager; the file is whole once it is closed.

    Args:
        path: Where to write JSON lines `{severity, line, row, code, field, message}`; None for nowhere.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file: IO[bytes] | None = None
        self.counts: dict[str, int] = {}
        self.kept: dict[Severity, list[RowIssue]] = {"error": [], "warning": []}

    def __enter__(self) -> Self:
        if self._path is not None:
            self._file = self._path.open("wb")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, severity: Severity, issue: RowIssue) -> None:
        """Record one fault."""
        self.counts[issue.code] = self.counts.get(issue.code, 0) + 1
        if len(self.kept[severity]) < KEPT:
            self.kept[severity].append(issue)
        if self._file is not None:
            self._file.write(_line(severity, issue))


def add_warnings(report: CheckReport, issues: Iterable[RowIssue], path: Path) -> CheckReport:
    """Add findings of a later look at the same file.

    Args:
        report: Of the check.
        issues: In any order.
        path: The check's list of all faults; the findings are appended.

    Returns:
        The report with the findings counted, and the first of them kept, each kind as far as there is room.
    """
    counts = dict(report.issue_counts)
    kept = list(report.warnings)
    with path.open("ab") as file:
        for issue in issues:
            counts[issue.code] = counts.get(issue.code, 0) + 1
            if counts[issue.code] <= KEPT:
                kept.append(issue)
            file.write(_line("warning", issue))
    return report.model_copy(update={"issue_counts": counts, "warnings": tuple(kept)})


def _line(severity: Severity, issue: RowIssue) -> bytes:
    return msgspec.json.encode({"severity": severity, **issue.model_dump()}) + b"\n"
