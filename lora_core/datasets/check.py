"""Checks a whole data set file: what it is, which rows can be used, what is odd. Never raises for what is in the file."""

import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lora_core.datasets.blocks import Progress
from lora_core.datasets.conversation import CONVERSATION_COLUMNS
from lora_core.datasets.convert import to_example
from lora_core.datasets.detect import Detection, detect_format
from lora_core.datasets.fast_chat import can_read, tally_chats
from lora_core.datasets.faults import RowError
from lora_core.datasets.issues import IssueLog
from lora_core.datasets.jsonl_rows import jsonl_row
from lora_core.datasets.lengths import length_stats
from lora_core.datasets.lines import MAX_LINE_BYTES
from lora_core.datasets.read import FileFacts, inspect_file, read_rows, text_blocks
from lora_core.datasets.rows import Row, too_long
from lora_core.datasets.tally import Tally
from lora_core.errors import DataError
from lora_core.schema.dataset import CheckReport, ColumnMapping, DatasetFormat, FileKind, RowIssue

SAMPLED_ROWS = 500
"""Rows that detection looks at."""


def check_file(
    path: Path,
    *,
    file_name: str = "",
    format: DatasetFormat | None = None,
    mapping: ColumnMapping | None = None,
    progress: Progress | None = None,
    issues_path: Path | None = None,
    compare_with: Path | None = None,
    max_line_bytes: int = MAX_LINE_BYTES,
) -> CheckReport:
    """Check every row of a file.

    Args:
        path: The file.
        file_name: Name the person gave it.
        format: Layout chosen by hand; None (or UNKNOWN) to find out.
        mapping: Columns chosen by hand.
        progress: Told the share done, 0 to 1.
        issues_path: Gets every fault as a JSON line `{severity, line, row, code, field, message}`.
        compare_with: The other side of training and validation: rows that are in both are warned of.
        max_line_bytes: Longest line that is read.

    Returns:
        The report. If the file cannot be read (further), `fatal` says why and what to do, and the counts are those of
        the rows before. `turns` counts messages other than system ones.
    """
    started = time.perf_counter()
    with IssueLog(issues_path) as log:
        check = _Check(path, file_name, Tally(log), max_line_bytes)
        fatal = ""
        try:
            check.run(format, mapping, progress)
            if compare_with is not None:
                check.compare(compare_with)
        except DataError as error:
            fatal = str(error)
        except OSError as error:
            fatal = f"The file cannot be read: {error.strerror or type(error).__name__}. Upload it again."
        return check.report(log, fatal, time.perf_counter() - started)


