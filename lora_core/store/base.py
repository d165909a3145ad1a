"""The contracts of a store, for people and for runners. One contract suite (tests/contracts) holds for every backend.

All stores for people are opened for one person (`user_id`) and see only that person's rows; a row of somebody else
is NotFound. Ids are made by the caller (UUID), times are UTC, lists are paged by an opaque cursor, files move by stream.
Every method may raise `Unavailable`; writes are durable when the call returns.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Protocol

from lora_core.schema.artifact import Artifact, ArtifactKind
from lora_core.schema.base import Page
from lora_core.schema.dataset import Dataset, DatasetFormat, DatasetStatus
from lora_core.schema.job import (
    Attempt,
    EndOfAttempt,
    Job,
    JobEvent,
    JobFilter,
    JobStatus,
    QueuePlace,
    RequestedAction,
    WorkInHand,
)
from lora_core.schema.metrics import LogLine, MetricKind, MetricPoint, Series
from lora_core.schema.notification import (
    Delivery,
    DeliveryState,
    Notification,
    NotificationKind,
    NotificationRoute,
)
from lora_core.schema.people import Invitation, PersonTotals, Quota
from lora_core.schema.run import RunEvent
from lora_core.schema.runner import Claim, Directive, RunnerInfo, RunnerRegistration, RunnerScope, Task
from lora_core.schema.saved_config import SavedConfig

MAX_PAGE = 500
"""Most rows any list returns at once."""


class DatasetStore(Protocol):
    """Data sets of one person. Safe to call from several threads."""

    def add(self, dataset: Dataset) -> None:
        """Insert a data set. Repeating the same row changes nothing.

        Raises:
            Conflict: The id exists with other content.
        """

    def get(self, dataset_id: str) -> Dataset:
        """Return one data set.

        Raises:
            NotFound: No such data set of this person.
        """

    def list(
        self,
        *,
        search: str = "",
        formats: Sequence[DatasetFormat] = (),
        statuses: Sequence[DatasetStatus] = (),
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[Dataset]:
        """Return data sets, newest first.

        Args:
            search: Part of the name, case-insensitive.
            formats: Only these; empty for all.
            statuses: Only these; empty for all.
            limit: Most of them.
            cursor: Of the page before.
        """

    def save(self, dataset: Dataset) -> Dataset:
        """Write back name, status, format, mapping, rows, sha256 and report; content and owner never change.

        Raises:
            NotFound: No such data set of this person.
        """

    def delete(self, dataset_id: str) -> None:
        """Remove the row. The caller removes the file first.

        Raises:
            NotFound: No such data set of this person.
            Conflict: A live or paused job uses it.
        """


class ConfigStore(Protocol):
    """Training configs one person has saved under names, each name once. Safe to call from several threads."""

    def put(self, saved: SavedConfig) -> None:
        """Insert a config, or write back name, draft, config and time of change of the one with this id.

        Raises:
            Conflict: Another config of this person has the name, or the id is taken.
            NotAllowed: It is one that cannot be read.
        """

    def get(self, config_id: str) -> SavedConfig:
        """Return one config, also one that cannot be read.

        Raises:
            NotFound: No such config of this person.
        """

    def named(self, name: str) -> SavedConfig | None:
        """Return the config of this name, or None."""

    def list(self, *, limit: int = 50, cursor: str | None = None) -> Page[SavedConfig]:
        """Return configs, the last changed first; those that cannot be read say why."""

    def rename(self, config_id: str, name: str) -> SavedConfig:
        """Give a config another name; its time of change stays.

        Raises:
            NotFound: No such config of this person.
            Conflict: Another config of this person has the name.
        """

    def delete(self, config_id: str) -> None:
        """Remove a config.

        Raises:
            NotFound: No such config of this person.
        """


class JobStore(Protocol):
    """Jobs of one person. Every transition is checked against `lora_core.lifecycle` and leaves a JobEvent."""

    def submit(self, job: Job) -> Job:
        """Insert a queued job. Repeating the same id returns the stored job.

        With `parent_artifact_id` it starts from that checkpoint of another job of this person, which is pinned.

        Raises:
            NotFound: No such data set or checkpoint of this person.
            NotAllowed: What it is to start from is no checkpoint.
        """

    def get(self, job_id: str) -> Job:
        """Return one job.

        Raises:
            NotFound: No such job of this person.
        """

    def list(self, job_filter: JobFilter, *, limit: int = 50, cursor: str | None = None) -> Page[Job]:
        """Return jobs, newest first."""

    def counts(self) -> dict[JobStatus, int]:
        """Return how many jobs are in each state; archived jobs, and states without jobs, are left out."""

    def request(self, job_id: str, action: RequestedAction, *, reason: str = "") -> Job:
        """Ask the runner that holds the job to do something.

        Raises:
            NotAllowed: The job is not in a state in which that can be asked (it ended first, say).
        """

    def move(self, job_id: str, to: JobStatus, *, reason: str = "", checkpoint_id: str | None = None) -> Job:
        """Make a transition that needs no runner: queued -> paused or cancelled, paused/failed/cancelled -> queued or cancelled.

        Args:
            checkpoint_id: On the way to queued: go on from this checkpoint of the job and not from its newest.

        Raises:
            NotAllowed: The table has no such transition, or a runner owns the job.
            NotFound: The job has no such checkpoint.
        """

    def rename(self, job_id: str, name: str) -> Job:
        """Give the job another name."""

    def prioritise(self, job_id: str, priority: int) -> Job:
        """Let a queued or paused job start before those of lower priority (-100 to 100).

        Raises:
            NotAllowed: It has started or ended, or there is no such priority.
        """

    def start_after(self, job_id: str, moment: datetime | None) -> Job:
        """Let no runner take a queued or paused job before this time; None lets it start at once, the next try included.

        Raises:
            NotAllowed: It has started or ended, or the time is out of reach.
        """

    def archive(self, job_id: str, *, archived: bool) -> Job:
        """Put an ended job away (lists leave it out), or take it back. A job that is queued again comes back by itself.

        Raises:
            NotAllowed: The job is live or paused.
        """

    def queue_place(self, job_id: str) -> QueuePlace | None:
        """Return where a queued job stands and why it has not started; None for a job that is not queued.

        When a runner is likely to take it follows from what runners work on and from what was expected of the jobs before
        it; of other people's jobs nothing is told but that.
        """

    def at_work(self) -> Sequence[WorkInHand]:
        """Return this person's jobs that runners hold now, the newest attempt first (at most 200)."""

    def delete(self, job_id: str) -> None:
        """Remove an ended job with its points, logs, attempts and artifact rows; the caller removes the files first.

        Raises:
            NotAllowed: The job is live or paused.
        """

    def events(self, job_id: str, *, limit: int = 100, cursor: str | None = None) -> Page[JobEvent]:
        """Return the audit trail, newest first."""

    def attempts(self, job_id: str) -> Sequence[Attempt]:
        """Return all attempts, oldest first."""


