"""Lays a sample of an older version out in a folder, as that version left it there."""

import shutil
import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path

from tests.upgrades.make_samples import ROOT

SAMPLES = Path(__file__).parent / "samples"
STUDIOS = sorted(path.name for path in SAMPLES.glob("studio-*"))


def lay_out_studio(name: str, home: Path) -> None:
    """Make the home of a studio."""
    sample = SAMPLES / name
    home.mkdir()
    with closing(sqlite3.connect(home / "studio.sqlite3")) as connection:
        connection.executescript((sample / "studio.sql").read_text(encoding="utf-8"))
    with tarfile.open(sample / "files.tar.gz") as archive:
        archive.extractall(home, filter="data")
    _move(home / "runs", f"{ROOT}/home", home)


def lay_out_run(name: str, folder: Path) -> Path:
    """Make the run folder of a trainer, with its data beside it."""
    shutil.copytree(SAMPLES / name, folder)
    _move(folder, f"{ROOT}/train", folder)
    return folder


def _move(folder: Path, before: str, now: Path) -> None:
    """Let the files of runs name the place where they are now. What was stored has sums, and stays as it is."""
    for file in folder.rglob("*.json*"):
        file.write_text(file.read_text(encoding="utf-8").replace(before, str(now)), encoding="utf-8")