class _Check:
    """One check in progress; `report` can be asked at any time."""

    def __init__(self, path: Path, file_name: str, tally: Tally, max_line_bytes: int) -> None:
        self._path = path
        self._file_name = file_name
        self._tally = tally
        self._max_line_bytes = max_line_bytes
        self._facts = FileFacts(FileKind.TEXT, "", "")
        self._found = Detection(DatasetFormat.UNKNOWN, 0.0, "")
        self._columns: tuple[str, ...] = ()

    def run(
        self, format: DatasetFormat | None, mapping: ColumnMapping | None, progress: Progress | None
    ) -> None:
        self._facts = inspect_file(self._path, self._file_name)
        sample = self._sample()
        self._columns = _columns(sample)
        if format is None or format is DatasetFormat.UNKNOWN:
            self._found = detect_format(sample)
        else:
            self._found = Detection(format, 1.0, "Chosen by hand.", mapping or ColumnMapping())
        column = self._turns_column(sample)
        mapped = self._found.mapping.system or self._found.mapping.tools
        if self._facts.kind is FileKind.JSONL and can_read(self._found.format) and column and not mapped:
            blocks = text_blocks(self._path, self._facts, progress=progress)
            tally_chats(
                blocks, self._found.format, column, self._tally, self._slow_line, self._max_line_bytes
            )
        else:
            for row in self._rows(progress):
                self._add(row)
        if not self._tally.rows:
            raise DataError("The file has no rows.", "Upload one with at least one row.")

    def compare(self, other: Path) -> None:
        try:
            self._tally.shared_with(_hashes(other, self._max_line_bytes))
        except (DataError, OSError) as error:
            self._tally.warn(
                0, 0, "comparison_unreadable", f"The other file could not be read to compare: {error}"
            )

    def report(self, log: IssueLog, fatal: str, seconds: float) -> CheckReport:
        tally, found = self._tally, self._found
        duplicates = tally.duplicates()
        known = found.format is not DatasetFormat.UNKNOWN
        return CheckReport(
            file_kind=self._facts.kind,
            compression=self._facts.compression,
            encoding=self._facts.encoding,
            delimiter=self._facts.delimiter,
            format=found.format,
            confidence=found.confidence,
            format_reason=found.reason,
            mapping=found.mapping,
            suggested_format=found.suggested,
            columns=self._columns,
            rows=tally.rows,
            good_rows=tally.rows - tally.error_rows if known else 0,
            error_rows=tally.error_rows,
            warning_rows=tally.warning_rows(),
            duplicate_rows=duplicates,
            turns=sum(count for role, count in tally.roles.items() if role != "system"),
            roles=dict(tally.roles),
            issue_counts=log.counts,
            errors=tuple(log.kept["error"]),
            warnings=tuple(log.kept["warning"]),
            characters=length_stats(tally.characters),
            seconds=seconds,
            fatal=fatal,
        )

    def _sample(self) -> list[dict[str, Any] | str]:
        rows = islice(self._rows(None), SAMPLED_ROWS)
        sample: list[dict[str, Any] | str] = []
        try:
            for row in rows:
                if row.value is not None:
                    sample.append(row.value)
        except DataError:
            if not sample:
                raise
        return sample

    def _rows(self, progress: Progress | None) -> Iterator[Row]:
        return read_rows(
            self._path,
            kind=self._facts.kind,
            file_name=self._file_name,
            progress=progress,
            max_line_bytes=self._max_line_bytes,
        )

    def _turns_column(self, sample: Sequence[dict[str, Any] | str]) -> str:
        """The one column that holds the turns; "" if rows differ in that, so that each has to be looked at."""
        if self._found.mapping.messages:
            return self._found.mapping.messages
        present = {
            name for row in sample if isinstance(row, dict) for name in row if name in CONVERSATION_COLUMNS
        }
        return present.pop() if len(present) == 1 else ""

    def _slow_line(self, number: int, line: bytes | None) -> None:
        row = self._tally.rows + 1
        if line is None:
            self._add(too_long(number, row, self._max_line_bytes))
        elif line and not line.isspace():
            self._add(jsonl_row(line, number, row))

    def _add(self, row: Row) -> None:
        if row.error is not None:
            self._tally.error(row.error)
        elif row.value is not None and self._found.format is DatasetFormat.UNKNOWN:
            self._tally.rows += 1
        elif row.value is not None:
            try:
                example = to_example(row.value, self._found.format, self._found.mapping)
            except RowError as error:
                self._tally.error(
                    RowIssue(
                        line=row.line, row=row.row, code=error.code, field=error.field, message=error.message
                    )
                )
            else:
                self._tally.good(example, row.line)


def _hashes(path: Path, max_line_bytes: int) -> npt.NDArray[np.int64]:
    with IssueLog(None) as log:
        tally = Tally(log)
        _Check(path, path.name, tally, max_line_bytes).run(None, None, None)
    return np.frombuffer(tally.hashes, dtype=np.int64)


def _columns(sample: Sequence[dict[str, Any] | str]) -> tuple[str, ...]:
    names: dict[str, None] = {}
    for row in sample:
        if isinstance(row, dict):
            names.update(dict.fromkeys(row))
    return tuple([name[:200] for name in names][:200])
