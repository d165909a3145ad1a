"""Rows of a plain text file: a paragraph each, or a line each where the file has no blank lines."""

from collections.abc import Iterator

from lora_core.datasets.lines import MAX_LINE_BYTES, decode_line, line_batches
from lora_core.datasets.rows import Row, too_long

_LOOK_AHEAD_BYTES = 1024 * 1024


def text_rows(blocks: Iterator[bytes], max_line_bytes: int = MAX_LINE_BYTES) -> Iterator[Row]:
    """Read paragraphs separated by blank lines; if the first MiB has no blank line between lines, each line is a row.

    Raises:
        DataError: A line is not UTF-8.
    """
    lines = _lines(blocks, max_line_bytes)
    ahead: list[tuple[int, str | None]] = []
    size = 0
    for number, line in lines:
        ahead.append((number, line))
        size += len(line or "")
        if size > _LOOK_AHEAD_BYTES:
            break
    by_paragraph = _has_blank_between(ahead)
    row = 0
    paragraph: list[str] = []
    start = held = 0
    skipping = False

    for number, line in _chained(ahead, lines):
        if line is None:
            if not skipping:
                row += 1
                yield too_long(number, row, max_line_bytes)
            paragraph, held, skipping = [], 0, by_paragraph
            continue
        blank = not line.strip()
        if blank or not by_paragraph:
            if paragraph:
                row += 1
                yield Row(start, row, "\n".join(paragraph))
            paragraph, held, skipping = [], 0, False
        if blank or skipping:
            continue
        if not paragraph:
            start = number
        paragraph.append(line)
        held += len(line)
        if held > max_line_bytes:
            row += 1
            yield too_long(start, row, max_line_bytes)
            paragraph, held, skipping = [], 0, True
    if paragraph:
        yield Row(start, row + 1, "\n".join(paragraph))


def _lines(blocks: Iterator[bytes], max_line_bytes: int) -> Iterator[tuple[int, str | None]]:
    for first, lines in line_batches(blocks, max_line_bytes):
        for number, line in enumerate(lines, first):
            yield number, None if line is None else decode_line(line, number).rstrip("\r")


def _chained(
    ahead: list[tuple[int, str | None]], rest: Iterator[tuple[int, str | None]]
) -> Iterator[tuple[int, str | None]]:
    ahead.reverse()
    while ahead:
        yield ahead.pop()
    yield from rest


def _has_blank_between(lines: list[tuple[int, str | None]]) -> bool:
    filled = [line is None or bool(line.strip()) for _, line in lines]
    if True not in filled:
        return False
    first, last = filled.index(True), len(filled) - filled[::-1].index(True)
    return False in filled[first:last]
