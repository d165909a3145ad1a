"""What the owner of an embedded studio does for a bad day: back up, check a backup, restore. Knows no team."""

from collections.abc import Callable
from pathlib import Path

from lora_core import __version__
from lora_core.errors import Conflict
from lora_core.schema.base import utc_now
from lora_core.settings import Settings
from lora_core.store.local.backup import BackupReport, write_backup
from lora_core.store.local.restore import RestoreReport, check_backup, restore_backup

__all__ = ["BackupReport", "RestoreReport", "back_up_studio", "check_studio_backup", "restore_studio"]

Progress = Callable[[int, int], None]
"""Told (bytes done, bytes in all) now and then."""


def back_up_studio(
    settings: Settings, folder: Path, progress: Progress = lambda _d, _t: None
) -> BackupReport:
    """Copy the embedded studio into a new folder; app and runner may go on meanwhile.

    Raises:
        NotFound: There is no studio under LORA_STUDIO_HOME.
        Conflict: The folder is not empty, or is the studio's own.
        DiskFull: Not enough space.
        StoreError: The studio's database is damaged.
    """
    target = folder.expanduser().resolve()
    if target == settings.root or target.is_relative_to(settings.files):
        raise Conflict(f"{target} is the studio's own folder.", "Name another one, best on another disk.")
    return write_backup(
        settings.database,
        settings.files,
        target,
        studio_version=__version__,
        made_at=utc_now(),
        progress=progress,
    )


def check_studio_backup(folder: Path, progress: Progress = lambda _d, _t: None) -> RestoreReport:
    """Read a whole backup and compare it with its own list of files; changes nothing.

    Raises:
        NotFound: The folder is no backup.
        StoreError: It is damaged, or from a newer version of the studio.
    """
    return check_backup(folder.expanduser().resolve(), progress)


def restore_studio(
    settings: Settings, folder: Path, *, replace: bool = False, progress: Progress = lambda _d, _t: None
) -> RestoreReport:
    """Put a backup in place of the studio under LORA_STUDIO_HOME, which nobody may be using.

    Args:
        replace: Set the studio that is there aside; it is kept in a folder of the home.

    Raises:
        NotFound: The folder is no backup.
        Conflict: The home is in use, or there is a studio and `replace` is not set.
        StoreError: The backup is damaged, or from a newer version of the studio.
        DiskFull: Not enough space.
    """
    source = folder.expanduser().resolve()
    return restore_backup(source, settings.root, replace=replace, now=utc_now(), progress=progress)
