"""What to say when a disk is full, and a little room kept for that moment. Knows no job."""

import errno
import os
import secrets
import shutil
from pathlib import Path

from lora_core.errors import DiskFull

RESERVE_BYTES = 4 * 2**20
"""Kept in each run folder and given back when the disk is full: what the trainer has said can still be passed on."""

FULL = {errno.ENOSPC, errno.EDQUOT}


def is_full(error: BaseException | None) -> bool:
    """Say whether an error means that the disk, or this user's share of it, is full."""
    while error is not None:
        if isinstance(error, DiskFull) or (isinstance(error, OSError) and error.errno in FULL):
            return True
        error = error.__cause__
    return False


def disk_is_full(root: Path, home: Path) -> DiskFull:
    """Return the error that says how much is free, where, and what may be removed.

    Args:
        root: The folder that could not be written.
        home: Home folder of the studio on this machine.
    """
    return DiskFull(
        f"The disk of the runner's machine is full: {_free(root)} at {root}.",
        f"Make room there ({home}/models holds base models, {home}/cache copies of data sets, {root.parent.parent} the "
        "folders of failed attempts; all may be removed while no job runs), then try again: it goes on from the last "
        "checkpoint.",
    )


def keep_reserve(root: Path) -> None:
    """Set the reserve aside; where there is no room for it, there is none."""
    file = root / "reserve"
    try:
        if not file.exists():
            file.write_bytes(secrets.token_bytes(RESERVE_BYTES))  # some disks take zeros for nothing
    except OSError:
        file.unlink(missing_ok=True)


def give_back_reserve(root: Path, *, trains: bool = False) -> None:
    """Make room: the reserve, and what is only half written.

    Args:
        trains: A trainer is at work: the checkpoint that it is writing may well become whole, and stays.
    """
    halves = [*root.rglob("*.part"), *([] if trains else root.glob("checkpoints/*.tmp"))]
    for path in (root / "reserve", *halves):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def write_whole(descriptor: int, content: bytes, size: int) -> None:
    """Append to a file, or leave it as it was: a disk that fills up takes the first half of a line and says nothing.

    Args:
        size: Size of the file before, in bytes.

    Raises:
        OSError: It was not written.
    """
    try:
        written = os.write(descriptor, content)
        while written < len(content):
            written += os.write(descriptor, content[written:])
    except OSError:
        os.ftruncate(descriptor, size)
        raise


def _free(root: Path) -> str:
    try:
        usage = shutil.disk_usage(root)
    except OSError:
        return "nothing is known of what is free"
    return f"{usage.free / 1e9:.2f} of {usage.total / 1e9:.1f} GB are free"
