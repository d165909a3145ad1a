"""The contracts of moving one person's whole studio from one store to another: who gives and who takes. Knows neither.

Rows pass as documents: columns by name, values as JSON has them, times as UTC ISO text. What gives is read as of one
moment; what takes may be called again with the same, and then changes nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from lora_core.schema.artifact import Artifact
from lora_core.schema.dataset import Dataset
from lora_core.schema.job import JobStatus
from lora_core.schema.runner import Task

Row = Mapping[str, Any]


class JobPart(StrEnum):
    """What a job is made of, beside its own row and its artifacts, in the order in which it is moved."""

    ATTEMPTS = "attempts"
    EVENTS = "events"
    POINTS = "points"
    LOGS = "logs"
    SAMPLES = "samples"


@dataclass(frozen=True)
class PastJob:
    """A job as it is moved.

    Attributes:
        document: Columns of its row, without owner and costs.
        counts: How many rows each part has.
    """

    id: str
    name: str
    status: JobStatus
    document: dict[str, Any]
    counts: dict[JobPart, int]


@dataclass(frozen=True)
class Arrival:
    """How far a job has come on the other side.

    Attributes:
        finished: Nothing more can be brought, but for what was left out.
        counts: How many rows of each part, and how many `artifacts`, were there when it was finished.
        left_out: Ids of artifacts that did not fit then.
    """

    finished: bool
    counts: dict[str, int] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()


class HistorySource(Protocol):
    """Everything that one person has in a store, as of one moment. Not thread-safe; close it."""

    @property
    def user_id(self) -> str:
        """Whose it is."""

    def datasets(self) -> Iterator[Dataset]:
        """Yield data sets, oldest first."""

    def configs(self) -> Iterator[Row]:
        """Yield saved training configs and drafts."""

    def jobs(self) -> Iterator[PastJob]:
        """Yield jobs, oldest first."""

    def rows(self, job_id: str, part: JobPart) -> Iterator[Row]:
        """Yield the rows of a part of a job, always in the same order."""

    def artifacts(self, job_id: str) -> Sequence[Artifact]:
        """Return what a job has left, oldest first."""

    def notifications(self) -> Iterator[Row]:
        """Yield what the bell shows, oldest first."""

    def file(self, bucket: str, key: str) -> Path | None:
        """Return where a file lies on this machine, or None if it is lost."""

    def close(self) -> None:
        """Let go of the store."""


class HistoryTarget(Protocol):
    """Takes a person's rows and files. Ids stay the same; the owner becomes this person, also in the paths of files.

    Every method raises Conflict where an id belongs to somebody else, and Unavailable where the store does not answer.
    """

    @property
    def user_id(self) -> str:
        """Who takes it."""

    def add_dataset(self, dataset: Dataset, files: Mapping[str, Path]) -> None:
        """Store a data set.

        Args:
            files: Where its files lie on this machine, by their keys at the source.

        Raises:
            TooLarge: The file is above the store's limit.
            NotAllowed: There is no room for it.
        """

    def add_task(self, task: Task) -> None:
        """Ask for work on what was moved."""

    def has_dataset(self, dataset_id: str) -> bool:
        """Say whether a data set of this person is there."""

    def add_configs(self, rows: Sequence[Row]) -> int:
        """Store saved configs; returns how many of these are there now."""

    def open_job(self, document: Row) -> Arrival:
        """Begin to bring a job, or find out how far an earlier try has come."""

    def add_rows(self, job_id: str, part: JobPart, rows: Iterator[Row]) -> None:
        """Bring the rows of a part, all of them, in order."""

    def add_artifact(self, artifact: Artifact, files: Mapping[str, Path]) -> None:
        """Store an artifact.

        Args:
            files: Where its files lie on this machine, by name.

        Raises:
            TooLarge: A file is above the store's limit.
            NotAllowed: There is no room for it.
        """

    def artifacts(self, job_id: str) -> set[str]:
        """Return the ids of a job's artifacts that are there."""

    def finish_job(self, job_id: str, counts: Mapping[str, int], left_out: Sequence[str]) -> Arrival:
        """Make the job what it was, once all of it is there.

        Raises:
            Conflict: Not all of it has arrived.
        """

    def add_notifications(self, rows: Sequence[Row]) -> None:
        """Store what the bell shows."""

    def sha256(self, bucket: str, key: str) -> str | None:
        """Read a file, given by its key at the source, and return its sha256 in hex; None if it is not there."""

    def send_again(self, bucket: str, key: str, path: Path) -> None:
        """Replace a file that is not there as it was sent.

        Args:
            key: Its key at the source.
        """

    def close(self) -> None:
        """Let go of the store."""