class MetricStore(Protocol):
    """Points and log lines of one person's jobs. Read only: runners write through RunnerPort.ship."""

    def series(
        self,
        job_id: str,
        kind: MetricKind,
        columns: Sequence[str],
        *,
        points: int = 600,
        smoothing: float = 0.0,
        x: str = "step",
    ) -> Series:
        """Return columns over `x`, smoothed first (debiased EMA of weight `smoothing`, 0 for raw), then down-sampled.

        Down-sampling keeps the first, the last, and the minimum and maximum of the first column in every bucket, so a
        spike survives. At most about `points` values a column.

        Args:
            x: "step", "epoch", "tokens_seen", "elapsed_seconds" or "recorded_at" (seconds since 1970, UTC).

        Raises:
            NotFound: No such job of this person.
        """

    def points(
        self, job_id: str, kind: MetricKind, *, limit: int = 500, cursor: str | None = None
    ) -> Page[MetricPoint]:
        """Return full points in order of step, for exports."""

    def latest(self, job_id: str, kind: MetricKind) -> MetricPoint | None:
        """Return the newest point, or None."""

    def logs(
        self,
        job_id: str,
        *,
        limit: int = 200,
        cursor: str | None = None,
        search: str = "",
        level: str = "",
    ) -> Page[LogLine]:
        """Return log lines, newest first; `level` is the lowest level shown."""


