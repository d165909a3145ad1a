"""The run folder: the seam between a runner and its trainer. Files only; knows no store, no network, no torch.

Layout of one attempt: `spec.json` (written once), `events.jsonl` (append-only whole lines),
`request.json` (what the runner wants, replaced atomically), `checkpoints/`, `adapter/`, `train.log`, `lock`.
"""

import fcntl
import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lora_core.errors import Conflict
from lora_core.schema.base import utc_now
from lora_core.schema.run import EventKind, Request, RunEvent, RunSpec
from runner.disk import write_whole


class RunFolder:
    """Paths and documents of one attempt's folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.spec_file = root / "spec.json"
        self.events_file = root / "events.jsonl"
        self.request_file = root / "request.json"
        self.log_file = root / "train.log"
        self.lock_file = root / "lock"
        self.checkpoints = root / "checkpoints"
        self.adapter = root / "adapter"

    @classmethod
    def create(cls, root: Path, spec: RunSpec) -> Self:
        """Make the folder and write the spec.

        Raises:
            FileExistsError: The folder already holds a spec.
        """
        root.mkdir(parents=True, exist_ok=True)
        folder = cls(root)
        with folder.spec_file.open("x", encoding="utf-8") as file:
            file.write(spec.model_dump_json(indent=2))
        folder.checkpoints.mkdir(exist_ok=True)
        return folder

    def spec(self) -> RunSpec:
        """Read the spec."""
        return RunSpec.model_validate_json(self.spec_file.read_bytes())

    def write_request(self, request: Request) -> None:
        """Tell the trainer what is wanted; a newer request replaces an older one."""
        write_atomically(self.request_file, request.model_dump_json().encode())

    def read_request(self) -> Request | None:
        """Return the current request, or None."""
        try:
            return Request.model_validate_json(self.request_file.read_bytes())
        except FileNotFoundError:
            return None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for the life of a trainer; the kernel lets go when the process dies.

        Raises:
            Conflict: Another process holds it.
        """
        with self.lock_file.open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise Conflict(f"Another trainer is at work in {self.root}.") from error
            yield

    def is_locked(self) -> bool:
        """Say whether a trainer is alive in this folder."""
        if not self.lock_file.exists():
            return False
        try:
            with self.locked():
                return False
        except Conflict:
            return True


class EventWriter:
    """Appends events as whole lines. One write call a line, so a reader never sees half of one from a live trainer.

    On opening, `seq` goes on after the last whole line, and a torn last line (power cut, kill -9) is ended first.
    Not thread-safe.
    """

    def __init__(self, file: Path) -> None:
        self._seq = _last_seq(file)
        self._descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        if _is_torn(file):
            os.write(self._descriptor, b"\n")

    def write(self, kind: EventKind, /, **data: Any) -> int:
        """Append one event; numbers that are not finite move to `nonfinite` {field: nan|inf|-inf}.

        Returns:
            The event's `seq`.
        """
        self._seq += 1
        line = {"seq": self._seq, "at": utc_now().isoformat(), "kind": kind.value, "data": _finite(data)}
        content = json.dumps(line, ensure_ascii=False, allow_nan=False).encode() + b"\n"
        write_whole(self._descriptor, content, os.fstat(self._descriptor).st_size)
        return self._seq

    def close(self) -> None:
        """Flush to disk and close."""
        os.fsync(self._descriptor)
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class EventTail:
    """Reads events as they are appended, from a byte offset that the runner keeps on disk."""

    def __init__(self, file: Path, offset: int = 0) -> None:
        self._file = file
        self.offset = offset
        self.bad_lines = 0

    def read(self, limit: int = 1000) -> list[RunEvent]:
        """Return up to `limit` new events and move `offset` behind them; an unfinished last line is left for later.

        A line that is no event (torn by a crash) is counted in `bad_lines` and passed over.
        """
        events: list[RunEvent] = []
        try:
            stream = self._file.open("rb")
        except FileNotFoundError:
            return events
        with stream:
            stream.seek(self.offset)
            while len(events) < limit:
                line = stream.readline()
                if not line.endswith(b"\n"):
                    break
                self.offset += len(line)
                try:
                    events.append(RunEvent.model_validate_json(line))
                except ValueError:
                    self.bad_lines += bool(line.strip())
        return events


def write_atomically(path: Path, content: bytes, *, private: bool = False) -> None:
    """Replace a small file so that readers see the old or the new content, never half.

    Args:
        private: Nobody but the owner of the process may read it.
    """
    temporary = path.with_name(path.name + ".tmp")
    temporary.unlink(missing_ok=True)
    try:
        with os.fdopen(
            os.open(temporary, os.O_WRONLY | os.O_CREAT, 0o600 if private else 0o666), "wb"
        ) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def _finite(data: dict[str, Any]) -> dict[str, Any]:
    """Replace NaN and infinities, which JSON cannot hold, by None and name them in `nonfinite`."""
    strange = {
        key: str(value)
        for key, value in data.items()
        if isinstance(value, float) and not math.isfinite(value)
    }
    if not strange:
        return data
    known = data.get("nonfinite", {})
    return {**data, **dict.fromkeys(strange), "nonfinite": {**known, **strange}}


def _last_seq(file: Path) -> int:
    last = 0
    tail = EventTail(file)
    while events := tail.read():
        last = events[-1].seq
    return last


def _is_torn(file: Path) -> bool:
    with file.open("rb") as stream:
        if stream.seek(0, os.SEEK_END) == 0:
            return False
        stream.seek(-1, os.SEEK_END)
        return stream.read(1) != b"\n"
