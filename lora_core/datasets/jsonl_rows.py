"""Rows of a JSON Lines file: one JSON object (or text) per line."""

import json
from collections.abc import Iterator
from typing import Any

import msgspec

from lora_core.datasets.lines import MAX_LINE_BYTES, decode_line, line_batches
from lora_core.datasets.rows import Row, too_long, unreadable

_decode = msgspec.json.Decoder().decode


def jsonl_rows(blocks: Iterator[bytes], max_line_bytes: int = MAX_LINE_BYTES) -> Iterator[Row]:
    """Read one row per line; blank lines do not count. A line that is not JSON becomes a row with an error.

    Raises:
        DataError: A line is not UTF-8.
    """
    row = 0
    for first, lines in line_batches(blocks, max_line_bytes):
        for number, line in enumerate(lines, first):
            if line is None:
                row += 1
                yield too_long(number, row, max_line_bytes)
            elif line and not line.isspace():
                row += 1
                yield jsonl_row(line, number, row)


def jsonl_row(line: bytes, number: int, row: int) -> Row:
    """Read one line that is not blank.

    Raises:
        DataError: It is not UTF-8.
    """
    try:
        value = _decode(line)
    except (ValueError, RecursionError):
        text = decode_line(line, number)
        try:
            value = _lenient(text)
        except (ValueError, RecursionError) as error:
            return unreadable(
                number, row, "broken_json", f"Line {number} is not valid JSON: {_why(error)}.", line
            )
    if isinstance(value, dict | str):
        return Row(number, row, value, None, line)
    found = type(value).__name__
    return unreadable(
        number, row, "not_an_object", f"Line {number} holds a {found}, not an object {{...}}.", line
    )


def _lenient(text: str) -> Any:
    """Accept what Python's own writer makes and strict readers refuse: NaN and numbers beyond 64 bits."""
    value = json.loads(text)
    if "\\u" in text:
        json.dumps(value, ensure_ascii=False).encode("utf-8")  # raises for half a surrogate pair
    return value


def _why(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} (column {error.colno})"
    if isinstance(error, UnicodeEncodeError):
        return "half of a \\u surrogate pair"
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return str(error)