class ArtifactStore(Protocol):
    """Artifacts of one person's jobs."""

    def list(self, job_id: str, kind: ArtifactKind | None = None) -> Sequence[Artifact]:
        """Return artifacts of a job, newest first."""

    def get(self, artifact_id: str) -> Artifact:
        """Return one artifact.

        Raises:
            NotFound: No such artifact of this person.
        """

    def open(self, artifact_id: str, file_name: str) -> BinaryIO:
        """Open one file of an artifact for reading by stream; the caller closes it.

        Raises:
            NotFound: The artifact has no file of that name.
        """

    def pin(self, artifact_id: str, *, pinned: bool) -> Artifact:
        """Protect a checkpoint from rotation, or give it back to it."""

    def delete(self, artifact_id: str) -> None:
        """Remove the row and its files.

        Raises:
            NotAllowed: It is the newest checkpoint of a job that has not completed.
        """


class BlobStore(Protocol):
    """Files of one person in buckets, by key. A key is made by the studio, never from a person's file name."""

    @property
    def max_object_bytes(self) -> int:
        """Largest file this store takes, in bytes."""

    def put(self, bucket: str, key: str, content: Iterator[bytes]) -> tuple[int, str]:
        """Write a file from chunks, whole or not at all.

        Returns:
            (bytes, sha256 in hex).

        Raises:
            TooLarge: More than `max_object_bytes`.
            DiskFull: No space left.
            Forbidden: The key is not under this person's folder.
        """

    def open(self, bucket: str, key: str) -> BinaryIO:
        """Open a file for reading by stream.

        Raises:
            NotFound: No such file.
        """

    def delete(self, bucket: str, key: str) -> None:
        """Remove a file; a missing one is no error."""


class TaskStore(Protocol):
    """Heavy work a person has asked for."""

    def add(self, task: Task) -> Task:
        """Insert a waiting task; if one of the same kind and subject is waiting or running, return that one."""

    def get(self, task_id: str) -> Task:
        """Return one task.

        Raises:
            NotFound: No such task of this person.
        """

    def of_subject(self, subject_id: str) -> Sequence[Task]:
        """Return the tasks about one data set or model, newest first (at most 50)."""


class NotificationStore(Protocol):
    """What the bell shows."""

    def list(self, *, limit: int = 50, cursor: str | None = None) -> Page[Notification]:
        """Return notifications, newest first."""

    def unread(self) -> int:
        """Return how many are unread."""

    def mark_read(self, notification_ids: Sequence[str] | None = None) -> None:
        """Mark some, or all, as read."""


class NotificationRouteStore(Protocol):
    """Ways to reach a person outside the studio. An address goes in encrypted and never comes back to people."""

    def add(self, route: NotificationRoute, *, ciphertext: str, key_id: str) -> None:
        """Insert a route. Repeating the same row changes nothing.

        Raises:
            NotAllowed: The person has 20 routes already.
            Conflict: The id exists with other content.
        """

    def list(self) -> Sequence[NotificationRoute]:
        """Return the routes with what became of their newest messages, oldest first (at most 20)."""

    def set_events(self, route_id: str, events: Sequence[NotificationKind]) -> None:
        """Choose what is told over a route.

        Raises:
            NotFound: No such route of this person.
        """

    def remove(self, route_id: str) -> None:
        """Remove a route; what was not sent yet is not sent. A missing one is no error."""

    def test(self, route_id: str, notification_id: str) -> None:
        """Ask a runner to send a message of kind `test` over this route; repeating the same id changes nothing.

        Raises:
            NotFound: No such route of this person.
            NotAllowed: Several are waiting already.
        """


class RunnerStore(Protocol):
    """Which runners a person can count on."""

    def list(self) -> Sequence[RunnerInfo]:
        """Return runners that may claim this person's jobs, most recently seen first."""


