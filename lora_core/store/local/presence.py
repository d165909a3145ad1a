"""Who is at work in a home: every open store holds a shared lock, a restore the exclusive one. Knows no table.

A restore that was cut off after its point of no return is finished here, by whoever opens the home next.
"""

import fcntl
import os
import shutil
import time
from pathlib import Path
from weakref import finalize

from lora_core.errors import Conflict, Unavailable
from lora_core.schema.base import utc_now
from lora_core.store.local.files import sync_folder

LOCK_FILE = "in-use.lock"
PARTIAL = "restore.partial"
"""What a restore has copied so far; of no worth once the restore is gone."""

STAGED = "restore.staged"
"""A whole studio under `new/`, waiting to take the place of what is there, which goes to `old/`."""

DATABASE = "studio.sqlite3"
FILES = "files"
_WITH_DATABASE = (f"{DATABASE}-wal", f"{DATABASE}-shm", DATABASE, "runs")
"""What belongs to one database. Models, caches and the names of runners belong to the machine and stay."""

_WAIT_SECONDS = 2.0


class Presence:
    """A lock on a home, held until `leave` or until this object or its process is gone."""

    def __init__(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._descriptor = os.open(root / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
        self._close = finalize(self, os.close, self._descriptor)

    def lock(self, mode: int) -> bool:
        """Take the lock if it is free; a lock that is held changes its mode."""
        try:
            fcntl.flock(self._descriptor, mode | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def leave(self) -> None:
        """Give the lock back. Leaving again does nothing."""
        self._close()


def enter(root: Path) -> Presence:
    """Work in a home beside others; what an earlier restore left over is dealt with first.

    Raises:
        Unavailable: A backup is being restored into it.
    """
    presence = Presence(root)
    deadline = time.monotonic() + _WAIT_SECONDS
    while True:
        if _is_left_over(root):
            if presence.lock(fcntl.LOCK_EX):
                finish_restore(root)
        elif presence.lock(fcntl.LOCK_SH):
            return presence
        if time.monotonic() > deadline:
            presence.leave()
            raise Unavailable(
                f"A backup is being restored into {root}.", "Try again when the restore is done."
            )
        time.sleep(0.02)


def enter_alone(root: Path) -> Presence:
    """Work in a home with nobody else in it: no open store, no runner, no trainer that outlived its runner.

    Raises:
        Conflict: Somebody is at work there.
    """
    presence = Presence(root)
    others = (*root.glob("runners/*.id"), *root.glob("runs/*/*/lock"))
    if not presence.lock(fcntl.LOCK_EX) or not all(map(_is_free, others)):
        presence.leave()
        raise Conflict(
            f"The studio in {root} is in use by an app, a runner or another command.",
            "Stop it first (Ctrl-C where it was started), then try again.",
        )
    return presence


def finish_restore(root: Path) -> Path | None:
    """Put a staged studio in its place. Whatever step an earlier call was cut off at, the result is the same.

    Returns:
        The folder that holds the studio that was there before, or None if there was none.
    """
    shutil.rmtree(root / PARTIAL, ignore_errors=True)
    staged = root / STAGED
    if not staged.exists():
        return None
    new, old = staged / "new", staged / "old"
    old.mkdir(exist_ok=True)
    for name, leaving in ((FILES, (FILES,)), (DATABASE, _WITH_DATABASE)):
        if (new / name).exists():  # else an earlier call has put it in its place
            for part in leaving:
                if (root / part).exists():
                    (root / part).rename(old / part)
            (new / name).rename(root / name)
    sync_folder(root)
    aside = None
    if any(old.iterdir()):
        aside = root / f"replaced-{utc_now():%Y%m%d-%H%M%S-%f}"
        old.rename(aside)
    shutil.rmtree(staged)
    sync_folder(root)
    return aside


def _is_left_over(root: Path) -> bool:
    return (root / PARTIAL).exists() or (root / STAGED).exists()


def _is_free(lock_file: Path) -> bool:
    """Say whether no process holds this lock."""
    with lock_file.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True
