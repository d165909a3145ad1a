"""Brings to this machine what a claim needs: data sets, a checkpoint to go on from, and the base model.

Files come by stream on another thread and are checked against their sha256; weights come through a child, because
fetching them may need libraries (and memory) that the agent must not hold.
"""

import hashlib
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from lora_core.errors import DataError, StudioError, Unavailable
from lora_core.models.catalogue import find_model
from lora_core.models.weights import folder_of, is_present
from lora_core.schema.base import new_id
from lora_core.schema.dataset import Dataset
from lora_core.schema.run import DataFile
from lora_core.schema.runner import Claim, TaskKind
from lora_core.settings import Settings
from lora_core.store.base import RunnerPort
from runner.calls import Backoff, Call
from runner.disk import disk_is_full, is_full
from runner.errand import Errand, Order, reference_of
from runner.uploads import link_or_copy

log = logging.getLogger(__name__)

CHUNK_BYTES = 1 << 20
CACHE_BYTES = 20 * 2**30
"""Data set files kept for the next job, least recently used first to go. Those in use are linked into their run folder."""

DAMAGED_TRIES = 3
MODEL_TRIES = 5


@dataclass(frozen=True)
class Inputs:
    """What a run needs, on this machine."""

    model_path: Path
    train: DataFile
    validation: DataFile | None
    resume_from: Path | None


class Fetching:
    """The first stage of an attempt. Ticks; never waits.

    Args:
        settings: Where caches and models are.
        port: Where data sets and artifacts come from.
        claim: What is needed.
        root: The attempt's run folder.
        wake: Called when a thread has ended.

    Attributes:
        trouble: Why something has to be tried again, as last heard.
    """

    def __init__(
        self, settings: Settings, port: RunnerPort, claim: Claim, root: Path, wake: Callable[[], None]
    ) -> None:
        self._settings = settings
        self._port = port
        self._claim = claim
        self._root = root
        self._files: Call[Inputs] = Call(wake)
        self._files_backoff = Backoff()
        self._damaged = 0
        self._inputs: Inputs | None = None
        self._model: Errand | None = None
        self._model_backoff = Backoff(first_seconds=2.0, longest_seconds=30.0)
        self._model_path: Path | None = None
        self._stopped = False
        self._bytes_done = self._bytes_most = 0
        self._bytes_total = _bytes_to_fetch(claim)
        self.trouble = ""

    def tick(self) -> Inputs | None:
        """Go on.

        Returns:
            The inputs once all are here.

        Raises:
            StudioError: Something cannot be had (no such model, damaged file, full disk); trying again is no use.
        """
        self._fetch_files()
        self._fetch_model()
        if self._inputs is None or self._model_path is None:
            return None
        return Inputs(self._model_path, self._inputs.train, self._inputs.validation, self._inputs.resume_from)

    def progress(self) -> tuple[float, str]:
        """Return (share 0 to 1, what is fetched now) of the slower part."""
        self._bytes_most = max(self._bytes_most, self._bytes_done)  # fetching the same again is no progress
        files = self._bytes_most / self._bytes_total if self._bytes_total else 1.0
        parts = [(min(files, 1.0) if self._inputs is None else 1.0, "Fetching the data.")]
        if self._model_path is None:
            share, message = self._model.progress() if self._model else (0.0, "")
            parts.append((share, message or "Fetching the base model."))
        return min(parts)

    def stop(self) -> None:
        """Give up: end the child and let the thread run out."""
        self._stopped = True
        if self._model is not None:
            self._model.stop()

    def _fetch_files(self) -> None:
        if self._files.answered:
            try:
                self._inputs = self._files.take()
            except (Unavailable, ConnectionError, TimeoutError) as error:
                if self._files_backoff.failures == 0:
                    log.warning("The store does not answer; the data set waits: %s", error)
                self.trouble = str(error)
                self._files_backoff.failed()
            except _Damaged as error:
                self._damaged += 1
                self._files_backoff.failed()
                if self._damaged >= DAMAGED_TRIES:
                    raise DataError(
                        f"{error} came damaged {self._damaged} times.", "Upload it again."
                    ) from error
            except FileNotFoundError:  # another agent of this machine has just tidied the cache
                self._files_backoff.failed()
            except OSError as error:
                if is_full(error):
                    raise disk_is_full(self._root, self._settings.root) from error
                raise StudioError(
                    f"The data could not be written to the runner's machine: {error}.", "Look at its disk."
                ) from error
        if self._inputs is None and not self._files.busy and self._files_backoff.ready:
            self._files.start(self._bring_files)

    def _bring_files(self) -> Inputs:
        self._bytes_done = 0
        claim = self._claim
        return Inputs(
            model_path=Path(),
            train=self._bring_dataset(claim.dataset, "train"),
            validation=self._bring_dataset(claim.validation, "validation") if claim.validation else None,
            resume_from=self._bring_checkpoint(),
        )

    def _bring_dataset(self, dataset: Dataset, part: str) -> DataFile:
        cache = self._settings.root / "cache" / "datasets"
        cached = cache / cache_name(dataset)
        if dataset.sha256 and cached.is_file() and cached.stat().st_size == dataset.bytes:
            os.utime(cached)
            self._bytes_done += dataset.bytes
        else:
            with self._port.open_dataset(self._claim.job.id, self._claim.attempt, dataset.id) as source:
                self._stream(source, cached, dataset.sha256, f"The data set {dataset.name}")
        target = self._root / "data" / part
        target.parent.mkdir(exist_ok=True)
        target.unlink(missing_ok=True)
        link_or_copy(cached, target)
        prune(cache, CACHE_BYTES)
        return DataFile(
            path=str(target),
            name=dataset.file_name or dataset.name,
            format=dataset.format,
            mapping=dataset.mapping,
            sha256=dataset.sha256,
        )

    def _bring_checkpoint(self) -> Path | None:
        artifact = self._claim.checkpoint
        if artifact is None:
            return None
        folder = self._root / "resume"
        for file in artifact.files:
            target = folder / safe_relative(file.name)
            if not target.exists():
                name = f"The checkpoint of step {artifact.step}"
                with self._port.open_artifact(
                    self._claim.job.id, self._claim.attempt, artifact.id, file.name
                ) as source:
                    self._stream(source, target, file.sha256, name)
        return folder

    def _stream(self, source: BinaryIO, target: Path, sha256: str, name: str) -> None:
        """Write a file whole and proven, or not at all."""
        target.parent.mkdir(parents=True, exist_ok=True)
        half = target.with_name(f"{target.name}.{new_id()[:8]}.part")
        digest = hashlib.sha256()
        try:
            with half.open("wb") as file:
                while chunk := source.read(CHUNK_BYTES):
                    if self._stopped:
                        raise Unavailable("The attempt has ended.")
                    file.write(chunk)
                    digest.update(chunk)
                    self._bytes_done += len(chunk)
            if sha256 and digest.hexdigest() != sha256:
                raise _Damaged(name)
            half.replace(target)
        finally:
            half.unlink(missing_ok=True)

    def _fetch_model(self) -> None:
        if self._model_path is not None:
            return
        if self._settings.trainer == "scripted":
            self._model_path = self._settings.models / "scripted"
        elif self._model is None:
            self._model_path = self._present_model()
            if self._model_path is None and self._model_backoff.ready:
                self._model = Errand.start(self._order(), self._root / "model_errand")
        elif report := self._model.report():
            self._model = None
            if not report.error:
                self._model_path = Path(report.folder)
                return
            self._model_backoff.failed()
            self.trouble = report.error
            if not report.retry or self._model_backoff.failures >= MODEL_TRIES:
                raise report.as_error()
            log.warning("The base model waits: %s", report.error)

    def _present_model(self) -> Path | None:
        model = self._claim.job.config.model
        reference = reference_of(model.base, model.revision)
        folder = folder_of(
            find_model(reference, local_roots=self._settings.model_roots), self._settings.models
        )
        return folder if is_present(folder) else None

    def _order(self) -> Order:
        model = self._claim.job.config.model
        return Order(
            kind=TaskKind.FETCH_MODEL,
            home=self._settings.root,
            model_roots=self._settings.model_roots,
            arguments={"model": model.base, "revision": model.revision},
        )


