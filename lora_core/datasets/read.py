"""What a data set file is, and its rows one by one. Memory does not grow with the file; columns get no meaning here."""

import json
from collections.abc import Iterator
from pathlib import Path, PurePath

import msgspec

from lora_core.datasets.blocks import (
    MAX_DECOMPRESSED_BYTES,
    Progress,
    compression_of,
    decompressed_blocks,
    encoding_of,
    utf8_blocks,
)
from lora_core.datasets.csv_rows import csv_rows, sniff_delimiter
from lora_core.datasets.json_rows import json_rows
from lora_core.datasets.jsonl_rows import jsonl_rows
from lora_core.datasets.lines import MAX_LINE_BYTES, not_utf8
from lora_core.datasets.parquet_rows import parquet_rows
from lora_core.datasets.rows import Row
from lora_core.datasets.text_rows import text_rows
from lora_core.errors import DataError
from lora_core.schema.dataset import FileKind

_HEAD_BYTES = 64 * 1024
_KIND_BY_SUFFIX = {
    ".jsonl": FileKind.JSONL,
    ".ndjson": FileKind.JSONL,
    ".json": FileKind.JSON,
    ".csv": FileKind.CSV,
    ".tsv": FileKind.CSV,
    ".parquet": FileKind.PARQUET,
    ".txt": FileKind.TEXT,
    ".text": FileKind.TEXT,
    ".md": FileKind.TEXT,
}
_PARQUET_MAGIC = b"PAR1"
_FOREIGN = (
    (b"PK\x03\x04", "a zip archive or an Excel file", "Unpack it, or export the sheet as CSV."),
    (b"%PDF", "a PDF", "Export its text."),
    (b"ARROW1", "an Arrow file", "Write it as Parquet."),
    (b"BZh", "compressed with bzip2", "Compress it with gzip or zstd, or not at all."),
    (b"\xfd7zXZ", "compressed with xz", "Compress it with gzip or zstd, or not at all."),
    (b"7z\xbc\xaf", "a 7-Zip archive", "Unpack it."),
    (b"Rar!", "a RAR archive", "Unpack it."),
    (b"SQLite format 3", "a SQLite database", "Export the table as CSV."),
    (b"\x89PNG", "a picture", "Upload text."),
    (b"\xff\xd8\xff", "a picture", "Upload text."),
    (b"\x93NUMPY", "a NumPy array", "Upload text."),
    (b"\xd0\xcf\x11\xe0", "an old Office file", "Export it as CSV."),
    (b"\x7fELF", "a program", "Upload text."),
)


class FileFacts(msgspec.Struct, frozen=True):
    """How a file is written, from its first bytes.

    Args:
        kind: JSONL, JSON, CSV, Parquet or text.
        compression: "gz", "zst" or "".
        encoding: "utf-8", "utf-8-sig", "utf-16" or "utf-32"; "" for Parquet.
        delimiter: Of a CSV file; "" for the others.
    """

    kind: FileKind
    compression: str
    encoding: str
    delimiter: str = ""


def detect_kind(path: Path, file_name: str = "") -> tuple[FileKind, str]:
    """Tell how rows are written in a file, by its content first and its name's ending second.

    Args:
        path: The file; its own name is used if `file_name` is empty.
        file_name: Name the person gave it.

    Returns:
        The kind, and the compression ("gz", "zst" or "").

    Raises:
        DataError: Empty, binary, or compressed data that is damaged.
    """
    facts = inspect_file(path, file_name)
    return facts.kind, facts.compression


def inspect_file(path: Path, file_name: str = "", kind: FileKind | None = None) -> FileFacts:
    """Tell how a file is written; `kind` overrules what its content looks like.

    Raises:
        DataError: Empty, binary, compressed twice or damaged.
    """
    with path.open("rb") as file:
        compression = compression_of(file.read(4))
    head, complete = _head(path, compression)
    if not head.strip():
        raise DataError("The file is empty.", "Upload one with at least one row.")
    if head.startswith(_PARQUET_MAGIC):
        return FileFacts(FileKind.PARQUET, compression, "")
    if kind is FileKind.PARQUET:
        raise DataError("The file is not Parquet.", "Upload it with its true ending.")
    _refuse_foreign(head)
    encoding = encoding_of(head)
    text = _head_text(head, encoding, complete)
    if complete and not text.strip():
        raise DataError("The file is empty.", "Upload one with at least one row.")
    kind = kind or _kind_of(text, _suffix(file_name or path.name), complete)
    delimiter = sniff_delimiter(text, complete=complete) if kind is FileKind.CSV else ""
    return FileFacts(kind, compression, encoding, delimiter)


