"""Brings an attempt's files into the store, in order, off the agent's loop, until it works or cannot work.

What is stored is noted in `uploads.json`, so that the next agent goes on where this one died. Ids follow from what an
artifact is: storing one again after a lost reply is the same row, not a second one.
"""

import json
import logging
import math
import os
import shutil
import time
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from lora_core.errors import Conflict, DiskFull, Forbidden, NotFound, TooLarge, Unavailable
from lora_core.schema.artifact import Artifact, ArtifactKind
from lora_core.schema.base import utc_now
from lora_core.schema.job import Job
from lora_core.store.base import RunnerPort
from runner.calls import Backoff, Call
from runner.disk import is_full
from runner.run_folder import RunFolder, write_atomically

log = logging.getLogger(__name__)

TRIES = 5
"""How often a fault that is neither the store's absence nor final is tried again."""


@dataclass(frozen=True)
class _Put:
    """An artifact on its way into the store; `prepare` returns the folder with its files.

    It waits until the store has confirmed the journal up to the byte `after`.
    """

    artifact: Artifact
    prepare: Callable[[], Path]
    source: Path
    after: int = 0


class _Stored(TypedDict):
    """What is in the store: the artifact's id (empty once dropped) and the folder it was made from, for checkpoints."""

    id: str
    path: str


@dataclass(frozen=True)
class _Drop:
    """A rotated checkpoint on its way out of the store."""

    name: str


