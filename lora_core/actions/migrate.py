"""Moves one person's embedded studio into a team's project: what is there, what fits, what is left. Runs in the terminal.

It goes thing by thing and each is whole or not there, so it may be cut off anywhere and run again. Knows no SQL and no HTTP.
"""

import hashlib
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lora_core.actions.datasets import issues_key
from lora_core.errors import SignedOut, StudioError, TooOften, Unavailable
from lora_core.lifecycle import OWNED
from lora_core.schema.artifact import Artifact
from lora_core.schema.base import utc_now
from lora_core.schema.dataset import Dataset, DatasetFormat, DatasetStatus
from lora_core.schema.job import JobStatus
from lora_core.schema.runner import Task, TaskKind
from lora_core.store.transfer import Arrival, HistorySource, HistoryTarget, JobPart, PastJob, Row

HELD = "It was queued when it was brought here; resume it to train it."
ARTIFACTS = "artifacts"
PARTS = (*(part.value for part in JobPart), ARTIFACTS)
_UNCHECKED = (DatasetStatus.UPLOADED, DatasetStatus.CHECKING)
_STOPS = (SignedOut, Unavailable, TooOften)
"""What concerns everything. Any other error concerns one thing alone: it is told, and the rest goes on."""


@dataclass(frozen=True)
class Left:
    """Something that was not moved.

    Attributes:
        what: "job “First try”", say.
        why: What was in the way and what to do, for a person.
    """

    what: str
    why: str


@dataclass(frozen=True)
class Line:
    """One line of the table: how many there are here, and how many of these are there."""

    what: str
    here: int
    there: int = 0


@dataclass
class Migration:
    """What was moved, and what was not.

    Attributes:
        left: What needs something done before it can be moved; run again then.
        notes: What differs for a good reason.
        file_bytes: Bytes of all files here.
    """

    left: list[Left] = field(default_factory=list)
    notes: list[Left] = field(default_factory=list)
    here: dict[str, int] = field(default_factory=dict)
    there: dict[str, int] = field(default_factory=dict)
    file_bytes: int = 0

    @property
    def lines(self) -> tuple[Line, ...]:
        """The table, in the order of moving."""
        return tuple(Line(what, here, self.there.get(what, 0)) for what, here in self.here.items())

    @property
    def complete(self) -> bool:
        """Whether everything was moved."""
        return not self.left

    def count(self, what: str, here: int, there: int = 0) -> None:
        """Add to a line of the table."""
        self.here[what] = self.here.get(what, 0) + here
        self.there[what] = self.there.get(what, 0) + there


Tell = Callable[[str, float], None]
"""Told what is being moved and how much of all bytes is done (0 to 1)."""


def plan_migration(source: HistorySource) -> Migration:
    """Count what a migration would move, and name what it would leave. Asks nobody else."""
    plan = Migration()
    plan.count("data sets", 0)
    for dataset in source.datasets():
        files, why = _dataset_files(source, dataset, check=False)
        plan.count("data sets", 1)
        plan.file_bytes += sum(path.stat().st_size for path in files.values())
        if why:
            plan.left.append(Left(f"data set “{dataset.name}”", why))
    plan.count("saved configs", sum(1 for _ in source.configs()))
    plan.count("jobs", 0)
    for job in source.jobs():
        plan.count("jobs", 1)
        if job.status in OWNED:
            plan.left.append(Left(_named(job), _live(job)))
        for part, count in job.counts.items():
            plan.count(part.value, count)
        for artifact in source.artifacts(job.id):
            files, why = _artifact_files(source, artifact, check=False)
            plan.count(ARTIFACTS, 1)
            plan.file_bytes += sum(path.stat().st_size for path in files.values())
            if why:
                plan.left.append(Left(f"{artifact.name} of {_named(job)}", why))
    plan.count("notifications", sum(1 for _ in source.notifications()))
    return plan


def migrate_studio(
    source: HistorySource,
    target: HistoryTarget,
    *,
    read_back: bool = True,
    tell: Tell = lambda _what, _share: None,
) -> Migration:
    """Move everything a person has here to the same person there. What is there already stays as it is.

    Args:
        read_back: Read every file there at the end and compare its sha256.
        tell: Told how far it is.

    Raises:
        SignedOut: The session has ended.
        Unavailable: The project does not answer; run it again, and it goes on where it was.
    """
    return _Mover(source, target, read_back, tell).move()


@dataclass(frozen=True)
class _File:
    """A file, by its key here."""

    bucket: str
    key: str
    sha256: str
    whose: str


