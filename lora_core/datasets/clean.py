"""Writes new versions of a data set: without chosen rows, or in another format. Changes nothing else."""

import json
from collections.abc import Iterator, Set
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from lora_core.datasets.blocks import Progress
from lora_core.datasets.convert import to_example
from lora_core.datasets.faults import RowError
from lora_core.datasets.lay_out import rows_as
from lora_core.datasets.read import read_rows
from lora_core.datasets.rows import Row
from lora_core.errors import DataError
from lora_core.schema.dataset import ColumnMapping, DatasetFormat


def write_without(
    source: Path,
    destination: Path,
    format: DatasetFormat,
    mapping: ColumnMapping | None,
    *,
    drop_errors: bool = True,
    dropped_rows: Set[int] = frozenset(),
    file_name: str = "",
    progress: Progress | None = None,
) -> int:
    """Write rows as JSON Lines in UTF-8, without some; lines of a JSONL file are kept byte for byte.

    Args:
        source: Any file that can be read.
        destination: Is only there once it is whole.
        format: Layout of the rows; the copy has the same, with the same mapping.
        mapping: Columns chosen by hand.
        drop_errors: Leave out rows that nothing can be learned from. Without it those that can be read at all stay.
        dropped_rows: Numbers (from 1) of other rows to leave out.
        file_name: Name the person gave the source.
        progress: Told the share of the source read.

    Returns:
        Rows written.

    Raises:
        DataError: The source cannot be read to its end, or a row that is to be kept cannot be read.
    """
    written = 0
    with _whole(destination) as file:
        for row in read_rows(source, file_name=file_name, progress=progress):
            if row.row in dropped_rows or (drop_errors and not _is_good(row, format, mapping)):
                continue
            if row.value is None and not row.raw:
                raise DataError(
                    "The row cannot be read, so it cannot be kept.", "Drop the bad rows too.", line=row.line
                )
            file.write(_line(row))
            written += 1
    return written


def write_converted(
    source: Path,
    destination: Path,
    format: DatasetFormat,
    mapping: ColumnMapping | None,
    target: DatasetFormat,
    *,
    file_name: str = "",
    progress: Progress | None = None,
) -> int:
    """Write every row in another format, as JSON Lines.

    Args:
        source: A file without bad rows.
        destination: Is only there once it is whole.
        format: Layout of the rows.
        mapping: Columns chosen by hand.
        target: One of `lay_out.TARGETS` of the format.
        file_name: Name the person gave the source.
        progress: Told the share of the source read.

    Returns:
        Rows written.

    Raises:
        DataError: A row is bad (with its line), or the source cannot be read to its end.
    """
    written = 0
    with _whole(destination) as file:
        for row in read_rows(source, file_name=file_name, progress=progress):
            if row.value is None:
                message = row.error.message if row.error is not None else "The row cannot be read."
                raise DataError(message, "Drop the bad rows first.", line=row.line)
            for value in rows_as(to_example(row.value, format, mapping), target):
                file.write(_as_json(value))
                written += 1
    return written


@contextmanager
def _whole(destination: Path) -> Iterator[IO[bytes]]:
    """Open a file that only appears under its name once it is written to the end."""
    part = destination.with_name(destination.name + ".part")
    try:
        with part.open("wb") as file:
            yield file
        part.replace(destination)
    finally:
        part.unlink(missing_ok=True)


def _is_good(row: Row, format: DatasetFormat, mapping: ColumnMapping | None) -> bool:
    if row.value is None:
        return False
    try:
        to_example(row.value, format, mapping)
    except RowError:
        return False
    return True


def _line(row: Row) -> bytes:
    if row.raw:
        return row.raw.rstrip(b"\r") + b"\n"
    return _as_json({"text": row.value} if isinstance(row.value, str) else row.value)


def _as_json(value: object) -> bytes:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text.encode("utf-8", "backslashreplace") + b"\n"
