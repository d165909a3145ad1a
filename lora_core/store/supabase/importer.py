"""Takes one person's history into a project, through functions that mark it as imported. Knows nothing of where it is from.

Nothing is asked for that a signed-in person may not do. Every call may come twice, so a cut connection costs one call.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from postgrest.types import ReturnMethod

from lora_core.errors import Conflict, NotAllowed, NotFound, TooLarge
from lora_core.schema.artifact import Artifact
from lora_core.schema.dataset import Dataset
from lora_core.schema.runner import Task
from lora_core.store.keys import ARTIFACT_BUCKET
from lora_core.store.supabase.client import PersonClient, bearer
from lora_core.store.supabase.datasets import SupabaseDatasetStore
from lora_core.store.supabase.documents import storable
from lora_core.store.supabase.files import StorageFiles
from lora_core.store.supabase.retry import Patience
from lora_core.store.supabase.tasks import SupabaseTaskStore
from lora_core.store.transfer import Arrival, JobPart, Row

PATIENT = Patience(tries=10, seconds=90.0, first_wait_seconds=0.3, longest_wait_seconds=15.0)
"""Nobody looks at a page: a short outage is waited for."""

ROWS_AT_ONCE = 1000
BYTES_AT_ONCE = 2_000_000
"""Of JSON, in one call: what a project works through well within the time it gives a call."""

READ_AT_ONCE = 2**20
_IDS_AT_ONCE = 100
_REFUSALS = (Conflict, NotAllowed, TooLarge)
"""After which files have no row that names them."""


class SupabaseHistory:
    """HistoryTarget over PostgREST, functions and Storage. Not thread-safe.

    Args:
        client: The project as this person sees it; best with `PATIENT`.
        files: Its Storage as this person sees it.
        user_id: The person.
    """

    def __init__(self, client: PersonClient, files: StorageFiles, user_id: str) -> None:
        self._client = client
        self._files = files
        self._user_id = user_id
        self._datasets = SupabaseDatasetStore(client, user_id)
        self._tasks = SupabaseTaskStore(client, user_id)

    @property
    def user_id(self) -> str:
        """Who takes it."""
        return self._user_id

    def add_dataset(self, dataset: Dataset, files: Mapping[str, Path]) -> None:
        """Store the files, then the row; see `HistoryTarget.add_dataset`. Files whose row is refused go again."""
        keys = {self._own(key): path for key, path in files.items()}
        moved = dataset.model_copy(
            update={"user_id": self._user_id, "storage_path": self._own(dataset.storage_path)}
        )
        cleaned = Dataset.model_validate(storable(moved.model_dump(mode="json")))
        try:
            for key, path in keys.items():
                self._put(dataset.storage_bucket, key, path)
            self._datasets.add(cleaned)
        except _REFUSALS:
            self._files.remove(dataset.storage_bucket, list(keys))
            raise

    def add_task(self, task: Task) -> None:
        """Ask for work on what was moved."""
        self._tasks.add(task)

    def has_dataset(self, dataset_id: str) -> bool:
        """Say whether a data set of this person is there."""
        try:
            self._datasets.get(dataset_id)
        except NotFound:
            return False
        return True

    def add_configs(self, rows: Sequence[Row]) -> int:
        """Store saved configs; see `HistoryTarget.add_configs`. One that is there already stays as it is."""
        found = 0
        for some in batches(iter(rows)):
            query = self._client.table("training_configs").upsert(
                [{**row, "user_id": self._user_id} for row in some],
                on_conflict="id",
                ignore_duplicates=True,
                returning=ReturnMethod.minimal,
            )
            self._client.execute(query)
            ids = [row["id"] for row in some]
            for start in range(0, len(ids), _IDS_AT_ONCE):
                known = self._client.table("training_configs").select("id")
                known = known.in_("id", ids[start : start + _IDS_AT_ONCE]).eq("user_id", self._user_id)
                found += len(self._client.rows(known))
        if found < len(rows):
            raise Conflict("There is another saved config with one of these ids.")
        return found

    def open_job(self, document: Row) -> Arrival:
        """Begin to bring a job; see `HistoryTarget.open_job`."""
        return _arrival(self._client.rpc("import_job", {"p_job": document}))

    def add_rows(self, job_id: str, part: JobPart, rows: Iterator[Row]) -> None:
        """Bring the rows of a part; see `HistoryTarget.add_rows`."""
        place = 0
        for some in batches(rows):
            arguments: dict[str, Any] = {"p_job": job_id, "p_rows": some}
            if part is JobPart.EVENTS:
                arguments["p_first"] = place
            self._client.rpc(f"import_{part.value}", arguments)
            place += len(some)

    def add_artifact(self, artifact: Artifact, files: Mapping[str, Path]) -> None:
        """Store the files, then the row; see `HistoryTarget.add_artifact`. Files whose row is refused go again."""
        document = artifact.model_dump(mode="json", exclude={"user_id", "bucket", "path", "bytes"})
        keys = {self._own(f"{artifact.path}/{name}"): path for name, path in files.items()}
        try:
            for key, path in keys.items():
                self._put(ARTIFACT_BUCKET, key, path)
            self._client.rpc("import_artifact", {"p_artifact": document})
        except _REFUSALS:
            self._files.remove(ARTIFACT_BUCKET, list(keys))
            raise

    def artifacts(self, job_id: str) -> set[str]:
        """Return the ids of a job's artifacts that are there."""
        ids: list[str] = []
        while True:
            query = self._client.table("model_artifacts").select("id").eq("job_id", job_id)
            query = query.eq("user_id", self._user_id).order("id")
            rows = self._client.rows(query.range(len(ids), len(ids) + ROWS_AT_ONCE - 1))
            ids += [row["id"] for row in rows]
            if len(rows) < ROWS_AT_ONCE:
                return set(ids)

    def finish_job(self, job_id: str, counts: Mapping[str, int], left_out: Sequence[str]) -> Arrival:
        """Make the job what it was; see `HistoryTarget.finish_job`."""
        arguments = {"p_job": job_id, "p_expected": dict(counts), "p_left_out": list(left_out)}
        return _arrival(self._client.rpc("finish_import", arguments))

    def add_notifications(self, rows: Sequence[Row]) -> None:
        """Store what the bell shows."""
        for some in batches(iter(rows)):
            self._client.rpc("import_notifications", {"p_rows": some})

    def sha256(self, bucket: str, key: str) -> str | None:
        """Read a file and return its sha256 in hex; see `HistoryTarget.sha256`."""
        digest = hashlib.sha256()
        try:
            stream = self._files.open(bucket, self._own(key))
        except NotFound:
            return None
        with stream:
            while chunk := stream.read(READ_AT_ONCE):
                digest.update(chunk)
        return digest.hexdigest()

    def send_again(self, bucket: str, key: str, path: Path) -> None:
        """Replace a file that is not there as it was sent; see `HistoryTarget.send_again`."""
        self._files.remove(bucket, [self._own(key)])
        self._files.put(bucket, self._own(key), path)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
        self._files.close()

    def _put(self, bucket: str, key: str, path: Path) -> None:
        """Upload a file that no row names yet: what lies in its place is from an earlier try."""
        try:
            self._files.put(bucket, key, path)
        except Conflict:
            self._files.remove(bucket, [key])
            self._files.put(bucket, key, path)

    def _own(self, key: str) -> str:
        """The same key, below this person's folder."""
        return f"{self._user_id}/{key.split('/', 1)[1]}"


