"""The run folders of a machine: made, signed, remembered for the next agent, found again, and tidied up. Knows no store.

Several agents may share a home: what another one removes at the same moment is left out, not an error.
"""

import os
import shutil
import time
from contextlib import suppress
from pathlib import Path

from lora_core.schema.base import Frozen
from lora_core.schema.job import EndOfAttempt
from lora_core.schema.runner import Claim
from runner.run_folder import write_atomically

MAKE_TRIES = 20
"""How often a run folder is made anew where another agent removes its parent at the same moment."""

FORGOTTEN_SECONDS = 3600.0
"""A folder that is so old and says neither whose it is nor that it has ended is of an agent that died while it made it."""


class Origin(Frozen):
    """Where an attempt is at work: on which machine, and since which start of it. Empty where that cannot be told."""

    machine: str = ""
    boot: str = ""

    def is_elsewhere(self, here: "Origin") -> bool:
        """Say whether this is surely another machine than the one we are on."""
        return bool(self.machine and here.machine and self.machine != here.machine)

    def has_restarted(self, here: "Origin") -> bool:
        """Say whether the machine was surely started anew since.

        >>> Origin(boot="a").has_restarted(Origin(boot="b")), Origin().has_restarted(Origin(boot="b"))
        (True, False)
        """
        return bool(self.boot and here.boot and self.boot != here.boot)


UNKNOWN = Origin()


def make_folder(root: Path) -> None:
    """Make a run folder, though another agent may just be removing its empty parent."""
    for _ in range(MAKE_TRIES):
        with suppress(FileNotFoundError):
            root.mkdir(parents=True, exist_ok=True)
            return
    root.mkdir(parents=True, exist_ok=True)


def sign(root: Path, here: Origin) -> Origin:
    """Leave a note of where and since when this attempt is at work here.

    Returns:
        What the last agent noted; empty if there was none.
    """
    file = root / "origin.json"
    before = origin_of(root)
    if before != here:
        write_atomically(file, here.model_dump_json().encode())
    return before


def origin_of(root: Path) -> Origin:
    """Return where a run folder was made."""
    try:
        return Origin.model_validate_json((root / "origin.json").read_bytes())
    except (OSError, ValueError):
        return Origin()


def remember(claim: Claim, root: Path) -> None:
    """Keep the claim for the next agent. Nobody else may read it: in a team it holds the job's token."""
    write_atomically(root / "claim.json", claim.model_dump_json().encode(), private=True)


def recall(root: Path) -> Claim | None:
    """Return the claim of a run folder whose attempt has not ended; None if there is nothing we could take up."""
    try:
        if (root / "ended").exists():
            return None
        return Claim.model_validate_json((root / "claim.json").read_bytes())
    except (OSError, ValueError):
        return None


def note_end(root: Path, end: EndOfAttempt) -> None:
    """Keep the outcome before the store is told: whoever finds it tells it again, and does nothing else any more."""
    with suppress(OSError):  # a full disk; the next agent judges anew then
        write_atomically(root / "end.json", end.model_dump_json().encode())


def noted_end(root: Path) -> EndOfAttempt | None:
    """Return the outcome that an earlier agent was about to tell, or has told, the store."""
    try:
        return EndOfAttempt.model_validate_json((root / "end.json").read_bytes())
    except (FileNotFoundError, ValueError):
        return None


def mark_ended(claim: Claim, root: Path, outcome: str) -> None:
    """Let nobody take this attempt up any more, however full the disk is."""
    try:
        write_atomically(root / "ended", outcome.encode())
        remember(claim.model_copy(update={"job_token": ""}), root)  # it has no use any more
    except OSError:
        with suppress(OSError):
            (root / "claim.json").unlink(missing_ok=True)


def remove_run(root: Path) -> None:
    """Remove a run folder. The claim goes first: who looks meanwhile finds nothing to take up."""
    with suppress(OSError):
        (root / "claim.json").unlink(missing_ok=True)
    shutil.rmtree(root, ignore_errors=True)


def clear_remains(root: Path) -> None:
    """Empty the folder of a new attempt, but for its lock: a store that was restored counts its attempts from an earlier one."""
    for path in root.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != "agent.lock":
            path.unlink()


def run_folders(runs: Path) -> list[Path]:
    """Return the folders of all attempts on this machine."""
    return [attempt for job in _folders(runs) for attempt in _folders(job)]


def untended(runs: Path, ours: set[Path]) -> list[tuple[Path, Claim]]:
    """Return attempts that have not ended, but for those we know of. Whether another agent is at work there, its lock tells."""
    known = [(folder, recall(folder)) for folder in run_folders(runs) if folder not in ours]
    return [(folder, claim) for folder, claim in known if claim is not None]


def prune_runs(runs: Path, keep: int) -> None:
    """Remove folders of ended attempts but the newest `keep`, folders that nobody knows, and empty folders of jobs."""
    ended: list[tuple[float, Path]] = []
    for folder in run_folders(runs):
        with suppress(OSError):
            if _is_nobodys(folder):
                shutil.rmtree(folder, ignore_errors=True)
            ended.append(((folder / "ended").stat().st_mtime, folder))
    for _, folder in sorted(ended, reverse=True)[keep:]:
        remove_run(folder)
    for folder in _folders(runs):
        with suppress(OSError):  # not empty, or gone
            folder.rmdir()


def _is_nobodys(folder: Path) -> bool:
    named = (folder / "claim.json").exists() or (folder / "ended").exists()
    return not named and time.time() - folder.stat().st_mtime > FORGOTTEN_SECONDS


def _folders(parent: Path) -> list[Path]:
    try:
        with os.scandir(parent) as entries:
            return sorted(Path(entry.path) for entry in entries if entry.is_dir())
    except OSError:
        return []
