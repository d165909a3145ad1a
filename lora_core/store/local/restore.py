"""Puts a backup into a home: copied and checked beside what is there, settled, and only then put in its place.

Until everything has been checked nothing of the home changes. A restore that is cut off leaves the studio as it was, or,
once all is staged, is finished by whoever opens the home next (`presence.py`).
"""

import hashlib
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from lora_core.errors import Conflict, DiskFull, Forbidden, StoreError
from lora_core.schema.job import EndOfAttempt, Outcome
from lora_core.store.local import manifest
from lora_core.store.local.backup import Progress, read_chunks, write_file
from lora_core.store.local.database import Database, typed_errors
from lora_core.store.local.fencing import get_holder
from lora_core.store.local.files import RESERVE_BYTES, FileTree, sync_folder, typed_file_errors
from lora_core.store.local.leases import end_attempt
from lora_core.store.local.manifest import NEXT_STEP, Ending, Entry, Header
from lora_core.store.local.migrations import migrate, newest_schema
from lora_core.store.local.presence import DATABASE, FILES, PARTIAL, STAGED, enter_alone, finish_restore
from lora_core.store.local.rows import stamp


@dataclass(frozen=True)
class RestoreReport:
    """What was put where.

    Attributes:
        ended: Names of jobs that a runner held when the backup was made; they wait in the queue, or are paused or
            cancelled where that had been asked for.
        set_aside: Folder with the studio that was there before, or None.
    """

    header: Header
    ending: Ending
    ended: tuple[str, ...] = ()
    set_aside: Path | None = None


def check_backup(folder: Path, progress: Progress = lambda _done, _total: None) -> RestoreReport:
    """Read every file of a backup and compare it with the manifest. Writes nothing.

    Raises:
        NotFound: The folder is no backup.
        StoreError: It is damaged, or from a newer version of the studio.
    """
    header, ending = _read_header(folder), manifest.read_ending(folder)
    done = 0
    for entry in manifest.read_entries(folder):
        with _open(folder, entry) as file:
            digest, size = hashlib.sha256(), 0
            for chunk in read_chunks(file):
                digest.update(chunk)
                size += len(chunk)
        _compare(entry, size, digest.hexdigest())
        done += entry.bytes
        progress(done, ending.bytes)
    return RestoreReport(header, ending)


def restore_backup(
    folder: Path,
    root: Path,
    *,
    replace: bool,
    now: datetime,
    progress: Progress = lambda _done, _total: None,
) -> RestoreReport:
    """Put a backup into a home that nobody uses.

    Args:
        folder: What `write_backup` made.
        root: Home of the studio.
        replace: Set a studio that is there aside (in a folder of the home); without it, it is in the way.

    Raises:
        NotFound: The folder is no backup.
        Conflict: The home is in use, or has a studio and `replace` is not set.
        StoreError: The backup is damaged, or from a newer version of the studio.
        DiskFull: Not enough space.
    """
    header, ending = _read_header(folder), manifest.read_ending(folder)
    presence = enter_alone(root)
    try:
        finish_restore(root)
        if not replace and _has_studio(root):
            raise Conflict(
                f"There is a studio in {root}.",
                "Restore with --replace to set it aside, or choose another home.",
            )
        _check_space(root, ending.bytes)
        with typed_errors(), typed_file_errors():
            try:
                ended = _stage(folder, header, ending, root / PARTIAL, now, progress)
                (root / PARTIAL).rename(root / STAGED)
            except BaseException:
                shutil.rmtree(root / PARTIAL, ignore_errors=True)
                raise
            return RestoreReport(header, ending, ended, finish_restore(root))
    finally:
        presence.leave()


