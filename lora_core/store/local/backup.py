"""Copies an embedded studio into a folder while it is at work: the database as of one moment, and the files it names.

Left out, since they can be had again or belong to this machine or to a person alone: base models, caches, run folders,
the names of runners, keys and tokens. A backup is a folder, never an archive: nothing is ever unpacked.
"""

# ruff: noqa: S608 - what is put into statements are names of tables from this code; values are always bound.

import fcntl
import hashlib
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from lora_core.errors import Conflict, DiskFull, Forbidden, NotFound, StoreError
from lora_core.store.local import manifest
from lora_core.store.local.database import connect, typed_errors
from lora_core.store.local.files import CHUNK_BYTES, RESERVE_BYTES, FileTree, sync_folder, typed_file_errors
from lora_core.store.local.manifest import Entry, Header
from lora_core.store.local.presence import DATABASE, FILES, enter
from lora_core.store.local.rows import from_json

Progress = Callable[[int, int], None]
"""Told (bytes done, bytes in all) now and then."""


@dataclass(frozen=True)
class BackupReport:
    """What a backup holds.

    Attributes:
        missing: Files that the studio had lost before the backup was made.
        altered: Files whose sha256 is not what the studio recorded when it stored them; they are in the backup as found.
    """

    made_at: datetime
    datasets: int
    jobs: int
    files: int
    bytes: int
    missing: tuple[str, ...]
    altered: tuple[str, ...]


@dataclass(frozen=True)
class _Reference:
    """A file that a row names. `sha256` is empty where the row has none."""

    table: str
    id: str
    job_id: str
    bucket: str
    key: str
    sha256: str
    optional: bool = False


def write_backup(
    database: Path,
    files: Path,
    target: Path,
    *,
    studio_version: str,
    made_at: datetime,
    progress: Progress = lambda _done, _total: None,
) -> BackupReport:
    """Write a backup to a new folder, whole or not at all. App and runner may go on meanwhile.

    What is deleted while the backup is written may be missing in it, rows and all.

    Args:
        database: File of the embedded database.
        files: Root of its buckets.
        target: Folder to make; an empty one may be there. Until it is whole it is called `<target>.partial`.

    Raises:
        NotFound: There is no studio.
        Conflict: The target is not empty, or another backup is being written to it.
        DiskFull: Not enough space.
        StoreError: The database is damaged.
    """
    if not database.is_file():
        raise NotFound(f"There is no studio in {database.parent}.", "Set LORA_STUDIO_HOME to its folder.")
    presence = enter(database.parent)
    try:
        with typed_errors(), _partial(target) as folder, closing(connect(database)) as live:
            copied_bytes = _copy_database(live, folder / DATABASE)
            with (
                closing(sqlite3.connect(folder / DATABASE, isolation_level=None)) as copy,
                typed_file_errors(),
            ):
                copy.row_factory = sqlite3.Row
                copy.execute("PRAGMA foreign_keys = ON")
                writer = _Writer(
                    FileTree(files, max_object_bytes=0), folder, live, copy, progress, copied_bytes
                )
                return writer.write(studio_version, made_at)
    finally:
        presence.leave()


class _Writer:
    """Copies the files that the copied database names, and keeps the manifest."""

    def __init__(
        self,
        files: FileTree,
        folder: Path,
        live: sqlite3.Connection,
        copy: sqlite3.Connection,
        progress: Progress,
        database_bytes: int,
    ) -> None:
        self._files = files
        self._folder = folder
        self._live = live
        self._copy = copy
        self._done = 0
        self._database_bytes = database_bytes
        self._progress = progress

    def write(self, studio_version: str, made_at: datetime) -> BackupReport:
        number: int = self._copy.execute("PRAGMA user_version").fetchone()[0]
        header = Header(studio_version=studio_version, schema_number=number, made_at=made_at)
        total = self._database_bytes + _stored_bytes(self._copy)
        _check_space(self._folder, total - self._database_bytes)
        missing: list[str] = []
        altered: list[str] = []
        gone: list[_Reference] = []
        with (self._folder / manifest.NAME).open("xb") as file:
            writer = manifest.Writer(file, header)
            for reference in _references(self._copy):
                entry = self._copy_file(reference, total)
                if entry is not None:
                    writer.add(entry)
                    if reference.sha256 and reference.sha256 != entry.sha256:
                        altered.append(entry.path)
                elif not reference.optional:
                    gone.append(reference)
            for reference in gone:
                if not _forget(self._copy, self._live, reference):
                    missing.append(f"{FILES}/{reference.bucket}/{reference.key}")
            datasets, jobs = (_count(self._copy, table) for table in ("datasets", "training_jobs"))
            self._copy.close()
            writer.add(_entry(self._folder, DATABASE))
            ending = writer.close(tuple(missing), tuple(altered))
            file.flush()
            os.fsync(file.fileno())
        self._progress(total, total)
        return BackupReport(
            made_at=made_at,
            datasets=datasets,
            jobs=jobs,
            files=ending.files - 1,
            bytes=ending.bytes,
            missing=tuple(missing),
            altered=tuple(altered),
        )

    def _copy_file(self, reference: _Reference, total: int) -> Entry | None:
        path = f"{FILES}/{reference.bucket}/{reference.key}"
        try:
            with self._files.open(reference.bucket, reference.key) as source:
                size, sha256 = write_file(self._folder / path, self._counted(read_chunks(source), total))
        except (NotFound, Forbidden):
            return None
        return Entry(path=path, bytes=size, sha256=sha256)

    def _counted(self, chunks: Iterator[bytes], total: int) -> Iterator[bytes]:
        for chunk in chunks:
            yield chunk
            self._done += len(chunk)
            self._progress(min(self._done, total), total)


