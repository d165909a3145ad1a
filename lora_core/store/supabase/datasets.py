"""Data sets of one person as rows of a project. Row-level security keeps everybody else's out of sight."""

from collections.abc import Sequence

from postgrest.types import ReturnMethod

from lora_core.errors import Conflict, Forbidden, NotFound
from lora_core.schema.base import Page
from lora_core.schema.dataset import Dataset, DatasetFormat, DatasetStatus
from lora_core.store.cursors import Cursor, clamp, page
from lora_core.store.supabase.client import PersonClient
from lora_core.store.supabase.rows import (
    DATASET_COLUMNS,
    Row,
    behind,
    check_id,
    dataset_row,
    not_found,
    read_dataset,
    read_place,
    search_pattern,
)

_CURSOR = Cursor("datasets", str, str)
_CONTENT = ("user_id", "storage_bucket", "storage_path", "bytes", "parent_id", "created_at")
"""What two rows of one id must agree on; the rest changes as the data set is checked."""
_FINDINGS = ("name", "status", "format", "mapping", "rows", "sha256", "report")
_WHAT = "data set"


class SupabaseDatasetStore:
    """DatasetStore over PostgREST."""

    def __init__(self, client: PersonClient, user_id: str) -> None:
        self._client = client
        self._user_id = user_id

    def add(self, dataset: Dataset) -> None:
        """Insert a data set; see `DatasetStore.add`."""
        if dataset.user_id != self._user_id:
            raise Forbidden("A data set is added by the person it belongs to.")
        try:
            self._client.execute(self._client.table("datasets").insert(dataset_row(dataset)))
        except Conflict as error:
            self._check_same(dataset, error)

    def get(self, dataset_id: str) -> Dataset:
        """Return one data set; see `DatasetStore.get`."""
        query = self._client.table("datasets").select(*DATASET_COLUMNS).eq("id", check_id(dataset_id, _WHAT))
        return _only(self._client.rows(query.eq("user_id", self._user_id).limit(1)))

    def list(
        self,
        *,
        search: str = "",
        formats: Sequence[DatasetFormat] = (),
        statuses: Sequence[DatasetStatus] = (),
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[Dataset]:
        """Return data sets, newest first; see `DatasetStore.list`."""
        limit = clamp(limit)
        query = self._client.table("datasets").select(*DATASET_COLUMNS).eq("user_id", self._user_id)
        if search:
            query = query.filter("name", "imatch", search_pattern(search))
        for column, chosen in (("format", formats), ("status", statuses)):
            if chosen:
                query = query.in_(column, [choice.value for choice in chosen])
        if cursor is not None:
            place = read_place(_CURSOR.read(cursor))
            query = query.lte("created_at", place[0]).or_(behind(("created_at", "id"), place))
        query = query.order("created_at", desc=True).order("id", desc=True).limit(limit + 1)
        return page(
            self._client.rows(query),
            limit,
            read_dataset,
            lambda row: _CURSOR.write(row["created_at"], row["id"]),
        )

    def save(self, dataset: Dataset) -> Dataset:
        """Write back what may change; see `DatasetStore.save`."""
        row = dataset_row(dataset)
        query = self._client.table("datasets").update({name: row[name] for name in _FINDINGS})
        query = query.eq("id", check_id(dataset.id, _WHAT)).eq("user_id", self._user_id)
        return _only(self._client.rows(query))

    def delete(self, dataset_id: str) -> None:
        """Remove the row; see `DatasetStore.delete`. A call that comes twice finds it gone, and that is well."""
        self.get(dataset_id)
        query = self._client.table("datasets").delete(returning=ReturnMethod.minimal)
        self._client.execute(query.eq("id", dataset_id).eq("user_id", self._user_id))

    def _check_same(self, dataset: Dataset, conflict: Conflict) -> None:
        """Accept a refused insert if the stored row is the same: the call has come twice."""
        taken = Conflict("There is another data set with this id.")
        try:
            known = self.get(dataset.id)
        except NotFound:
            raise taken from conflict
        if any(getattr(known, name) != getattr(dataset, name) for name in _CONTENT) or (
            known.sha256 and dataset.sha256 and known.sha256 != dataset.sha256
        ):
            raise taken from conflict


def _only(rows: Sequence[Row]) -> Dataset:
    if not rows:
        raise not_found(_WHAT)
    return read_dataset(rows[0])
