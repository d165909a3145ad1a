"""Collects faults of rows: counts all, keeps the first of each severity, writes every one to a file."""

from pathlib import Path
from types import TracebackType
from typing import IO, Literal, Self

import msgspec

from lora_core.schema.dataset import RowIssue

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
            entry = {"severity": severity, **issue.model_dump()}
            self._file.write(msgspec.json.encode(entry) + b"\n")