def may_pass(error: StudioError) -> bool:
    """Say whether a job that could not be prepared may be so later, without anybody doing anything about it."""
    return isinstance(error, Unavailable)


class _Damaged(Exception):
    """A file whose bytes are not those that its sha256 promises."""


def safe_relative(name: str) -> PurePosixPath:
    """Return an artifact's file name as a path below its folder.

    Raises:
        DataError: The name leads out of the folder.

    >>> safe_relative("optimizer/state.safetensors").name
    'state.safetensors'
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or not path.parts:
        raise DataError(f"The artifact names a file outside of its folder: {name!r}.")
    return path


def cache_name(dataset: Dataset) -> str:
    """Return the name of a data set's file in this machine's cache.

    Row and sha256 are what a person wrote, and a machine may serve a whole team: so the name is made of them but is none of
    them, and nobody gets what was fetched for somebody else by stating its hash.
    """
    return hashlib.sha256(f"{dataset.user_id}/{dataset.id}/{dataset.sha256}".encode()).hexdigest()


def prune(cache: Path, limit_bytes: int) -> None:
    """Remove the least recently used files until the rest fits; the newest one always stays."""
    sizes: dict[Path, int] = {}
    for path in sorted((path for path in cache.glob("*") if path.is_file()), key=_used_at):
        with suppress(FileNotFoundError):
            sizes[path] = path.stat().st_size
    size = sum(sizes.values())
    for path in list(sizes)[:-1]:
        if size <= limit_bytes:
            return
        size -= sizes[path]
        path.unlink(missing_ok=True)


def _used_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _bytes_to_fetch(claim: Claim) -> int:
    validation = claim.validation.bytes if claim.validation else 0
    checkpoint = claim.checkpoint.bytes if claim.checkpoint else 0
    return claim.dataset.bytes + validation + checkpoint
