"""Jobs of one person over a project: what they are is read from tables, what is done with them are the database's functions."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from lora_core.errors import Forbidden, NotAllowed, NotFound, StudioError
from lora_core.lifecycle import OWNED
from lora_core.schema.base import Page, new_id, utc_now
from lora_core.schema.job import (
    Attempt,
    Job,
    JobEvent,
    JobFilter,
    JobStatus,
    QueuePlace,
    RequestedAction,
    WorkInHand,
)
from lora_core.schema.runner import ONLINE_SECONDS
from lora_core.store.base import MAX_PAGE
from lora_core.store.cursors import Cursor, clamp, page
from lora_core.store.forecast import Queue, place_in
from lora_core.store.ids import id_range
from lora_core.store.keys import ARTIFACT_BUCKET
from lora_core.store.supabase.client import PersonClient
from lora_core.store.supabase.files import StorageFiles
from lora_core.store.supabase.rows import (
    ATTEMPT_COLUMNS,
    EVENT_COLUMNS,
    JOB_COLUMNS,
    Row,
    behind,
    check_id,
    is_id,
    not_found,
    read_attempt,
    read_event,
    read_job,
    read_place,
    search_pattern,
    stamp,
    submitted_job_row,
)

_LIST = Cursor("jobs", str, str)
_EVENTS = Cursor("job_events", int)
_WHAT = "job"
_DELETE_SECONDS = 65.0
"""The function has 60: to give up before would leave the files of a job whose rows are gone."""


class SupabaseJobStore:
    """JobStore over PostgREST and functions."""

    def __init__(self, client: PersonClient, files: StorageFiles, user_id: str) -> None:
        self._client = client
        self._files = files
        self._user_id = user_id

    def submit(self, job: Job) -> Job:
        """Insert a queued job; see `JobStore.submit`."""
        if job.user_id != self._user_id:
            raise Forbidden("A job is submitted by the person it belongs to.")
        if job.status is not JobStatus.QUEUED:
            raise NotAllowed("A new job starts as queued.")
        if job.parent_artifact_id is not None:
            check_id(job.parent_artifact_id, "artifact")
        for dataset_id in (job.dataset_id, job.config.data.validation_dataset_id):
            if dataset_id is not None:
                check_id(dataset_id, "data set")
        return read_job(self._client.rpc("submit_job", {"p_job": submitted_job_row(job)}))

    def get(self, job_id: str) -> Job:
        """Return one job; see `JobStore.get`."""
        row = self._row(job_id)
        return read_job(self._row(job_id) if self._ends_lost(row) else row)

    def list(self, job_filter: JobFilter, *, limit: int = 50, cursor: str | None = None) -> Page[Job]:
        """Return jobs, newest first; see `JobStore.list`."""
        limit = clamp(limit)
        query = self._client.table("training_jobs").select(*JOB_COLUMNS).eq("user_id", self._user_id)
        if job_filter.archived is not None:
            shown = query.not_ if job_filter.archived else query
            query = shown.is_("archived_at", "null")
        if job_filter.search:
            query = query.filter("name", "imatch", search_pattern(job_filter.search))
        if job_filter.statuses:
            query = query.in_("status", [status.value for status in job_filter.statuses])
        if job_filter.dataset_id is not None:
            if not is_id(job_filter.dataset_id):
                return Page(items=[])
            query = query.eq("dataset_id", job_filter.dataset_id)
        if job_filter.id_begins:
            if (bounds := id_range(job_filter.id_begins)) is None:
                return Page(items=[])
            query = query.gte("id", bounds[0]).lte("id", bounds[1])
        if cursor is not None:
            place = read_place(_LIST.read(cursor))
            query = query.lte("created_at", place[0]).or_(behind(("created_at", "id"), place))
        query = query.order("created_at", desc=True).order("id", desc=True).limit(limit + 1)
        rows = self._client.rows(query)
        if self._ends_lost(*rows):
            rows = self._client.rows(query)
        return page(rows, limit, read_job, lambda row: _LIST.write(row["created_at"], row["id"]))

    def counts(self) -> dict[JobStatus, int]:
        """Return how many jobs are in each state; see `JobStore.counts`."""
        counts: dict[str, int] = self._client.rpc("job_counts", {})
        return {JobStatus(status): count for status, count in counts.items()}

    def request(self, job_id: str, action: RequestedAction, *, reason: str = "") -> Job:
        """Ask the runner that holds the job; see `JobStore.request`. To cancel a queued job is a move at once."""
        row = self._client.rpc(
            "request_job",
            {
                "p_job": check_id(job_id, _WHAT),
                "p_action": action.value,
                "p_request_id": new_id(),
                "p_reason": reason,
            },
            settle=self._unless(job_id, JobStatus.CANCELLED) if action is RequestedAction.CANCEL else None,
        )
        return read_job(row)

    def move(self, job_id: str, to: JobStatus, *, reason: str = "", checkpoint_id: str | None = None) -> Job:
        """Make a transition that needs no runner; see `JobStore.move`."""
        arguments = {"p_job": check_id(job_id, _WHAT), "p_to": to.value, "p_reason": reason}
        if checkpoint_id is not None:
            arguments["p_checkpoint"] = check_id(checkpoint_id, "checkpoint")
        return read_job(self._client.rpc("move_job", arguments, settle=self._unless(job_id, to)))

    def rename(self, job_id: str, name: str) -> Job:
        """Give the job another name; see `JobStore.rename`."""
        return read_job(self._client.rpc("rename_job", {"p_job": check_id(job_id, _WHAT), "p_name": name}))

    def prioritise(self, job_id: str, priority: int) -> Job:
        """Change the priority of a job that waits; see `JobStore.prioritise`."""
        arguments = {"p_job": check_id(job_id, _WHAT), "p_priority": priority}
        return read_job(self._client.rpc("prioritise_job", arguments))

    def start_after(self, job_id: str, moment: datetime | None) -> Job:
        """Set the earliest start of a job that waits; see `JobStore.start_after`."""
        until = stamp(moment) if moment is not None else None
        arguments = {"p_job": check_id(job_id, _WHAT), "p_moment": until}
        return read_job(self._client.rpc("start_job_after", arguments))

    def archive(self, job_id: str, *, archived: bool) -> Job:
        """Put an ended job away, or take it back; see `JobStore.archive`."""
        arguments = {"p_job": check_id(job_id, _WHAT), "p_archived": archived}
        return read_job(self._client.rpc("archive_job", arguments))

    def queue_place(self, job_id: str) -> QueuePlace | None:
        """Return where a queued job stands; see `JobStore.queue_place`."""
        queue = self._client.rpc("queue_place", {"p_job": check_id(job_id, _WHAT)})
        return place_in(Queue.model_validate(queue)) if queue is not None else None

    def at_work(self) -> Sequence[WorkInHand]:
        """Return the jobs that runners hold now; see `JobStore.at_work`."""
        rows: list[Row] = self._client.rpc("jobs_at_work", {})
        return [WorkInHand.model_validate({**row, "job": read_job(row["job"])}) for row in rows]

    def delete(self, job_id: str) -> None:
        """Remove an ended job, then its files; see `JobStore.delete`."""
        arguments = {"p_job": check_id(job_id, _WHAT)}
        self._client.rpc("delete_job", arguments, settle=unless_gone, seconds=_DELETE_SECONDS)
        self._files.remove_folder(ARTIFACT_BUCKET, f"{self._user_id}/jobs/{job_id}")

    def events(self, job_id: str, *, limit: int = 100, cursor: str | None = None) -> Page[JobEvent]:
        """Return the audit trail, newest first; see `JobStore.events`. It outlives the job, so that is asked for too."""
        limit = clamp(limit)
        query = self._client.table("job_events").select(*EVENT_COLUMNS).eq("job_id", check_id(job_id, _WHAT))
        query = query.eq("user_id", self._user_id)
        if cursor is not None:
            query = query.lt("seq", _EVENTS.read(cursor)[0])
        self.check(job_id)
        rows = self._client.rows(query.order("seq", desc=True).limit(limit + 1))
        return page(rows, limit, read_event, lambda row: _EVENTS.write(row["seq"]))

    def attempts(self, job_id: str) -> Sequence[Attempt]:
        """Return all attempts, oldest first; see `JobStore.attempts`."""
        attempts: list[Attempt] = []
        newest = 0
        while True:
            query = self._client.table("job_attempts").select(*ATTEMPT_COLUMNS)
            query = query.eq("job_id", check_id(job_id, _WHAT)).gt("number", newest)
            rows = self._client.rows(query.order("number").limit(MAX_PAGE))
            attempts += map(read_attempt, rows)
            if len(rows) < MAX_PAGE:
                break
            newest = attempts[-1].number
        if not attempts:
            self.check(job_id)
        return attempts

    def check(self, job_id: str) -> None:
        """Refuse a job that this person does not have.

        Raises:
            NotFound: No such job of this person.
        """
        self._row(job_id, ("id",))

    def _row(self, job_id: str, columns: Sequence[str] = JOB_COLUMNS) -> Row:
        query = self._client.table("training_jobs").select(*columns).eq("id", check_id(job_id, _WHAT))
        rows = self._client.rows(query.eq("user_id", self._user_id).limit(1))
        if not rows:
            raise not_found(_WHAT)
        return rows[0]

    def _ends_lost(self, *rows: Row) -> bool:
        """End what runners have left behind, if a job of these was not heard of for long. Says whether there was anything."""
        oldest = utc_now() - timedelta(seconds=ONLINE_SECONDS)
        silent = any(
            row["status"] in OWNED
            and row["heartbeat_at"]
            and datetime.fromisoformat(row["heartbeat_at"]) < oldest
            for row in rows
        )
        return silent and bool(self._client.rpc("end_lost_attempts", {}))

    def _unless(self, job_id: str, status: JobStatus) -> Callable[[StudioError], Row]:
        """Return what a refusal of a repeated call means: the first one has moved the job, or the refusal stands."""

        def settle(refusal: StudioError) -> Row:
            row = self._row(job_id)
            if row["status"] != status.value:
                raise refusal
            return row

        return settle


def unless_gone(refusal: StudioError) -> None:
    """Accept that a repeated removal finds nothing: the first one has arrived."""
    if not isinstance(refusal, NotFound):
        raise refusal
