"""The list of what a backup holds: one JSON object a line, so that neither writing nor reading it needs memory.

The first line says what it is, one line a file follows, and the last line closes it: a list that was cut off has none.
"""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Literal

from pydantic import Field, ValidationError

from lora_core.errors import NotFound, StoreError
from lora_core.schema.base import Frozen

NAME = "manifest.jsonl"
VERSION: Literal[1] = 1
MAX_LINE_BYTES = 256 * 1024
NEXT_STEP = "Use another backup."


class Header(Frozen):
    """What the folder is and what made it."""

    format: Literal["lora-studio-backup"] = "lora-studio-backup"
    version: int = VERSION
    studio_version: str
    schema_number: int = Field(description="Number of the last migration of its database.")
    made_at: datetime


class Entry(Frozen):
    """One file of the backup, by its path relative to the folder."""

    path: str = Field(max_length=1100)
    bytes: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Ending(Frozen):
    """The last line: how much there is, and what was not as it should be when the backup was made."""

    files: int
    bytes: int
    missing: tuple[str, ...] = Field((), description="Files that the studio had lost already.")
    altered: tuple[str, ...] = Field((), description="Files that were not what the studio had recorded.")


class Writer:
    """Writes a manifest, line by line."""

    def __init__(self, file: BinaryIO, header: Header) -> None:
        self._file = file
        self._files = self._bytes = 0
        self._write(header)

    def add(self, entry: Entry) -> None:
        """Write the line of a file."""
        self._files += 1
        self._bytes += entry.bytes
        self._write(entry)

    def close(self, missing: tuple[str, ...], altered: tuple[str, ...]) -> Ending:
        """Write the last line."""
        ending = Ending(files=self._files, bytes=self._bytes, missing=missing[:100], altered=altered[:100])
        self._write(ending)
        return ending

    def _write(self, line: Frozen) -> None:
        self._file.write(line.model_dump_json().encode() + b"\n")


def read_header(folder: Path) -> Header:
    """Return the first line.

    Raises:
        NotFound: The folder is no backup.
        StoreError: It is damaged, or made by a newer version of the studio.
    """
    return next(_lines(folder))[0]


def read_ending(folder: Path) -> Ending:
    """Return the last line; raises as `read_header` does."""
    *_, (_, last) = _lines(folder)
    assert isinstance(last, Ending)
    return last


def read_entries(folder: Path) -> Iterator[Entry]:
    """Yield the files of a backup; raises as `read_header` does, and where the list does not add up."""
    for _, line in _lines(folder):
        if isinstance(line, Entry):
            yield line


def _lines(folder: Path) -> Iterator[tuple[Header, Entry | Ending | None]]:
    try:
        file = (folder / NAME).open("rb")
    except OSError as error:
        raise NotFound(
            f"{folder} is no backup of a studio: it has no {NAME}.",
            "Name the folder that `backup` made.",
        ) from error
    files = size = 0
    with file:
        header = _header(file.readline(MAX_LINE_BYTES))
        yield header, None
        while raw := file.readline(MAX_LINE_BYTES):
            line = _line(raw)
            if isinstance(line, Ending):
                if (line.files, line.bytes) != (files, size) or file.read(1):
                    break
                yield header, line
                return
            files, size = files + 1, size + line.bytes
            yield header, line
    raise _damaged()


def _header(raw: bytes) -> Header:
    try:
        header = Header.model_validate_json(raw)
    except ValidationError as error:
        raise _damaged() from error
    if header.version > VERSION:
        raise StoreError(
            f"The backup was made by LoRA Studio {header.studio_version}, which writes them in a newer way.",
            "Update LoRA Studio.",
        )
    return header


def _line(raw: bytes) -> Entry | Ending:
    try:
        if not raw.startswith(b'{"path"'):
            return Ending.model_validate_json(raw)
        entry = Entry.model_validate_json(raw)
    except ValidationError as error:
        raise _damaged() from error
    path = PurePosixPath(entry.path)
    if path.is_absolute() or "\\" in entry.path or not path.parts or {".", ".."} & set(entry.path.split("/")):
        raise _damaged()
    return entry


def _damaged() -> StoreError:
    return StoreError(f"The backup's list of files ({NAME}) is damaged.", NEXT_STEP)