def open_history(url: str, key: str, user_id: str, token: Callable[[], str]) -> SupabaseHistory:
    """Open a project for one person who brings a history.

    Args:
        url: Address of the project.
        key: Its publishable key.
        user_id: The person's id.
        token: Returns the person's access token, fresh; asked before each request.

    Raises:
        StoreError: The address or the key is none.
    """
    client = PersonClient(url, key, token, patience=PATIENT)
    files = StorageFiles(url, lambda: {"apikey": key, "authorization": bearer(token())})
    return SupabaseHistory(client, files, user_id)


def batches(
    rows: Iterator[Row], *, most_rows: int = ROWS_AT_ONCE, most_bytes: int = BYTES_AT_ONCE
) -> Iterator[list[dict[str, Any]]]:
    """Cut rows into lists that one call takes, fit for the database.

    >>> [len(some) for some in batches(iter([{"step": 1}] * 5), most_rows=2)]
    [2, 2, 1]
    """
    some: list[dict[str, Any]] = []
    size = 0
    for row in rows:
        cleaned = storable(dict(row))
        row_bytes = len(msgspec.json.encode(cleaned))
        if some and (len(some) == most_rows or size + row_bytes > most_bytes):
            yield some
            some, size = [], 0
        some.append(cleaned)
        size += row_bytes
    if some:
        yield some


def _arrival(answer: Any) -> Arrival:
    return Arrival(answer["finished"], answer["counts"] or {}, tuple(answer["left_out"]))
