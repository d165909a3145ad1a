"""Bytes of a data set file in blocks of bounded size: decompressed and in UTF-8. Knows nothing of lines or rows."""

import codecs
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import zstandard

from lora_core.errors import DataError

BLOCK_BYTES = 128 * 1024
ZSTD_FEED_BYTES = 256
"""A zstd block of 4 bytes may stand for 128 KiB, so that little is fed at once: memory stays bounded for a bomb."""
MAX_DECOMPRESSED_BYTES = 64 * 1024**3

GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"

Progress = Callable[[float], None]
"""Called with the share of the file read so far, 0 to 1."""


def compression_of(head: bytes) -> str:
    """Name the compression by a file's first bytes: "gz", "zst" or "" for none."""
    if head.startswith(GZIP_MAGIC):
        return "gz"
    return "zst" if head.startswith(ZSTD_MAGIC) else ""


def encoding_of(head: bytes) -> str:
    """Name the encoding by the byte order mark; without one the file has to be UTF-8."""
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    return "utf-8-sig" if head.startswith(codecs.BOM_UTF8) else "utf-8"


def decompressed_blocks(
    path: Path,
    compression: str,
    *,
    progress: Progress | None = None,
    max_bytes: int = MAX_DECOMPRESSED_BYTES,
) -> Iterator[bytes]:
    """Read a file in blocks, decompressing as it goes.

    Args:
        path: The file.
        compression: "gz", "zst" or "".
        progress: Told the share of the (compressed) file read.
        max_bytes: Refuse a file that is larger than this once decompressed.

    Raises:
        DataError: Damaged or cut-off compressed data, or more than `max_bytes`.
    """
    raw = _file_blocks(path, progress)
    blocks = _inflated(raw, compression) if compression else raw
    total = 0
    for block in blocks:
        total += len(block)
        if compression and total > max_bytes:
            raise DataError(
                f"The file is larger than {max_bytes / 1024**3:.1f} GiB once decompressed.",
                "Split it into smaller files.",
            )
        yield block


def utf8_blocks(blocks: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    """Turn blocks into UTF-8 without a byte order mark. UTF-8 itself passes through unchecked.

    Raises:
        DataError: UTF-16 or UTF-32 that is cut off or not valid, with the line.
    """
    if encoding == "utf-8":
        yield from blocks
    elif encoding == "utf-8-sig":
        missing = len(codecs.BOM_UTF8)
        for block in blocks:
            skipped, missing = block[missing:], max(0, missing - len(block))
            yield skipped
    else:
        yield from _transcoded(blocks, encoding)


def _file_blocks(path: Path, progress: Progress | None) -> Iterator[bytes]:
    size = max(1, path.stat().st_size)
    done = 0
    with path.open("rb", buffering=0) as file:
        while block := file.read(BLOCK_BYTES):
            done += len(block)
            yield block
            if progress is not None:
                progress(min(1.0, done / size))


def _inflated(raw: Iterator[bytes], compression: str) -> Iterator[bytes]:
    name = {"gz": "gzip", "zst": "zstd"}[compression]
    blocks = _gunzipped(raw) if compression == "gz" else _unzstd(raw)
    try:
        yield from blocks
    except (zlib.error, zstandard.ZstdError) as error:
        raise DataError(
            f"The {name} data is damaged ({error}).", "Compress or download the file again."
        ) from error


def _gunzipped(raw: Iterator[bytes]) -> Iterator[bytes]:
    member = zlib.decompressobj(wbits=31)
    started = False
    for block in raw:
        while block:
            if member.eof:
                block = block.lstrip(b"\0")
                if not block:
                    break
                member, started = zlib.decompressobj(wbits=31), False
            out = member.decompress(block, BLOCK_BYTES)
            started = True
            if out:
                yield out
            block = member.unused_data if member.eof else member.unconsumed_tail
    while started and not member.eof:
        out = member.decompress(member.unconsumed_tail, BLOCK_BYTES)
        if not out:
            raise _cut_off()
        yield out


def _unzstd(raw: Iterator[bytes]) -> Iterator[bytes]:
    frame = zstandard.ZstdDecompressor().decompressobj()
    for block in raw:
        for start in range(0, len(block), ZSTD_FEED_BYTES):
            piece = block[start : start + ZSTD_FEED_BYTES]
            while piece:
                if frame.eof:
                    frame = zstandard.ZstdDecompressor().decompressobj()
                out = frame.decompress(piece)
                if out:
                    yield out
                piece = frame.unused_data if frame.eof else b""
    if not frame.eof:
        raise _cut_off()


def _cut_off() -> DataError:
    return DataError("The compressed file is cut off: its end is missing.", "Upload or download it again.")


def _transcoded(blocks: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    line = 1
    try:
        for block in blocks:
            text = decoder.decode(block)
            line += text.count("\n")
            yield text.encode("utf-8")
        decoder.decode(b"", True)
    except UnicodeDecodeError as error:
        raise DataError(
            f"The file begins as {encoding.upper()} but is not valid near line {line}.",
            "Save it as UTF-8.",
            line=line,
        ) from error
