"""Tasks as the agent sees them: fetch the file, let a limited child do the work, write back what it found."""

import hashlib
import logging
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

from lora_core.errors import Conflict, Forbidden, NotFound, StudioError, Unavailable
from lora_core.schema.dataset import Dataset
from lora_core.schema.runner import Task, TaskKind
from lora_core.settings import Settings
from lora_core.store.base import TaskPort
from runner.cadence import NEAR, Cadence
from runner.calls import Backoff, Call
from runner.errand import Errand, Order, Report
from runner.machine import GIB, usable_memory_bytes

log = logging.getLogger(__name__)

CPU_SECONDS = 4 * 3600
CHUNK_BYTES = 1 << 20
DAMAGED_TRIES = 5


class TaskStage(StrEnum):
    """Where a task stands on this machine."""

    FETCHING = "fetching"
    WORKING = "working"
    SAVING = "saving"
    OVER = "over"


@dataclass(frozen=True)
class _Fetched:
    """What a task is about, on this machine; nothing where it is about a model."""

    dataset: Dataset | None = None
    file: Path | None = None
    peer: Dataset | None = None
    peer_file: Path | None = None


class TaskRun:
    """One claimed task. Ticks; never waits. Not thread-safe.

    If the agent dies, the task's lease runs out and another runner (or the next agent) does it again from the start.

    Args:
        settings: Folders and times.
        port: The store.
        task: What was claimed.
        wake: Called when a call to the store has ended.
        cadence: How often the store is told.
    """

    def __init__(
        self,
        settings: Settings,
        port: TaskPort,
        task: Task,
        wake: Callable[[], None] = lambda: None,
        cadence: Cadence = NEAR,
    ) -> None:
        self.task = task
        self.stage = TaskStage.FETCHING
        self._settings = settings
        self._port = port
        self._folder = tasks_folder(settings) / task.id
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        self._fetch: Call[_Fetched] = Call(wake)
        self._save: Call[None] = Call(wake)
        self._tell: Call[None] = Call(wake)
        self._backoff = Backoff()
        self._damaged = 0
        self._tell_at = 0.0
        self._cadence = cadence
        self._errand: Errand | None = None
        self._report: Report | None = None

    @property
    def over(self) -> bool:
        """Say whether there is nothing left to do."""
        return self.stage is TaskStage.OVER

    def tick(self) -> None:
        """Go on as far as possible."""
        try:
            if self.stage is TaskStage.FETCHING:
                self._tick_fetching()
            elif self.stage is TaskStage.WORKING:
                self._tick_working()
            elif self.stage is TaskStage.SAVING:
                self._tick_saving()
            if not self.over:
                self._tell_progress()
        except (Conflict, NotFound, Forbidden) as error:
            log.warning("task %s: left, it is not ours any more (%s)", self.task.id[:8], error)
            self.stop()
        except Exception as error:
            log.exception("task %s: failed", self.task.id[:8])
            self._fail(f"The runner could not do this: {type(error).__name__}: {error}")

    def stop(self) -> None:
        """End the work and leave the task to its lease; another runner takes it."""
        if self._errand is not None:
            self._errand.stop()
        self._leave()

    def _tick_fetching(self) -> None:
        if self._fetch.answered:
            try:
                found = self._fetch.take()
            except Unavailable as error:
                self._backoff.failed()
                self._damaged += isinstance(error, _Damaged)
                if self._damaged >= DAMAGED_TRIES:
                    self._fail(f"The file came damaged {self._damaged} times. Upload it again.")
                return
            self._backoff.worked()
            self._errand = Errand.start(self._order(found), self._folder / "work")
            self.stage = TaskStage.WORKING
        elif not self._fetch.busy and self._backoff.ready:
            self._fetch.start(self._fetch_dataset)

    def _fetch_dataset(self) -> "_Fetched":
        if self.task.kind is TaskKind.FETCH_MODEL:
            return _Fetched()
        dataset = self._port.task_dataset(self.task.id)
        if self.task.kind is TaskKind.IMPORT_DATASET:
            return _Fetched(dataset)
        target = self._folder / "data"
        _fetch_file(self._port.open_task_dataset(self.task.id), target, dataset.sha256)
        peer = self._port.task_peer(self.task.id) if self.task.arguments.get("compare_with") else None
        if peer is None:
            return _Fetched(dataset, target)
        _fetch_file(self._port.open_task_peer(self.task.id), self._folder / "peer", peer.sha256)
        return _Fetched(dataset, target, peer, self._folder / "peer")

    def _order(self, found: "_Fetched") -> Order:
        arguments = self.task.arguments
        if found.dataset is None:
            return Order(
                kind=self.task.kind,
                home=self._settings.root,
                model_roots=self._settings.model_roots,
                arguments={"model": self.task.subject_id, **arguments},
            )
        return Order(
            kind=self.task.kind,
            task_id=self.task.id,
            home=self._settings.root,
            model_roots=self._settings.model_roots,
            dataset=found.dataset,
            file=found.file,
            peer=found.peer,
            peer_file=found.peer_file,
            arguments=arguments,
            memory_bytes=max(4 * GIB, int(usable_memory_bytes() * 0.75)),
            cpu_seconds=CPU_SECONDS,
        )

    def _tick_working(self) -> None:
        assert self._errand is not None
        self._report = self._errand.report()
        if self._report is not None:
            self._errand = None
            self.stage = TaskStage.SAVING
            self._tick_saving()

    def _tick_saving(self) -> None:
        if self._save.answered:
            try:
                self._save.take()
            except Unavailable:
                self._backoff.failed()
                return
            except StudioError as error:
                if isinstance(error, (Conflict, NotFound, Forbidden)):
                    raise
                self._fail(str(error))
                return
            log.info("task %s: done", self.task.id[:8])
            self._leave()
        elif not self._save.busy and self._backoff.ready and not self._tell.busy:
            self._save.start(self._save_report)

    def _save_report(self) -> None:
        report = self._report
        assert report is not None
        if report.issues is not None and report.issues.exists():
            self._port.save_task_issues(self.task.id, report.issues)
        if report.dataset is not None:
            self._port.save_task_dataset(self.task.id, self._with_newest_name(report), report.content)
        self._port.end_task(self.task.id, error=f"{report.error} {report.next_step}".strip())

    def _with_newest_name(self, report: Report) -> Dataset:
        """The person may have given the data set another name while the work went on."""
        assert report.dataset is not None
        if report.dataset.id != self.task.subject_id:
            return report.dataset
        return report.dataset.model_copy(update={"name": self._port.task_dataset(self.task.id).name})

    def _tell_progress(self) -> None:
        """Report progress every second or two, which also keeps the task."""
        if self._tell.answered:
            try:
                self._tell.take()
            except Unavailable as error:
                log.debug("task %s: progress not told (%s)", self.task.id[:8], error)
        now = time.monotonic()
        if now < self._tell_at or self._tell.busy or self._save.busy:
            return
        self._tell_at = now + self._cadence.report_seconds
        share, message = self._errand.progress() if self._errand else (0.0, "")
        lease = self._settings.lease_seconds
        self._tell.start(
            lambda: self._port.progress_task(
                self.task.id, progress=share, message=message, lease_seconds=lease
            )
        )

    def _fail(self, error: str) -> None:
        if self._errand is not None:
            self._errand.stop()
            self._errand = None
        if self.stage is TaskStage.SAVING and self._report is not None and self._report.error:
            self._leave()
            return
        self._report = Report(error=error)
        self.stage = TaskStage.SAVING

    def _leave(self) -> None:
        self.stage = TaskStage.OVER
        shutil.rmtree(self._folder, ignore_errors=True)


class _Damaged(Unavailable):
    """A file whose bytes are not those that its sha256 promises."""


def _fetch_file(source: BinaryIO, target: Path, sha256: str) -> None:
    digest = hashlib.sha256()
    with source, target.open("wb") as file:
        while chunk := source.read(CHUNK_BYTES):
            file.write(chunk)
            digest.update(chunk)
    if sha256 and digest.hexdigest() != sha256:
        raise _Damaged("The file came damaged.")


def tasks_folder(settings: Settings) -> Path:
    """Folder of the tasks at work on this machine."""
    return settings.root / "tasks"


def clear_stale_tasks(settings: Settings) -> None:
    """Remove what killed agents left behind a day ago or earlier."""
    for folder in tasks_folder(settings).glob("*"):
        with suppress(OSError):  # another runner of this machine has just removed it
            if time.time() - folder.stat().st_mtime > 24 * 3600:
                shutil.rmtree(folder, ignore_errors=True)