class _Mover:
    """One migration. `_files` are those that both sides should have in the end."""

    def __init__(self, source: HistorySource, target: HistoryTarget, read_back: bool, tell: Tell) -> None:
        self._source = source
        self._target = target
        self._read_back = read_back
        self._tell = tell
        self._result = Migration()
        self._files: list[_File] = []
        self._jobs_left: set[str] = set()
        self._all_bytes = plan_migration(source).file_bytes * (2 if read_back else 1)
        self._done_bytes = 0

    def move(self) -> Migration:
        result = self._result
        result.count("data sets", 0)
        for dataset in self._source.datasets():
            self._move_dataset(dataset)
        self._move_configs()
        for what in ("jobs", *PARTS):
            result.count(what, 0)
        for job in self._source.jobs():
            self._move_job(job)
        self._move_notifications()
        result.count("files", len(self._files))
        if self._read_back:
            for file in self._files:
                self._compare(file)
        self._say("done", 0)
        return result

    def _move_dataset(self, dataset: Dataset) -> None:
        what = f"data set “{dataset.name}”"
        self._result.count("data sets", 1)
        self._say(what, 0)
        try:
            is_there = self._target.has_dataset(dataset.id)
            files, why = _dataset_files(self._source, dataset, check=not is_there)
            if not is_there and not why:
                self._target.add_dataset(_as_uploaded(dataset), files)
                if dataset.status in _UNCHECKED:
                    self._target.add_task(_check_of(dataset, self._target.user_id))
        except _STOPS:
            raise
        except StudioError as error:
            is_there, why = False, str(error)
        if why and not is_there:
            self._result.left.append(Left(what, why))
        else:
            self._result.count("data sets", 0, 1)
            if sha256 := dataset.sha256 or _sha256(files.get(dataset.storage_path)):
                self._files.append(_File(dataset.storage_bucket, dataset.storage_path, sha256, what))
        self._say(what, dataset.bytes)

    def _move_configs(self) -> None:
        configs = list(self._source.configs())
        self._result.count("saved configs", len(configs))
        try:
            self._result.count("saved configs", 0, self._target.add_configs(configs))
        except _STOPS:
            raise
        except StudioError as error:
            self._result.left.append(Left("saved configs", str(error)))

    def _move_job(self, job: PastJob) -> None:
        artifacts = self._source.artifacts(job.id)
        self._result.count("jobs", 1)
        for each, count in job.counts.items():
            self._result.count(each.value, count)
        self._result.count(ARTIFACTS, len(artifacts))
        if job.status in OWNED:
            self._leave(job, _live(job))
            return
        self._say(_named(job), 0)
        try:
            arrival = self._target.open_job(_document(job))
            bring = self._complete if arrival.finished else self._bring
            arrival = bring(job, artifacts, arrival)
        except _STOPS:
            raise
        except StudioError as error:
            self._leave(job, str(error))
            return
        self._result.count("jobs", 0, 1)
        for part in PARTS:
            self._result.count(part, 0, arrival.counts.get(part, 0))
        changed = [part.value for part in JobPart if arrival.counts.get(part.value) != job.counts[part]]
        if changed:
            why = f"It has changed here since it was brought there ({', '.join(changed)}); it was not brought again."
            self._result.notes.append(Left(_named(job), why))

    def _leave(self, job: PastJob, why: str) -> None:
        self._jobs_left.add(job.id)
        self._result.left.append(Left(_named(job), why))

    def _bring(self, job: PastJob, artifacts: Sequence[Artifact], _arrival: Arrival) -> Arrival:
        """Bring all of a job."""
        for part in JobPart:
            self._target.add_rows(job.id, part, self._rows(job.id, part))
        counts: dict[str, int] = {part.value: count for part, count in job.counts.items()}
        counts[ARTIFACTS] = 0
        there = self._target.artifacts(job.id)
        left_out = []
        for artifact in artifacts:
            if self._bring_artifact(job, artifact, there):
                counts[ARTIFACTS] += 1
            else:
                left_out.append(artifact.id)
        return self._target.finish_job(job.id, counts, left_out)

    def _complete(self, job: PastJob, artifacts: Sequence[Artifact], arrival: Arrival) -> Arrival:
        """Bring what did not fit when the job was brought."""
        there = self._target.artifacts(job.id)
        added = 0
        for artifact in artifacts:
            if artifact.id in there or artifact.id in arrival.left_out:
                arrived = self._bring_artifact(job, artifact, there)
                added += arrived and artifact.id not in there
            else:
                what = f"{artifact.name} of {_named(job)}"
                self._result.notes.append(
                    Left(what, "It was deleted there, or made here since the job was brought.")
                )
        return Arrival(True, {**arrival.counts, ARTIFACTS: arrival.counts.get(ARTIFACTS, 0) + added})

    def _bring_artifact(self, job: PastJob, artifact: Artifact, there: set[str]) -> bool:
        what = f"{artifact.name} of {_named(job)}"
        files, why = _artifact_files(self._source, artifact, check=artifact.id not in there)
        self._say(what, 0)
        try:
            if not why and artifact.id not in there:
                self._target.add_artifact(artifact, files)
        except _STOPS:
            raise
        except StudioError as error:
            why = str(error)
        self._say(what, artifact.bytes)
        if why and artifact.id not in there:
            self._result.left.append(Left(what, why))
            return False
        for file in artifact.files:
            self._files.append(_File(artifact.bucket, f"{artifact.path}/{file.name}", file.sha256, what))
        return True

    def _move_notifications(self) -> None:
        everything = list(self._source.notifications())
        rows = [row for row in everything if row["job_id"] not in self._jobs_left]
        self._result.count("notifications", len(everything))
        try:
            self._target.add_notifications(rows)
        except _STOPS:
            raise
        except StudioError as error:
            self._result.left.append(Left("notifications", str(error)))
        else:
            self._result.count("notifications", 0, len(rows))

    def _rows(self, job_id: str, part: JobPart) -> Iterator[Row]:
        for row in self._source.rows(job_id, part):
            mine = row.get("actor") == self._source.user_id
            yield {**row, "actor": self._target.user_id} if mine else row

    def _compare(self, file: "_File") -> None:
        """Read a file back; one that is lost or not what was sent is sent once more."""
        here = self._source.file(file.bucket, file.key)
        self._say(f"reading back {file.whose}", 0)
        found = self._target.sha256(file.bucket, file.key)
        self._say(f"reading back {file.whose}", here.stat().st_size if here is not None else 0)
        if found != file.sha256 and _sha256(here) == file.sha256:
            assert here is not None
            self._target.send_again(file.bucket, file.key, here)
            found = self._target.sha256(file.bucket, file.key)
        if found == file.sha256:
            self._result.count("files", 0, 1)
        else:
            name = file.key.rsplit("/", 1)[-1]
            self._result.left.append(
                Left(file.whose, f"{name} is not there as it was sent, and no longer here.")
            )

    def _say(self, what: str, more_bytes: int) -> None:
        self._done_bytes += more_bytes
        self._tell(what, min(1.0, self._done_bytes / self._all_bytes) if self._all_bytes else 0.0)


