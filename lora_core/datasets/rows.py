"""One row of a data set file as it was read, before anyone asks what it means."""

from typing import Any

import msgspec

from lora_core.schema.dataset import RowIssue


class Row(msgspec.Struct, frozen=True, gc=False):
    """A row or the reason why it could not be read.

    Args:
        line: 1-based line of the file (for JSON and Parquet: the row).
        row: 1-based row.
        value: The columns by name, or a text; None if the row could not be read.
        error: Why it could not be read.
        raw: The row's own bytes in the file (UTF-8, JSONL only).
    """

    line: int
    row: int
    value: dict[str, Any] | str | None
    error: RowIssue | None = None
    raw: bytes = b""


def unreadable(line: int, row: int, code: str, message: str, raw: bytes = b"") -> Row:
    """Make the row that stands for one that could not be read."""
    return Row(line, row, None, RowIssue(line=line, row=row, code=code, message=message), raw)


def too_long(line: int, row: int, max_bytes: int) -> Row:
    """Make the row that stands for one that is larger than what is held in memory."""
    size = f"{max_bytes / 1024**2:.0f} MiB" if max_bytes >= 1024**2 else f"{max_bytes} bytes"
    return unreadable(line, row, "too_long", f"The row in line {line} is longer than {size} and was skipped.")
