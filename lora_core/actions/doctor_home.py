"""Looks over the studio's home: database, key, disk, run folders, trainers. It changes nothing, not even an old schema."""

import fcntl
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import psutil

from lora_core.actions.findings import Finding
from lora_core.errors import ConfigError, StudioError
from lora_core.notify import route_seal
from lora_core.schema.runner import Claim
from lora_core.settings import Settings
from lora_core.store.local.about import DatabaseAbout, SealedAddress, look_at
from lora_core.vault import KEY_FILE, Unreadable, Vault, open_vault

MIN_FREE_GB = 5.0
CHECKPOINT_COPIES = 3
"""A new checkpoint lies in the run folder beside the one before it, and is copied into the studio's files."""

_ADD_ANEW = (
    "Set LORA_STUDIO_ENCRYPTION_KEY (or secret.key) to what it was, or remove these routes and add them anew."
)
_TRAINERS = ("runner.train", "runner.scripted")


def examine_home(settings: Settings) -> list[Finding]:
    """Return what was found about the home. In a team the jobs are elsewhere; the home still holds runs and a key."""
    findings = [_home(settings)]
    about: DatabaseAbout | None = None
    if not settings.team:
        try:
            about = look_at(settings.database)
        except StudioError as error:
            findings.append(Finding("error", "Database", error.message, error.next_step))
        else:
            findings.append(_database(about))
    addresses = about.addresses if about is not None else ()
    largest = about.largest_checkpoint_bytes if about is not None else 0
    return [
        *findings,
        _key(settings, addresses),
        _disk(settings.root, largest),
        _run_folders(settings, about),
        _trainers(settings),
    ]


def _home(settings: Settings) -> Finding:
    if not os.access(_nearest(settings.root), os.W_OK):
        return Finding(
            "error", "Home folder", str(settings.root), "Set LORA_STUDIO_HOME to a folder you may write to."
        )
    return Finding("ok", "Home folder", str(settings.root))


def _database(about: DatabaseAbout | None) -> Finding:
    if about is None or not about.version:
        return Finding("ok", "Database", "none yet: it is made at the first start")
    if about.version > about.newest:
        return Finding(
            "error",
            "Database",
            f"schema {about.version}; this version of LoRA Studio knows {about.newest} at most",
            "Update LoRA Studio, or set LORA_STUDIO_HOME to another folder.",
        )
    if about.version < about.newest:
        return Finding(
            "warning",
            "Database",
            f"schema {about.version}; this version has {about.newest}",
            "The next start of the app or a runner brings it up to date and keeps a copy of the old one.",
        )
    return Finding("ok", "Database", f"schema {about.version}, the newest")


def _key(settings: Settings, addresses: Sequence[SealedAddress]) -> Finding:
    """Say whether what is stored encrypted can be opened here. No key is made: that is for whoever stores something."""
    what = "Encryption key"
    given = settings.encryption_key.get_secret_value().strip()
    if not given and settings.team:
        return Finding(
            "warning",
            what,
            "none: notification addresses can be neither kept nor used here",
            "Set LORA_STUDIO_ENCRYPTION_KEY to the same value for the app and for the runners that send (docs/notifications.md).",
        )
    if not given and not (settings.root / KEY_FILE).exists():
        if addresses:
            return Finding("error", what, f"none, but {_counted(addresses)} are stored encrypted", _ADD_ANEW)
        return Finding("ok", what, "none needed yet")
    try:
        vault = open_vault(settings)
    except ConfigError as error:
        return Finding("error", what, error.message, error.next_step)
    closed = [address for address in addresses if not _opens(vault, address)]
    if closed:
        return Finding("error", what, f"opens all but {len(closed)} of {_counted(addresses)}", _ADD_ANEW)
    where = "given" if given else f"in {KEY_FILE}"
    return Finding("ok", what, f"{where}, opens {_counted(addresses)}" if addresses else f"{where}, valid")