def _document(job: PastJob) -> dict[str, object]:
    """The job's row as it goes: a queued job is held, and any machine may take it, since those here are not known there."""
    document = {**job.document, "target": "local"}
    if job.status is JobStatus.QUEUED:
        document |= {"status": JobStatus.PAUSED.value, "status_reason": HELD}
    return document


def _as_uploaded(dataset: Dataset) -> Dataset:
    """A data set whose check was under way starts anew: nobody there is at work on it."""
    if dataset.status is not DatasetStatus.CHECKING:
        return dataset
    return dataset.model_copy(update={"status": DatasetStatus.UPLOADED, "report": None})


def _check_of(dataset: Dataset, user_id: str) -> Task:
    """The task to check a data set; of the same data set always the same task."""
    chosen = {"format": dataset.format.value, "mapping": dataset.mapping.model_dump()}
    return Task(
        id=str(uuid.uuid5(uuid.NAMESPACE_OID, f"{dataset.id}/check")),
        user_id=user_id,
        kind=TaskKind.CHECK_DATASET,
        subject_id=dataset.id,
        arguments={} if dataset.format is DatasetFormat.UNKNOWN else chosen,
        created_at=utc_now(),
        updated_at=utc_now(),
    )


def _dataset_files(
    source: HistorySource, dataset: Dataset, *, check: bool = True
) -> tuple[dict[str, Path], str]:
    """Return the files of a data set by key, and what is wrong with them (empty if nothing)."""
    data = source.file(dataset.storage_bucket, dataset.storage_path)
    if data is None:
        return {}, "Its file is lost on this machine."
    files = {dataset.storage_path: data}
    issues = source.file(dataset.storage_bucket, issues_key(dataset))
    if issues is not None:
        files[issues_key(dataset)] = issues
    if check and dataset.sha256 and _sha256(data) != dataset.sha256:
        return files, "Its file is damaged on this machine."
    return files, ""


def _artifact_files(
    source: HistorySource, artifact: Artifact, *, check: bool = True
) -> tuple[dict[str, Path], str]:
    """Return the files of an artifact by name, and what is wrong with them (empty if nothing)."""
    files: dict[str, Path] = {}
    for file in artifact.files:
        path = source.file(artifact.bucket, f"{artifact.path}/{file.name}")
        if path is None:
            return files, f"Its file {file.name} is lost on this machine."
        files[file.name] = path
        if check and _sha256(path) != file.sha256:
            return files, f"Its file {file.name} is damaged on this machine."
    return files, ""


def _sha256(path: Path | None) -> str:
    """Return a file's sha256 in hex; empty for none."""
    if path is None:
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _named(job: PastJob) -> str:
    return f"job “{job.name}”"


def _live(job: PastJob) -> str:
    return f"It is {job.status.value}. Pause it, or wait for its end, and run this again."