def read_chunks(stream: BinaryIO) -> Iterator[bytes]:
    """Yield what is left of a stream."""
    while chunk := stream.read(CHUNK_BYTES):
        yield chunk


def write_file(path: Path, chunks: Iterator[bytes]) -> tuple[int, str]:
    """Write a new file that lasts through a power cut.

    Returns:
        (bytes, sha256 in hex).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    with path.open("xb") as file:
        for chunk in chunks:
            digest.update(chunk)
            size += len(chunk)
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    return size, digest.hexdigest()


@contextmanager
def _partial(target: Path) -> Iterator[Path]:
    """Yield the folder to write into; it takes its name when the block ends well, and is removed otherwise."""
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise Conflict(f"{target} is not empty.", "Name a folder that does not exist yet.")
    folder = target.with_name(f"{target.name}.partial")
    with typed_file_errors():
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(folder, os.O_RDONLY)
    try:
        _take(folder, descriptor)
        try:
            yield folder
            with typed_file_errors():
                for parent, _, _ in os.walk(folder):
                    sync_folder(Path(parent))
                folder.rename(target)
                sync_folder(target.parent)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    finally:
        os.close(descriptor)


def _take(folder: Path, descriptor: int) -> None:
    """Make the folder ours and empty; what an interrupted backup left in it goes."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise Conflict(f"Another backup is being written to {folder}.") from error
    strangers = {path.name for path in folder.iterdir()} - {
        DATABASE,
        f"{DATABASE}-journal",
        FILES,
        manifest.NAME,
    }
    if strangers:
        raise Conflict(
            f"{folder} holds something else ({min(strangers)}).", "Move it away, or name another folder."
        )
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _copy_database(live: sqlite3.Connection, target: Path) -> int:
    """Copy the database as of one moment, without keeping writers waiting, as one file that needs no other.

    Returns:
        Its size in bytes.
    """
    pages, page_bytes = (live.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
    _check_space(target.parent, pages * page_bytes)
    with closing(sqlite3.connect(target, isolation_level=None)) as copy:
        live.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")
        fault = copy.execute("PRAGMA quick_check(1)").fetchone()[0]
    if fault != "ok":
        raise StoreError(
            f"The studio's database is damaged: {fault}.",
            "Keep your older backups, and restore the newest of them.",
        )
    return target.stat().st_size


def _references(copy: sqlite3.Connection) -> Iterator[_Reference]:
    for row in copy.execute(
        "SELECT id, storage_bucket, storage_path, sha256 FROM datasets ORDER BY created_at, id"
    ):
        bucket, key = row["storage_bucket"], row["storage_path"]
        yield _Reference("datasets", row["id"], "", bucket, key, row["sha256"])
        issues = f"{key.rsplit('/', 1)[0]}/issues.jsonl"
        yield _Reference("datasets", row["id"], "", bucket, issues, "", optional=True)
    for row in copy.execute(
        "SELECT id, job_id, bucket, path, files FROM model_artifacts ORDER BY job_id, id"
    ):
        for file in from_json(row["files"]):
            key = f"{row['path']}/{file['name']}"
            yield _Reference("model_artifacts", row["id"], row["job_id"], row["bucket"], key, file["sha256"])


def _count(connection: sqlite3.Connection, table: str) -> int:
    count: int = connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    return count


def _stored_bytes(copy: sqlite3.Connection) -> int:
    query = "SELECT (SELECT coalesce(sum(bytes), 0) FROM datasets) + (SELECT coalesce(sum(bytes), 0) FROM model_artifacts)"
    total: int = copy.execute(query).fetchone()[0]
    return total


def _forget(copy: sqlite3.Connection, live: sqlite3.Connection, reference: _Reference) -> bool:
    """Take a row whose file is gone out of the copy, if the studio has deleted it since the copy was made.

    Returns:
        False if the studio still has the row: the file was lost, not deleted.
    """
    known = f"SELECT 1 FROM {reference.table} WHERE id = ?"
    if live.execute(known, (reference.id,)).fetchone() is not None:
        return False
    copy.execute(f"DELETE FROM {reference.table} WHERE id = ?", (reference.id,))
    if reference.job_id:
        job = "SELECT 1 FROM training_jobs WHERE id = ?"
        if live.execute(job, (reference.job_id,)).fetchone() is None:
            copy.execute("DELETE FROM training_jobs WHERE id = ?", (reference.job_id,))
    return True


def _entry(folder: Path, path: str) -> Entry:
    with (folder / path).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        os.fsync(file.fileno())
    return Entry(path=path, bytes=(folder / path).stat().st_size, sha256=digest.hexdigest())


def _check_space(folder: Path, needed_bytes: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed_bytes + RESERVE_BYTES:
        raise DiskFull(
            f"The backup needs {needed_bytes / 2**20:,.0f} MiB more and {free / 2**20:,.0f} MiB are free at {folder}.",
            "Free some, or name a folder on another disk.",
        )
