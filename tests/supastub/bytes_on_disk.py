"""Bytes of objects as files named by version, and bytes on their way in. It knows no bucket and no policy."""

import hashlib
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Received:
    """A whole body on disk."""

    path: Path
    size: int
    md5: str


class Shelf:
    """A folder. Bodies go to the disk piece by piece and are never whole in memory."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, version: str) -> Path:
        """Return where a version lies."""
        return self._folder / f"object-{version}"

    def arriving(self) -> Path:
        """Return where a body may be written on its way in."""
        return self._folder / f"arriving-{uuid.uuid4()}"

    async def receive(self, chunks: AsyncIterator[bytes], limit: int) -> Received | None:
        """Write a body to the disk. None when it is larger than the limit; nothing stays when it breaks off."""
        path = self.arriving()
        digest, size = hashlib.md5(usedforsecurity=False), 0
        try:
            with path.open("wb") as file:
                async for chunk in chunks:
                    file.write(chunk)
                    digest.update(chunk)
                    size += len(chunk)
                    if size > limit:
                        path.unlink()
                        return None
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return Received(path, size, digest.hexdigest())

    def measure(self, path: Path) -> Received:
        """Return a file that has come in parts."""
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "md5")
        return Received(path, path.stat().st_size, digest.hexdigest())

    def take(self, received: Received, version: str) -> None:
        """Move a body to its place."""
        received.path.replace(self.path(version))

    def drop(self, version: str | None) -> None:
        """Remove a version, if it is there."""
        if version:
            self.path(version).unlink(missing_ok=True)

    def empty(self) -> None:
        """Remove everything."""
        for path in self._folder.iterdir():
            path.unlink()