def _stage(
    folder: Path, header: Header, ending: Ending, partial: Path, now: datetime, progress: Progress
) -> tuple[str, ...]:
    """Make a whole studio out of a backup under `<partial>/new`.

    Returns:
        Names of the jobs that a runner held.
    """
    new = partial / "new"
    new.mkdir(parents=True, mode=0o700)
    (partial / "old").mkdir()
    rule = FileTree(new / FILES, max_object_bytes=0)
    done = 0
    for entry in manifest.read_entries(folder):
        target = _target(rule, new, entry)
        with _open(folder, entry) as file:
            try:
                written = write_file(target, read_chunks(file))
            except (FileExistsError, NotADirectoryError) as error:
                raise StoreError(f"The backup lists {entry.path} twice.", NEXT_STEP) from error
        _compare(entry, *written)
        done += entry.bytes
        progress(done, ending.bytes)
    if not (new / DATABASE).exists():
        raise StoreError("The backup has no database.", NEXT_STEP)
    ended = _settle(new / DATABASE, header, now)
    for name in (f"{DATABASE}-wal", f"{DATABASE}-shm"):
        if (new / name).exists():
            raise StoreError("The restored database could not be closed.", "Try again.")
    for path in new.iterdir():
        if path.name not in {DATABASE, FILES}:  # the lock and the copy that migrations make
            path.unlink()
    for parent, _, _ in os.walk(partial):
        sync_folder(Path(parent))
    return ended


def _settle(path: Path, header: Header, now: datetime) -> tuple[str, ...]:
    """Bring a restored database to today's schema and end what nobody is at work on any more."""
    with closing(sqlite3.connect(path)) as connection:
        number = connection.execute("PRAGMA user_version").fetchone()[0]
    if number != header.schema_number:
        raise StoreError("The backup's database is not the one its list of files describes.", NEXT_STEP)
    migrate(path)
    reason = f"Restored from the backup of {header.made_at:%Y-%m-%d %H:%M} UTC."
    database = Database(path)
    try:
        with database.write() as connection:
            held = connection.execute(
                "SELECT job_id, number FROM job_attempts WHERE ended_at IS NULL"
            ).fetchall()
            names = []
            for row in held:
                holder = get_holder(connection, row["job_id"], row["number"])
                end = EndOfAttempt(outcome=Outcome.RELEASED, reason=reason)
                end_attempt(connection, holder, end, now, actor="system")
                names.append(holder["name"])
            connection.execute(
                "UPDATE tasks SET status = 'waiting', runner_id = NULL, lease_until = NULL, updated_at = ?"
                " WHERE status = 'running'",
                (stamp(now),),
            )
            connection.execute("DELETE FROM runners")  # those that live announce themselves again
    finally:
        database.close()
    return tuple(names)


def _read_header(folder: Path) -> Header:
    header = manifest.read_header(folder)
    if header.schema_number > newest_schema():
        raise StoreError(
            f"The backup was made by LoRA Studio {header.studio_version}; its database has schema {header.schema_number},"
            f" this version knows {newest_schema()} at most.",
            "Update LoRA Studio.",
        )
    return header


def _target(rule: FileTree, new: Path, entry: Entry) -> Path:
    if entry.path == DATABASE:
        return new / DATABASE
    top, bucket, key = (*entry.path.split("/", 2), "", "")[:3]
    with suppress(Forbidden):
        if top == FILES:
            return rule.path(bucket, key)
    raise StoreError(f"{entry.path[:200]!r} is no file of a studio.", NEXT_STEP)


def _open(folder: Path, entry: Entry) -> BinaryIO:
    """Open a file of the backup; a link could lead anywhere, so there are none."""
    path = folder / entry.path
    try:
        if not path.resolve(strict=True).is_relative_to(folder.resolve()) or _links(folder, path):
            raise StoreError(f"{entry.path} in the backup is a link.", NEXT_STEP)
        return path.open("rb")
    except OSError as error:
        raise StoreError(f"{entry.path} is missing in the backup.", NEXT_STEP) from error


def _links(folder: Path, path: Path) -> bool:
    return any(part.is_symlink() for part in _parts(folder, path))


def _parts(folder: Path, path: Path) -> Iterator[Path]:
    while path != folder:
        yield path
        path = path.parent


def _compare(entry: Entry, size: int, sha256: str) -> None:
    if (size, sha256) != (entry.bytes, entry.sha256):
        raise StoreError(f"{entry.path} in the backup is damaged: it is not what was backed up.", NEXT_STEP)


def _has_studio(root: Path) -> bool:
    files = root / FILES
    return (root / DATABASE).exists() or (files.exists() and any(files.glob("[!.]*")))


def _check_space(root: Path, needed_bytes: int) -> None:
    free = shutil.disk_usage(root).free
    if free < needed_bytes + RESERVE_BYTES:
        raise DiskFull(
            f"The studio in the backup needs {needed_bytes / 2**20:,.0f} MiB; {free / 2**20:,.0f} MiB are free at {root}.",
            "Free some, or set LORA_STUDIO_HOME to another disk.",
        )