class Uploads:
    """The queue of one attempt's artifacts. Ticks start and end calls; only the call itself runs on another thread.

    Args:
        port: Where artifacts go.
        job: Whose they are.
        attempt: Number of the attempt.
        folder: Its run folder.
        wake: Called when a call has ended.
        clock: Seconds, for the pauses between tries.

    Attributes:
        news: What was stored since and what could not be, as (text, level) of log lines.
        failed: What could not be stored, by name, in words.
        failed_for_good: Trying again later would not help.
        conflict: The store takes nothing from this attempt any more.
    """

    def __init__(
        self,
        port: RunnerPort,
        job: Job,
        attempt: int,
        folder: RunFolder,
        wake: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._port = port
        self._job = job
        self._attempt = attempt
        self._folder = folder
        self._staging = folder.root / "staging"
        shutil.rmtree(self._staging, ignore_errors=True)
        self._record = folder.root / "uploads.json"
        self._stored: dict[str, _Stored] = self._read_record()
        self._queue: deque[_Put | _Drop] = deque()
        self._call: Call[Artifact | None] = Call(wake)
        self._backoff = Backoff(clock=clock)
        self.news: list[tuple[str, str]] = []
        self.failed: dict[str, str] = {}
        self.failed_for_good = False
        self.conflict = False

    @property
    def idle(self) -> bool:
        """Say whether nothing is waiting or on its way."""
        return not self._queue and not self._call.busy

    def has_stored(self, name: str) -> bool:
        """Say whether an artifact is in the store."""
        return name in self._stored and bool(self._stored[name]["id"])

    def put_checkpoint(
        self, path: Path, step: int, *, best: bool, eval_loss: float | None, after: int = 0
    ) -> None:
        """Store a checkpoint. Its files are held at once by hard links, so the trainer may rotate it meanwhile.

        Args:
            after: Byte of the journal up to which the store must have confirmed it first: whoever goes on from the
                checkpoint, on another machine perhaps, builds on the points before it.
        """
        name = f"checkpoint-{step:06d}"
        if name in self._stored or not path.is_dir():
            return
        held = self._staging / name
        try:
            copy_tree(path, held)
        except FileNotFoundError:  # rotated while it was being linked: it is not wanted any more
            shutil.rmtree(held, ignore_errors=True)
            return
        except OSError as error:  # the disk is full, and holds no links
            shutil.rmtree(held, ignore_errors=True)
            self._give_up(name, error)
            return
        if not held.is_dir():  # its files went before it did
            return
        artifact = self._artifact(ArtifactKind.CHECKPOINT, name, step).model_copy(
            update={"best": best, "eval_loss": eval_loss}
        )
        self._queue.append(_Put(artifact, lambda: held, path, after))

    def put(
        self, kind: ArtifactKind, name: str, prepare: Callable[[], Path], *, step: int | None = None
    ) -> None:
        """Store another artifact; `prepare` runs on the upload's thread and returns the folder with its files."""
        if name not in self._stored:
            self._queue.append(_Put(self._artifact(kind, name, step), prepare, self._folder.root))

    def drop_rotated(self) -> None:
        """Mirror the trainer's rotation: remove from the store what is gone from the run folder.

        What still waits and is gone is not stored at all: while the store is away, neither queue nor disk may fill up. Where
        an upload has failed, old checkpoints stay in the store: they may be all there is.
        """
        for put in list(self._queue)[1:]:  # the first may be on its way
            if isinstance(put, _Put) and not put.source.exists():
                self._queue.remove(put)
                shutil.rmtree(self._staging / put.artifact.name, ignore_errors=True)
        dropping = {each.name for each in self._queue if isinstance(each, _Drop)}
        for name, stored in self._stored.items():
            gone = stored["path"] and not (self._folder.root / stored["path"]).exists()
            if gone and stored["id"] and name not in dropping and not self.failed:
                self._queue.append(_Drop(name))

    def tick(self, confirmed: float = math.inf) -> None:
        """Take what has ended and start what is next.

        Args:
            confirmed: Byte up to which the store has confirmed the journal.
        """
        if self._call.answered:
            self._take()
        while self._queue and not self._call.busy and self._backoff.ready and not self.conflict:
            first = self._queue[0]
            if isinstance(first, _Put) and not first.source.exists():
                self._forget_first(first.artifact.name)
                continue
            if isinstance(first, _Put) and first.after > confirmed:
                return
            self._call.start(self._work(first))

    def _take(self) -> None:
        first = self._queue[0]
        name = first.name if isinstance(first, _Drop) else first.artifact.name
        try:
            stored = self._call.take()
        except Unavailable as error:
            if self._backoff.failures == 0:
                log.warning("The store does not answer; %s waits: %s", name, error)
            self._backoff.failed()
            return
        except (Conflict, Forbidden):
            self.conflict = True
            self._queue.clear()
            return
        except (TooLarge, DiskFull) as error:
            self._give_up(name, error)
        except NotFound:
            if isinstance(first, _Put):
                self.conflict = True
                self._queue.clear()
                return
            self._note(first, "")
        except Exception as error:
            self._backoff.failed()
            if self._backoff.failures < TRIES:
                log.warning("%s could not be stored, trying again: %s", name, error)
                return
            self._give_up(name, error)
        else:
            self._note(first, stored.id if stored else "")
            if stored is not None:
                if stored.kind is ArtifactKind.CHECKPOINT:
                    self._forgive_checkpoints()
                self.news.append((f"Stored {name} ({stored.bytes / 1e6:.1f} MB).", "info"))
        self._backoff.worked()
        self._forget_first(name)

    def _forgive_checkpoints(self) -> None:
        """Now that a newer one is in the store, rotated ones may leave it again."""
        self.failed = {name: why for name, why in self.failed.items() if not name.startswith("checkpoint-")}

    def _forget_first(self, name: str) -> None:
        self._queue.popleft()
        shutil.rmtree(self._staging / name, ignore_errors=True)

    def _work(self, first: "_Put | _Drop") -> Callable[[], Artifact | None]:
        if isinstance(first, _Put):
            return lambda: self._port.put_artifact(self._attempt, first.artifact, first.prepare())
        artifact_id = self._stored[first.name]["id"]
        return lambda: self._port.drop_artifact(self._job.id, self._attempt, artifact_id)

    def _give_up(self, name: str, error: Exception) -> None:
        self.failed[name] = f"{name} could not be stored: {error}"
        self.news.append((self.failed[name], "warning"))
        self.failed_for_good |= isinstance(error, TooLarge) or is_full(error)
        log.error("%s could not be stored: %s", name, error)

    def _note(self, done: "_Put | _Drop", artifact_id: str) -> None:
        """Remember on disk what is stored."""
        if isinstance(done, _Put):
            path = os.path.relpath(done.source, self._folder.root) if done.source != self._folder.root else ""
            self._stored[done.artifact.name] = _Stored(id=artifact_id, path=path)
        else:
            self._stored[done.name] = _Stored(id="", path="")
        try:
            write_atomically(self._record, json.dumps(self._stored).encode())
        except OSError as error:  # it would be stored once more, which changes nothing
            log.warning("What is stored could not be noted: %s", error)

    def _read_record(self) -> dict[str, _Stored]:
        try:
            return dict(json.loads(self._record.read_bytes()))
        except (
            FileNotFoundError,
            ValueError,
        ):  # what is stored would be stored once more, which changes nothing
            return {}

    def _artifact(self, kind: ArtifactKind, name: str, step: int | None) -> Artifact:
        path = f"{self._job.user_id}/jobs/{self._job.id}/{self._attempt}/{name}"
        return Artifact(
            id=str(uuid.uuid5(uuid.NAMESPACE_URL, path)),
            user_id=self._job.user_id,
            job_id=self._job.id,
            attempt=self._attempt,
            kind=kind,
            name=name,
            step=step,
            path=path,
            created_at=utc_now(),
        )


def copy_tree(source: Path, target: Path) -> None:
    """Copy a folder by hard links where the disk can; symbolic links are left out."""
    shutil.rmtree(target, ignore_errors=True)
    for path in sorted(source.rglob("*")):
        if path.is_file() and not path.is_symlink():
            copy = target / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            link_or_copy(path, copy)


def link_or_copy(source: Path, target: Path) -> None:
    """Hard-link a file, or copy it where links are not possible."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
