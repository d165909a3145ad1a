"""Writes a copy of a data set without its bad rows. Changes nothing in the rows it keeps."""

import json
from pathlib import Path

from lora_core.datasets.blocks import Progress
from lora_core.datasets.convert import to_example
from lora_core.datasets.example import fingerprint
from lora_core.datasets.faults import RowError
from lora_core.datasets.read import read_rows
from lora_core.datasets.rows import Row
from lora_core.schema.dataset import ColumnMapping, DatasetFormat


def write_good_rows(
    source: Path,
    destination: Path,
    format: DatasetFormat,
    mapping: ColumnMapping | None,
    *,
    drop_duplicates: bool = False,
    file_name: str = "",
    progress: Progress | None = None,
) -> int:
    """Write the good rows as JSON Lines in UTF-8; lines of a JSONL file are kept byte for byte.

    Args:
        source: Any file that can be read.
        destination: Is only there once it is whole.
        format: Layout of the rows; the copy has the same, with the same mapping.
        mapping: Columns chosen by hand.
        drop_duplicates: Also leave out rows whose content an earlier one has.
        file_name: Name the person gave the source.
        progress: Told the share of the source read.

    Returns:
        Rows written.

    Raises:
        DataError: The source cannot be read to its end.
    """
    part = destination.with_name(destination.name + ".part")
    written = 0
    seen: set[int] = set()
    try:
        with part.open("wb") as file:
            for row in read_rows(source, file_name=file_name, progress=progress):
                content = _content_of(row, format, mapping)
                if content is None or (drop_duplicates and content in seen):
                    continue
                if drop_duplicates:
                    seen.add(content)
                file.write(_line(row))
                written += 1
        part.replace(destination)
    finally:
        part.unlink(missing_ok=True)
    return written


def _content_of(row: Row, format: DatasetFormat, mapping: ColumnMapping | None) -> int | None:
    if row.value is None:
        return None
    try:
        return fingerprint(to_example(row.value, format, mapping))
    except RowError:
        return None


def _line(row: Row) -> bytes:
    if row.raw:
        return row.raw.rstrip(b"\r") + b"\n"
    value = {"text": row.value} if isinstance(row.value, str) else row.value
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text.encode("utf-8", "backslashreplace") + b"\n"