def _counted(addresses: Sequence[SealedAddress]) -> str:
    return f"{len(addresses)} notification address{'es' if len(addresses) != 1 else ''}"


def _opens(vault: Vault, address: SealedAddress) -> bool:
    try:
        vault.open(address.sealed, route_seal(address.user_id, address.route_id))
    except Unreadable:
        return False
    return True


def _disk(root: Path, largest_checkpoint_bytes: int) -> Finding:
    free = shutil.disk_usage(_nearest(root)).free
    found = f"{free / 1e9:.1f} GB free"
    needed = CHECKPOINT_COPIES * largest_checkpoint_bytes
    if free < needed:
        return Finding(
            "error",
            "Disk",
            f"{found}, but a checkpoint like the largest one so far needs {needed / 1e9:.1f} GB",
            "Free some space: delete old jobs with their files, or unpin checkpoints.",
        )
    if free < MIN_FREE_GB * 1e9:
        return Finding(
            "warning",
            "Disk",
            found,
            f"Free some space: a small model and its checkpoints need {MIN_FREE_GB:.0f} GB.",
        )
    return Finding("ok", "Disk", found)


def _run_folders(settings: Settings, about: DatabaseAbout | None) -> Finding:
    """Say what runs have left behind: ended ones are kept on purpose, those of attempts that nobody holds are left over."""
    folders = _attempts(settings.runs)
    open_ones = [folder for folder in folders if not (folder / "ended").exists()]
    unread = [folder for folder in open_ones if not _is_claim(folder / "claim.json")]
    left = [folder for folder in open_ones if about is not None and _key_of(folder) not in about.held]
    if unread:
        return Finding(
            "warning",
            "Run folders",
            f"{len(unread)} without a claim that this version can read: {_named(unread)}",
            "They may be a newer version's: start that one. If nobody needs them, delete them.",
        )
    if left:
        return Finding(
            "warning",
            "Run folders",
            f"{len(left)} of attempts that ended elsewhere: {_named(left)}",
            "Start a runner (`python -m runner`): it delivers what may still be delivered, and tidies up.",
        )
    return Finding("ok", "Run folders", f"{len(open_ones)} at work, {len(folders) - len(open_ones)} kept")


def _trainers(settings: Settings) -> Finding:
    """Find trainers at work in a folder that no runner tends."""
    alone = [folder for folder in _folders_at_work(settings.runs) if not _is_tended(folder)]
    if alone:
        return Finding(
            "warning",
            "Trainers",
            f"{len(alone)} at work without a runner: {_named(alone)}",
            "Start a runner (`python -m runner`): it takes them up, and what they did meanwhile is not lost.",
        )
    return Finding("ok", "Trainers", "none is left without a runner")


def _folders_at_work(runs: Path) -> list[Path]:
    found: set[Path] = set()
    for process in psutil.process_iter():
        try:
            command = process.cmdline()
        except psutil.Error:
            continue
        if any(module in command for module in _TRAINERS):
            found |= {Path(part) for part in command if Path(part).parent.parent == runs}
    return sorted(found)


def _is_tended(folder: Path) -> bool:
    """Say whether a runner holds the folder."""
    try:
        with (folder / "agent.lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _attempts(runs: Path) -> list[Path]:
    return sorted(folder for folder in runs.glob("*/*") if folder.is_dir())


def _is_claim(file: Path) -> bool:
    try:
        Claim.model_validate_json(file.read_bytes())
    except (OSError, ValueError):
        return False
    return True


def _key_of(folder: Path) -> tuple[str, int]:
    return folder.parent.name, int(folder.name) if folder.name.isdecimal() else 0


def _named(folders: Sequence[Path]) -> str:
    shown = ", ".join(f"runs/{folder.parent.name[:8]}…/{folder.name}" for folder in folders[:3])
    return f"{shown} and more" if len(folders) > 3 else shown


def _nearest(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that is there."""
    while not folder.exists():
        folder = folder.parent
    return folder
