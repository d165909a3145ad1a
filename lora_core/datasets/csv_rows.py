"""Rows of a CSV file with a header: the delimiter is found by trying, quoted fields may hold newlines."""

import csv
from collections.abc import Iterator
from itertools import islice

from lora_core.datasets.lines import MAX_LINE_BYTES, decode_line, line_batches
from lora_core.datasets.rows import Row, too_long, unreadable
from lora_core.errors import DataError

DELIMITERS = (",", ";", "\t", "|")
_SNIFFED_RECORDS = 50


def sniff_delimiter(head: str, *, complete: bool = False) -> str:
    """Find the delimiter that splits the first records most evenly; a comma if nothing splits them.

    Args:
        head: Beginning of the file.
        complete: Whether `head` is the whole file; if not, its last record may be cut and is left out.
    """
    best, best_score = ",", (0.0, 0)
    for delimiter in DELIMITERS:
        records = list(islice(_records(head, delimiter), _SNIFFED_RECORDS + 1))
        if not complete and 1 < len(records) <= _SNIFFED_RECORDS:
            records.pop()
        if not records or len(records[0]) < 2:
            continue
        width = len(records[0])
        even = sum(len(record) == width for record in records) / len(records)
        if (even, width) > best_score:
            best, best_score = delimiter, (even, width)
    return best


def csv_rows(blocks: Iterator[bytes], delimiter: str, max_line_bytes: int = MAX_LINE_BYTES) -> Iterator[Row]:
    """Read one row per record; every value is a text. A record that does not fit the header becomes a row error.

    Raises:
        DataError: No header, columns of the same name, or a line that is not UTF-8.
    """
    csv.field_size_limit(max(csv.field_size_limit(), max_line_bytes))
    source = _NumberedLines(blocks, max_line_bytes)
    reader = csv.reader(source, delimiter=delimiter, strict=True)
    columns: list[str] = []
    row = 0
    while True:
        start = source.line + 1
        try:
            record = next(reader, None)
            fault = ""
        except csv.Error as error:
            record, fault = [], _why(error, start)
        for line in source.take_too_long():
            if not columns:
                raise DataError(
                    f"The header in line {line} is longer than {max_line_bytes} bytes.", line=line
                )
            row += 1
            yield too_long(line, row, max_line_bytes)
            record = [] if record is not None and line >= start else record
        if record is None:
            break
        if not columns:
            if fault:
                raise DataError(f"The header cannot be read: {fault}", line=start)
            columns = _columns(record)
        elif fault:
            row += 1
            yield unreadable(start, row, "broken_csv", fault)
        elif record:
            row += 1
            yield _row(columns, record, start, row)


def _row(columns: list[str], record: list[str], line: int, row: int) -> Row:
    if len(record) != len(columns):
        message = f"Line {line} has {len(record)} fields, the header has {len(columns)}."
        return unreadable(line, row, "ragged_row", message)
    return Row(line, row, dict(zip(columns, record, strict=True)))


def _columns(header: list[str]) -> list[str]:
    names = [name.strip() or f"column_{index}" for index, name in enumerate(header, 1)]
    twice = sorted({name for name in names if names.count(name) > 1}) if len(names) < 10_000 else []
    if twice:
        raise DataError(f"Two columns have the name {twice[0]!r}.", "Give each column its own name.", line=1)
    return names


def _why(error: csv.Error, line: int) -> str:
    if "unexpected end" in str(error):
        return f"The quote opened in the record at line {line} is never closed; what follows it was not read."
    if "field larger" in str(error):
        return f"The record at line {line} has a field that is too long; a quote may be left open."
    return f"The record at line {line} is not valid CSV: {error}."


def _records(head: str, delimiter: str) -> Iterator[list[str]]:
    reader = csv.reader(head.splitlines(keepends=True), delimiter=delimiter)
    while True:
        try:
            record = next(reader, None)
        except csv.Error:
            return
        if record is None:
            return
        if record:
            yield record


class _NumberedLines(Iterator[str]):
    """Decoded lines with their ending, that know the number of the last one given out."""

    def __init__(self, blocks: Iterator[bytes], max_line_bytes: int) -> None:
        self._batches = line_batches(blocks, max_line_bytes)
        self._lines: Iterator[bytes | None] = iter(())
        self._too_long: list[int] = []
        self.line = 0

    def __next__(self) -> str:
        while True:
            for line in self._lines:
                self.line += 1
                if line is None:
                    self._too_long.append(self.line)
                    return "\n"
                return decode_line(line, self.line) + "\n"
            _, lines = next(self._batches)
            self._lines = iter(lines)

    def take_too_long(self) -> list[int]:
        """Numbers of lines that were skipped since the last call."""
        lines, self._too_long = self._too_long, []
        return lines