class RunnerRegistry(Protocol):
    """Runners that a person has let in (team mode). A token is shown once and stored nowhere; its sha256 stands for it."""

    def register(self, registration_id: str, name: str, scope: RunnerScope, token_sha256: str) -> None:
        """Let a runner in. Repeating the same registration changes nothing.

        Args:
            registration_id: UUID made by the caller.
            token_sha256: sha256 of the token in hex (64 characters).

        Raises:
            Forbidden: Scope `team` is for the operator.
            Conflict: The id or the token exists already.
        """

    def list(self) -> Sequence[RunnerRegistration]:
        """Return this person's registrations with their machines, newest first (at most 100)."""

    def revoke(self, registration_id: str) -> None:
        """End a registration: its token, and the job tokens of its attempts, are refused from now on.

        Raises:
            NotFound: No such registration of this person.
        """


class JobHandout(Protocol):
    """Hands a queued job to a machine that gets nothing but a job token (a pod, a rented computer)."""

    def hand_out(self, job_id: str, token_sha256: str, *, wait_seconds: float) -> int:
        """Begin an attempt that waits for the holder of the token.

        Args:
            token_sha256: sha256 of the job token in hex.
            wait_seconds: How long the machine may take to show up before the job goes back to the queue.

        Returns:
            The attempt's number.

        Raises:
            NotFound: No such job of this person.
            NotAllowed: The job is not queued.
        """


class OperatorStore(Protocol):
    """What only the operator of a team may do. It sees totals and e-mail addresses, never anybody's content.

    Every method raises Forbidden for everybody else.
    """

    def totals(self) -> Sequence[PersonTotals]:
        """Return every person with totals of this month and quota, by e-mail (at most 500)."""

    def set_quota(self, quota: Quota) -> None:
        """Set one person's quota; fields that are None do not limit.

        Raises:
            NotFound: No such person.
        """

    def invitations(self) -> Sequence[Invitation]:
        """Return invitations, newest first (at most 200)."""

    def invite(self, invitation_id: str, email: str, code_sha256: str, *, valid_days: int = 7) -> None:
        """Invite a person: whoever signs up with this e-mail and the code within the days is let in."""

    def withdraw(self, invitation_id: str) -> None:
        """Take back an invitation that was not accepted; a missing one is no error."""

    def sign_up_is_open(self) -> bool:
        """Say whether anybody may sign up without an invitation."""

    def open_sign_up(self, *, is_open: bool) -> None:
        """Let anybody sign up, or only those with an invitation."""


class RunnerPort(Protocol):
    """What a runner may do, and nothing else. Every call about a job carries (job, attempt).

    A call of an attempt that is not the job's newest, or that ended (tails may arrive for 10 minutes), raises Conflict:
    the runner then ends its own trainer. A crash of the runner loses nothing that `ship` or `put_artifact` confirmed.
    """

    def announce(self, runner: RunnerInfo) -> None:
        """Say that this runner is alive and what it has; call it at least every 10 s."""

    def claim(self, runner: RunnerInfo, *, lease_seconds: float) -> Claim | None:
        """Take the first queued job this machine can run: highest priority, then oldest. Exactly one runner gets it.

        Jobs whose lease ran out are first given back to the queue (their attempt ends as lost). Jobs are passed over
        until their earliest start or their next try, and while their owner has as many at work as the quota lets. The
        claim's checkpoint is the one that was chosen, else the job's newest, else that of the job it was forked from.
        """

    def take_up(self, claim: Claim) -> None:
        """Go on with a claim that an earlier process of this machine was given (its job token is in it).

        Raises:
            Conflict: It was given by another store, or for another token.
        """

    def renew(self, job_id: str, attempt: int, *, lease_seconds: float) -> Directive:
        """Keep the job and read what the person wants.

        Raises:
            Conflict: A newer attempt owns the job, or it has ended.
        """

    def ship(self, job_id: str, attempt: int, events: Sequence[RunEvent]) -> None:
        """Store a batch (at most 1,000) of run-folder events. Repeating a batch changes nothing.

        Phase, progress, losses and times of the job row follow from the events. Points of older attempts beyond a new
        attempt's start step are hidden. A phase event "training" moves the job from initializing to running.

        Raises:
            Conflict: The attempt is not the newest, or ended more than 10 minutes ago.
            TooLarge: More than 1,000 events.
        """

    def open_dataset(self, job_id: str, attempt: int, dataset_id: str) -> BinaryIO:
        """Open a data set of the job by stream.

        Raises:
            NotFound: The job does not use that data set.
        """

    def open_artifact(self, job_id: str, attempt: int, artifact_id: str, file_name: str) -> BinaryIO:
        """Open one file of one of the job's artifacts, or of the checkpoint it was forked from, by stream."""

    def put_artifact(self, attempt: int, artifact: Artifact, folder: Path) -> Artifact:
        """Store the files of `folder` as an artifact of the job (write-once); returns it with hashes and sizes.

        Raises:
            Conflict: The attempt is not the newest.
            TooLarge: A file is above the store's limit.
            DiskFull: No space left.
        """

    def drop_artifact(self, job_id: str, attempt: int, artifact_id: str) -> None:
        """Remove a rotated checkpoint; a pinned one stays."""

    def end(self, job_id: str, attempt: int, end: EndOfAttempt) -> None:
        """Close the attempt and move the job: completed, paused, queued (released), failed or cancelled.

        A failure that may pass by itself (`transient`) queues the job again, to be tried after a pause that doubles from
        failure to failure (`lora_core.backoff`); the third in a row without a new checkpoint is final. So it is with
        attempts whose runner was lost, but for the pause after the first.
        """