def read_rows(
    path: Path,
    *,
    kind: FileKind | None = None,
    file_name: str = "",
    progress: Progress | None = None,
    max_line_bytes: int = MAX_LINE_BYTES,
    max_bytes: int = MAX_DECOMPRESSED_BYTES,
) -> Iterator[Row]:
    """Read a file row by row.

    Args:
        path: JSONL, JSON, CSV, Parquet or text; plain, gzip or zstd.
        kind: How it is written; None to find out.
        file_name: Name the person gave it.
        progress: Told the share of the file read.
        max_line_bytes: A longer line (JSON: row) is an error and is never held in memory whole.
        max_bytes: Limit for the decompressed size.

    Yields:
        Rows in file order. A row that cannot be read has `error`; reading goes on behind it.

    Raises:
        DataError: The file as a whole cannot be read (further): empty, binary, not UTF-8, cut off, broken JSON list.
    """
    facts = inspect_file(path, file_name, kind)
    if facts.kind is FileKind.PARQUET:
        yield from parquet_rows(path, facts.compression, progress=progress, max_bytes=max_bytes)
        return
    blocks = text_blocks(path, facts, progress=progress, max_bytes=max_bytes)
    if facts.kind is FileKind.JSONL:
        yield from jsonl_rows(blocks, max_line_bytes)
    elif facts.kind is FileKind.JSON:
        yield from json_rows(blocks, max_line_bytes)
    elif facts.kind is FileKind.CSV:
        yield from csv_rows(blocks, facts.delimiter, max_line_bytes)
    else:
        yield from text_rows(blocks, max_line_bytes)


def text_blocks(
    path: Path,
    facts: FileFacts,
    *,
    progress: Progress | None = None,
    max_bytes: int = MAX_DECOMPRESSED_BYTES,
) -> Iterator[bytes]:
    """Read a file of text as blocks of UTF-8, decompressed and without byte order mark."""
    blocks = decompressed_blocks(path, facts.compression, progress=progress, max_bytes=max_bytes)
    return utf8_blocks(blocks, facts.encoding)


def _head(path: Path, compression: str) -> tuple[bytes, bool]:
    parts: list[bytes] = []
    size = 0
    for block in decompressed_blocks(path, compression):
        parts.append(block)
        size += len(block)
        if size > _HEAD_BYTES:
            return b"".join(parts)[:_HEAD_BYTES], False
    return b"".join(parts), True


def _refuse_foreign(head: bytes) -> None:
    for magic, what, next_step in _FOREIGN:
        if head.startswith(magic):
            raise DataError(f"The file is {what}, not a data set.", next_step)
    if compression_of(head):
        raise DataError("The file is compressed twice.", "Unpack it once.")
    if encoding_of(head) not in ("utf-8", "utf-8-sig") or b"\0" not in head:
        return
    zeros = head.count(b"\0")
    if zeros * 3 > len(head) and b"\0\0" not in head[:64]:
        raise DataError("The file looks like UTF-16 without a byte order mark.", "Save it as UTF-8.", line=1)
    raise DataError("The file is binary, not text.", "Upload JSONL, JSON, CSV, Parquet or plain text.")


def _head_text(head: bytes, encoding: str, complete: bool) -> str:
    """Decode the head; a character cut in half at its end does not count."""
    try:
        return head.decode(encoding)
    except UnicodeDecodeError as error:
        if not complete and error.start >= len(head) - 4:
            return head[: error.start].decode(encoding)
        if encoding.startswith("utf-8"):
            line_start = head.rfind(b"\n", 0, error.start) + 1
            line_end = head.find(b"\n", error.start)
            line = head[line_start : line_end if line_end >= 0 else len(head)]
            number = head.count(b"\n", 0, error.start) + 1
            raise not_utf8(line, number, error.start - line_start) from error
        raise DataError(
            f"The file begins as {encoding.upper()} but is not valid.", "Save it as UTF-8."
        ) from error


def _suffix(name: str) -> str:
    suffixes = [suffix.lower() for suffix in PurePath(name).suffixes]
    while suffixes and suffixes[-1] in (".gz", ".gzip", ".zst", ".zstd"):
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def _kind_of(text: str, suffix: str, complete: bool) -> FileKind:
    named = _KIND_BY_SUFFIX.get(suffix)
    start = text.lstrip()
    first, newline, rest = start.partition("\n")
    if start.startswith("{"):
        if _is_json(first):
            return FileKind.JSON if named is FileKind.JSON and not rest.strip() else FileKind.JSONL
        if not newline and not complete:
            return FileKind.JSON if named is FileKind.JSON else FileKind.JSONL
        return named if named in (FileKind.JSONL, FileKind.CSV, FileKind.TEXT) else FileKind.JSON
    element = start[1:].lstrip()[:1] if start.startswith("[") else ""
    if element == "{" or (element in tuple(']"[') and named in (None, FileKind.JSON, FileKind.JSONL)):
        return FileKind.JSON
    if named is not None and named is not FileKind.PARQUET:
        return named
    return FileKind.CSV if _looks_like_csv(text, complete) else FileKind.TEXT


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _looks_like_csv(text: str, complete: bool) -> bool:
    delimiter = sniff_delimiter(text, complete=complete)
    lines = [line for line in text.splitlines()[: 20 if complete else -1] if line.strip()][:20]
    counts = {line.count(delimiter) for line in lines}
    return len(lines) > 2 and len(counts) == 1 and counts != {0}
