"""`python -m tests.faults.agent`: the runner as it is, with fuses around what it calls. For the fault matrix only.

Points: the methods of its RunnerPort and TaskPort by their names; `read` (a piece of a file that is fetched), `journal` (a
write into the journal), `note` (a small file replaced, by its name), `folder` (the trainer's spec), `start` (the trainer),
`files` (the local store's copy of an artifact), `tidy` (a folder removed at an attempt's end).
"""

import dataclasses
import os
import sys
from typing import Any

import typer

import lora_core.store.local.database
import runner.__main__ as command
from lora_core.store.local.files import FileTree
from runner import attempt, disk, launching
from runner.ports import Ports, open_ports
from runner.processes import Child
from runner.run_folder import RunFolder
from tests.faults import trainer
from tests.faults.fuse import Board, from_environment

BUSY_SECONDS = 0.2
"""How long this runner waits for the lock of its database, so that a test need not hold it for long."""


class _Wired:
    """Something whose methods are behind the board; those in `named` have another name there."""

    def __init__(self, inner: Any, board: Board, **named: str) -> None:
        self._inner, self._board, self._named = inner, board, named

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        return self._board.around(self._named.get(name, name), found) if callable(found) else found


class _WiredFile(_Wired):
    """A file that is being fetched."""

    def __enter__(self) -> "_WiredFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._inner.close()


class _WiredPort(_Wired):
    """A RunnerPort; the files it opens are behind the board too."""

    def __getattr__(self, name: str) -> Any:
        method = super().__getattr__(name)
        if name not in ("open_dataset", "open_artifact"):
            return method
        return lambda *arguments: _WiredFile(method(*arguments), self._board)


def main() -> None:
    """Put the fuses in and run."""
    board = from_environment()
    lora_core.store.local.database.BUSY_SECONDS = BUSY_SECONDS

    def wired_ports(*arguments: Any, **named: Any) -> Ports:
        ports = open_ports(*arguments, **named)
        return dataclasses.replace(
            ports, jobs=_WiredPort(ports.jobs, board), tasks=_Wired(ports.tasks, board)
        )

    command.open_ports = wired_ports
    disk.os = _Wired(os, board, write="journal")
    attempt.remove_run = board.around("tidy", attempt.remove_run)
    for name, module in list(sys.modules.items()):
        if name.startswith("runner.") and hasattr(module, "write_atomically"):
            module.write_atomically = board.around("note", module.write_atomically)
    RunFolder.create = board.around("folder", RunFolder.create)
    Child.start = board.around("start", Child.start)
    launching.python_command = trainer.command
    FileTree.put_folder = board.around("files", FileTree.put_folder)
    typer.run(command.main)


if __name__ == "__main__":
    main()