class TaskPort(Protocol):
    """The runner's side of tasks."""

    def claim_task(self, runner: RunnerInfo, *, lease_seconds: float) -> Task | None:
        """Take the oldest waiting task, or one whose lease ran out."""

    def progress_task(self, task_id: str, *, progress: float, message: str, lease_seconds: float) -> None:
        """Report progress (0 to 1) and keep the task."""

    def end_task(self, task_id: str, *, error: str = "") -> None:
        """Close the task: done, or failed with the reason."""

    def task_dataset(self, task_id: str) -> Dataset:
        """Return the data set a task is about."""

    def open_task_dataset(self, task_id: str) -> BinaryIO:
        """Open the file of the data set a task is about."""

    def task_peer(self, task_id: str) -> Dataset | None:
        """Return the data set to compare with, which the task's argument `compare_with` names; None without one."""

    def open_task_peer(self, task_id: str) -> BinaryIO:
        """Open the file of the data set to compare with.

        Raises:
            NotFound: The task has none.
        """

    def save_task_issues(self, task_id: str, issues: Path) -> None:
        """Store the list of issues (JSON lines) beside the data set a task is about: `<folder of the data>/issues.jsonl`."""

    def save_task_dataset(self, task_id: str, dataset: Dataset, content: Path | None = None) -> Dataset:
        """Write back what the task found; with `content`, store it as the file of a new data set version.

        A data set that has no content yet (`bytes` 0: an import) gets it under its own id, once.
        """


class DispatchPort(Protocol):
    """A dispatcher's side of notification routes: each message goes to one dispatcher, which sends it at most once.

    A claim whose end is not reported within its lease becomes `unknown` and is never handed out again, so a crash
    between sending and reporting cannot send twice.
    """

    def claim_delivery(
        self, claim_id: str, key_ids: Sequence[str], *, lease_seconds: float
    ) -> Delivery | None:
        """Take the oldest message that a route wants and that nobody has taken (those of the last day).

        Args:
            claim_id: UUID made by the caller; the same one again returns the same message, if it is still open.
            key_ids: Keys this dispatcher has; routes encrypted with others are left to those that can read them.
        """

    def end_delivery(
        self, delivery: Delivery, state: DeliveryState, *, error: str = "", wait_seconds: float = 0.0
    ) -> None:
        """Report what became of a message. Repeating the same report changes nothing.

        Args:
            state: `sent`, `failed`, `unknown`, or `waiting` to try again after `wait_seconds`: only if nothing was sent.

        Raises:
            Conflict: The claim does not hold it (any more).
        """
