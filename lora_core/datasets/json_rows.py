"""Rows of a JSON file: a list of objects, or an object that holds such a list. Reads element by element, not at once."""

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any

from lora_core.datasets.lines import MAX_LINE_BYTES, not_utf8
from lora_core.datasets.rows import Row, too_long, unreadable
from lora_core.errors import DataError

_SPACE = re.compile(r"[ \t\r\n]*")
_NEXT_STEP = "Repair the file, or save it as JSON Lines: then one broken row does not spoil the rest."
_ROW_KEYS = frozenset(
    {"messages", "conversations", "conversation", "dialogue", "dialog", "chat", "turns", "history", "tools"}
    | {
        "functions",
        "instruction",
        "input",
        "output",
        "prompt",
        "completion",
        "response",
        "question",
        "answer",
    }
    | {"text", "chosen", "rejected"}
)
"""Keys that belong to a row: an object with one of these is a row itself, not a wrapper around rows."""


def json_rows(blocks: Iterator[bytes], max_row_bytes: int = MAX_LINE_BYTES) -> Iterator[Row]:
    """Read one row per element of the list.

    Raises:
        DataError: The file is not valid JSON (with the line), holds no list of rows, or one row is too large.
    """
    text = _Text(blocks, max_row_bytes)
    first = text.peek()
    if first == "[":
        text.take("[")
        yield from _elements(text)
    elif first == "{":
        yield from _wrapped(text)
    else:
        raise text.broken("A JSON data set has to begin with [ or {")
    if text.peek():
        raise text.broken("There is more after the end of the list")


def _elements(text: "_Text") -> Iterator[Row]:
    row = 0
    if text.peek() == "]":
        text.take("]")
        return
    while True:
        value = text.value()
        row += 1
        if text.value_size > text.limit:
            yield too_long(row, row, text.limit)
        elif isinstance(value, dict | str):
            yield Row(row, row, value)
        else:
            found = type(value).__name__
            yield unreadable(row, row, "not_an_object", f"Row {row} is a {found}, not an object {{...}}.")
        if text.take(",", "]") == "]":
            return


def _wrapped(text: "_Text") -> Iterator[Row]:
    text.take("{")
    single: dict[str, Any] = {}
    rows_key = ""
    while text.peek() != "}":
        key = text.value()
        if not isinstance(key, str):
            raise text.broken("A key is not a text")
        text.take(":")
        if text.peek() == "[" and key not in _ROW_KEYS and not (_ROW_KEYS & single.keys()):
            if rows_key:
                raise DataError(
                    f"The file holds several lists ({rows_key!r} and {key!r}).",
                    "Save the list with the rows as a file of its own.",
                    line=text.line,
                )
            rows_key = key
            text.take("[")
            yield from _elements(text)
        else:
            value = text.value()
            if not rows_key:
                single[key] = value
        if text.peek() == "}":
            break
        text.take(",")
    text.take("}")
    if not rows_key and single:
        yield Row(1, 1, single)


class _Text:
    """The part of the document being read. Grows until one value is complete, at most `limit` characters."""

    def __init__(self, blocks: Iterator[bytes], limit: int) -> None:
        self._blocks = blocks
        self.limit = limit
        self._decoder = codecs.getincrementaldecoder("utf-8")("strict")
        self._buffer = ""
        self._at = 0
        self._ended = False
        self._parse = json.JSONDecoder().raw_decode
        self.line = 1
        self.value_size = 0

    def peek(self) -> str:
        """The next character that is not white space, without taking it; "" at the end of the file."""
        while True:
            self._advance(_space_end(self._buffer, self._at))
            if self._at < len(self._buffer):
                return self._buffer[self._at]
            if not self._more():
                return ""

    def take(self, *expected: str) -> str:
        """Take one of these characters.

        Raises:
            DataError: Something else is there.
        """
        found = self.peek()
        if found not in expected or not found:
            wanted = " or ".join(expected)
            raise self.broken(
                f"Expected {wanted}, found {found!r}" if found else f"The file ends before {wanted}"
            )
        self._at += 1
        return found

    def value(self) -> Any:
        """Take one whole JSON value.

        Raises:
            DataError: It is not valid JSON, or larger than the limit.
        """
        self.peek()
        while True:
            try:
                value, end = self._parse(self._buffer, self._at)
            except RecursionError as error:
                raise self.broken("A row is nested too deeply") from error
            except ValueError as error:
                if self._is_broken(error) or not self._grow():
                    raise self._invalid(error) from error
                continue
            # A number at the end of the buffer may go on in the next block.
            if len(self._buffer) - end < 4 and isinstance(value, int | float) and self._grow():
                continue
            self.value_size = end - self._at
            self._advance(end)
            return value

    def broken(self, what: str) -> DataError:
        """Make the error for a fault at the present place."""
        return DataError(
            f"The file is not valid JSON: {what} (line {self.line}).", _NEXT_STEP, line=self.line
        )

    def _is_broken(self, error: ValueError) -> bool:
        """Tell a fault from a value that merely goes on in the next block: a fault has text after it."""
        if not isinstance(error, json.JSONDecodeError):
            return True
        return error.pos < len(self._buffer) - 16 and not error.msg.startswith("Unterminated string")

    def _invalid(self, error: ValueError) -> DataError:
        if not self._ended and not self._is_broken(error):
            size = f"{self.limit / 1024**2:.0f} MiB" if self.limit >= 1024**2 else f"{self.limit} bytes"
            return self.broken(f"a row is longer than {size}, or broken")
        if isinstance(error, json.JSONDecodeError):
            self._advance(min(error.pos, len(self._buffer)))
            return self.broken(error.msg)
        return self.broken(str(error))

    def _advance(self, end: int) -> None:
        self.line += self._buffer.count("\n", self._at, end)
        self._at = end

    def _grow(self) -> bool:
        """Double what is held of the present value, so that trying again stays linear in the end."""
        target = 2 * (len(self._buffer) - self._at)
        grew = False
        while len(self._buffer) - self._at <= target:
            if len(self._buffer) - self._at > self.limit or not self._more():
                break
            grew = True
        return grew

    def _more(self) -> bool:
        while not self._ended:
            block = next(self._blocks, None)
            self._ended = block is None
            try:
                text = self._decoder.decode(block or b"", self._ended)
            except UnicodeDecodeError as error:
                line = (
                    self.line + self._buffer.count("\n", self._at) + error.object.count(b"\n", 0, error.start)
                )
                raise not_utf8(error.object, line, error.start) from error
            if text:
                self._buffer = self._buffer[self._at :] + text
                self._at = 0
                return True
        return False


def _space_end(text: str, start: int) -> int:
    match = _SPACE.match(text, start)
    return match.end() if match else start
