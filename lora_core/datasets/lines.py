"""Lines out of blocks of bytes, never holding more than the longest allowed line. Does not decode or parse them."""

from collections.abc import Iterator

from lora_core.errors import DataError

MAX_LINE_BYTES = 32 * 1024 * 1024
_SAMPLE_BYTES = 4096
_LIKELY_ENCODINGS = [
    "cp1252",
    "cp1250",
    "cp1251",
    "koi8_r",
    "gb18030",
    "big5",
    "cp932",
    "euc_jp",
    "cp949",
    "mac_roman",
]
"""What editors and spreadsheets write; among all encodings a short line matches odd ones best."""


def line_chunks(
    blocks: Iterator[bytes], max_line_bytes: int = MAX_LINE_BYTES
) -> Iterator[tuple[int, bytes | None]]:
    """Cut blocks at newlines.

    Args:
        blocks: Bytes of the file in order.
        max_line_bytes: Longer lines are dropped while they are read.

    Yields:
        The 1-based number of the first line, and one or more whole lines without the last newline. None stands for
        one line that is too long.
    """
    number = 1
    pieces: list[bytes] = []
    held = 0
    skipping = False
    for block in blocks:
        if skipping:
            cut = block.find(b"\n")
            if cut < 0:
                continue
            yield number, None
            number, skipping, block = number + 1, False, block[cut + 1 :]
        cut = block.rfind(b"\n")
        if cut >= 0:
            chunk = b"".join([*pieces, memoryview(block)[:cut]]) if pieces else block[:cut]
            if len(chunk) <= max_line_bytes:
                yield number, chunk
            else:
                for index, line in enumerate(chunk.split(b"\n")):
                    yield number + index, line if len(line) <= max_line_bytes else None
            number += 1 + chunk.count(b"\n")
            pieces, held = [], 0
        pieces.append(block[cut + 1 :])
        held += len(pieces[-1])
        if held > max_line_bytes:
            pieces, held, skipping = [], 0, True
    if skipping:
        yield number, None
    elif held:
        yield number, b"".join(pieces)


def line_batches(
    blocks: Iterator[bytes], max_line_bytes: int = MAX_LINE_BYTES
) -> Iterator[tuple[int, list[bytes | None]]]:
    """Split blocks at newlines; like `line_chunks`, but each line by itself.

    Yields:
        The 1-based number of the first line, and lines without their newline. None stands for a line too long.
    """
    for number, chunk in line_chunks(blocks, max_line_bytes):
        yield number, [None] if chunk is None else list(chunk.split(b"\n"))


def decode_line(line: bytes, number: int) -> str:
    """Decode one line of UTF-8.

    Raises:
        DataError: It is not UTF-8; names the line and what the bytes look like.
    """
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise not_utf8(line, number, error.start) from error


def not_utf8(sample: bytes, line: int, position: int = 0) -> DataError:
    """Describe bytes that are not UTF-8, with a guess at what they are.

    Args:
        sample: Bytes around the fault.
        line: 1-based line of the file.
        position: Offset of the first bad byte in `sample`.
    """
    from charset_normalizer import from_bytes  # costs 15 ms to import; only needed here

    start = max(0, position - _SAMPLE_BYTES // 2)
    guess = from_bytes(sample[start : start + _SAMPLE_BYTES], cp_isolation=_LIKELY_ENCODINGS).best()
    seems = f" It looks like {guess.encoding}." if guess is not None else ""
    return DataError(
        f"Line {line} is not UTF-8 (byte {position + 1} of the line).{seems}",
        "Save the file as UTF-8 and upload it again.",
        line=line,
    )
