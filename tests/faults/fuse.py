"""Fuses: at which call of a runner's process something breaks, and how. Set from outside, through the environment.

A call is named by its point (`agent.py` has them); a fuse strikes at the `call`-th one whose arguments fit, before or after
it took effect, and leaves a mark in a folder that the test watches. Knows no runner.
"""

import errno
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from lora_core.errors import DiskFull, Unavailable

VARIABLE = "FAULT_FUSES"
"""Environment variable with the fuses; the product knows nothing of it."""

Does = Literal["die", "tear", "hold", "unavailable", "disk full", "store full", "damage"]
ENDLESS = 1_000_000


@dataclass(frozen=True)
class Fuse:
    """What breaks.

    Attributes:
        point: Name of the calls.
        does: `die` kills the process (SIGKILL), `tear` writes half and dies, `hold` waits until `mended`, the others raise
            what a store that is away, a full disk or a full store raises; `damage` returns other bytes.
        after: Strike when the call has taken effect, so that only its reply is lost.
        of: Text that the call's arguments must hold.
        call: At which of the fitting calls to strike first.
        times: How often to strike; ENDLESS for until mended.
    """

    point: str
    does: Does
    after: bool = False
    of: str = ""
    call: int = 1
    times: int = 1


class Board:
    """The fuses of one process. Safe for several threads.

    Args:
        folder: Where `struck-N` is left at the N-th strike, and `mended` is awaited.
        fuses: What breaks.
    """

    def __init__(self, folder: Path, fuses: Sequence[Fuse]) -> None:
        self._folder = folder
        self._seen = dict.fromkeys(fuses, 0)
        self._strikes = 0
        self._lock = threading.Lock()

    def around(self, point: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """Return the call with what strikes it."""

        def guarded(*arguments: Any, **named: Any) -> Any:
            fuse = self._striking(point, (arguments, named))
            if fuse is None:
                return work(*arguments, **named)
            if fuse.does == "tear":
                descriptor, content = arguments
                os.write(descriptor, content[: len(content) // 2])
                _die()
            if fuse.does == "damage":
                return bytes(len(work(*arguments, **named)))
            if not fuse.after:
                self._strike(fuse)
                return work(*arguments, **named)
            answer = work(*arguments, **named)
            self._strike(fuse)
            return answer

        return guarded

    def _striking(self, point: str, arguments: Any) -> Fuse | None:
        with self._lock:
            for fuse in self._seen:
                if fuse.point != point or (fuse.of and fuse.of not in repr(arguments)):
                    continue
                self._seen[fuse] += 1
                if fuse.call <= self._seen[fuse] < fuse.call + fuse.times and not self._mended():
                    self._strikes += 1
                    (self._folder / f"struck-{self._strikes}").touch()
                    return fuse
        return None

    def _mended(self) -> bool:
        return (self._folder / "mended").exists()

    def _strike(self, fuse: Fuse) -> None:
        if fuse.does == "die":
            _die()
        elif fuse.does == "hold":
            while not self._mended():
                time.sleep(0.02)
        elif fuse.does == "unavailable":
            raise Unavailable("The wire is cut.")
        elif fuse.does == "store full":
            raise DiskFull("There is not enough disk space.", "Free some.")
        else:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def to_environment(folder: Path, fuses: Sequence[Fuse]) -> dict[str, str]:
    """Return the variable that sets these fuses in a process."""
    return {VARIABLE: json.dumps({"folder": str(folder), "fuses": [asdict(fuse) for fuse in fuses]})}


def from_environment() -> Board:
    """Return the fuses that were set for this process."""
    found = json.loads(os.environ[VARIABLE])
    return Board(Path(found["folder"]), [Fuse(**fuse) for fuse in found["fuses"]])


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
