"""What a person does with data sets: upload, look, map columns, rename, clean, download, delete."""

from collections.abc import Iterator
from dataclasses import dataclass

from lora_core.actions.files import chunks_of, drop_local_copy, local_copy
from lora_core.actions.workspace import Workspace
from lora_core.datasets.example import Message
from lora_core.datasets.preview import PreviewRow, preview_rows
from lora_core.errors import DataError, NotAllowed
from lora_core.schema.base import Page, new_id, utc_now
from lora_core.schema.dataset import ColumnMapping, Dataset, DatasetFormat, DatasetStatus
from lora_core.schema.runner import Task, TaskKind, TaskStatus

__all__ = [
    "DatasetView",
    "Message",
    "PreviewRow",
    "check_again",
    "delete_dataset",
    "download_dataset",
    "download_issues",
    "drop_bad_rows",
    "find_cleaned",
    "list_datasets",
    "map_columns",
    "max_upload_bytes",
    "measure_tokens",
    "preview_dataset",
    "rename_dataset",
    "upload_dataset",
    "view_dataset",
]

MAX_NAME = 120
OPEN_TASKS = (TaskStatus.WAITING, TaskStatus.RUNNING)


@dataclass(frozen=True)
class DatasetView:
    """A data set with the work that is going on about it."""

    dataset: Dataset
    task: Task | None

    @property
    def busy(self) -> bool:
        """Whether a runner is (or will be) at work on it."""
        return self.task is not None and self.task.status in OPEN_TASKS


def max_upload_bytes(workspace: Workspace) -> int:
    """Return how large an uploaded file may be: as the studio is set, or less where the store takes less."""
    return min(workspace.settings.max_upload_bytes, workspace.blobs.max_object_bytes)


def upload_dataset(
    workspace: Workspace, file_name: str, content: Iterator[bytes], *, name: str = ""
) -> Dataset:
    """Store a file as a new data set and ask a runner to check it. The file is streamed; its name never becomes a key.

    Raises:
        DataError: The file is empty.
        TooLarge: Above the store's limit.
        DiskFull: No space left.
    """
    dataset_id = new_id()
    key = f"{workspace.user_id}/datasets/{dataset_id}/data"
    size, sha256 = workspace.blobs.put("lora-datasets", key, content)
    if size == 0:
        workspace.blobs.delete("lora-datasets", key)
        raise DataError(f"{file_name or 'The file'} is empty.", "Choose a file with at least one row.")
    dataset = Dataset(
        id=dataset_id,
        user_id=workspace.user_id,
        name=_clean_name(name or _stem(file_name)),
        file_name=_clean_name(file_name, default="data"),
        storage_path=key,
        bytes=size,
        sha256=sha256,
        created_at=utc_now(),
    )
    try:
        workspace.datasets.add(dataset)
    except NotAllowed:  # beyond the storage limit: a file without a row would count and be seen by nobody
        workspace.blobs.delete("lora-datasets", key)
        raise
    _ask(workspace, TaskKind.CHECK_DATASET, dataset.id)
    return dataset


def list_datasets(
    workspace: Workspace, *, search: str = "", limit: int = 50, cursor: str | None = None
) -> Page[Dataset]:
    """Return data sets, newest first."""
    return workspace.datasets.list(search=search, limit=limit, cursor=cursor)


def view_dataset(workspace: Workspace, dataset_id: str) -> DatasetView:
    """Return a data set and its newest task.

    Raises:
        NotFound: No such data set of this person.
    """
    dataset = workspace.datasets.get(dataset_id)
    tasks = workspace.tasks.of_subject(dataset_id)
    return DatasetView(dataset, tasks[0] if tasks else None)


def preview_dataset(
    workspace: Workspace, dataset: Dataset, *, offset: int = 0, limit: int = 5, search: str = ""
) -> list[PreviewRow]:
    """Return a few rows as conversations (or text), with what is wrong in them.

    Raises:
        DataError: The file cannot be read.
    """
    path = local_copy(workspace, dataset)
    return list(
        preview_rows(
            path,
            dataset.format,
            dataset.mapping,
            offset=offset,
            limit=min(limit, 50),
            search=search,
            file_name=dataset.file_name,
        )
    )


def map_columns(
    workspace: Workspace, dataset_id: str, dataset_format: DatasetFormat, mapping: ColumnMapping
) -> Dataset:
    """Say by hand what format a data set has and which column plays which part; it is checked again."""
    _refuse_busy(workspace, dataset_id)
    dataset = workspace.datasets.get(dataset_id)
    changed = dataset.model_copy(
        update={
            "format": dataset_format,
            "mapping": mapping,
            "status": DatasetStatus.UPLOADED,
            "report": None,
        }
    )
    workspace.datasets.save(changed)
    _ask(
        workspace,
        TaskKind.CHECK_DATASET,
        dataset_id,
        format=dataset_format.value,
        mapping=mapping.model_dump(),
    )
    return changed


def check_again(workspace: Workspace, dataset_id: str) -> Task:
    """Ask a runner to check a data set once more, with the columns as they are mapped now.

    Raises:
        NotAllowed: A runner is at work on it already.
    """
    _refuse_busy(workspace, dataset_id)
    dataset = workspace.datasets.get(dataset_id)
    if dataset.format is DatasetFormat.UNKNOWN:
        return _ask(workspace, TaskKind.CHECK_DATASET, dataset_id)
    return _ask(
        workspace,
        TaskKind.CHECK_DATASET,
        dataset_id,
        format=dataset.format.value,
        mapping=dataset.mapping.model_dump(),
    )


def find_cleaned(workspace: Workspace, dataset_id: str) -> Dataset | None:
    """Return the newest version made from a data set by dropping bad rows, among the 100 newest data sets."""
    newest = workspace.datasets.list(limit=100).items
    return next((dataset for dataset in newest if dataset.parent_id == dataset_id), None)


def measure_tokens(
    workspace: Workspace, dataset_id: str, model: str, *, max_length: int = 1024, loss_on: str = "completion"
) -> Task:
    """Ask a runner to count tokens with a base model's tokenizer; the result lands in the data set's report."""
    return _ask(
        workspace, TaskKind.MEASURE_DATASET, dataset_id, model=model, max_length=max_length, loss_on=loss_on
    )


def drop_bad_rows(workspace: Workspace, dataset_id: str, *, drop_duplicates: bool = False) -> Task:
    """Make a new version without the rows the check refused; the old version stays.

    Raises:
        NotAllowed: The check found no bad row, or no good one.
    """
    dataset = workspace.datasets.get(dataset_id)
    report = dataset.report
    if report is None or not (report.error_rows or (drop_duplicates and report.duplicate_rows)):
        raise NotAllowed("There is nothing to drop: every row of this data set is good.")
    if report.good_rows == 0:
        raise NotAllowed("No row would be left.", "Map the columns by hand or upload another file.")
    return _ask(workspace, TaskKind.DROP_BAD_ROWS, dataset_id, drop_duplicates=drop_duplicates)


def rename_dataset(workspace: Workspace, dataset_id: str, name: str) -> Dataset:
    """Give a data set another name."""
    dataset = workspace.datasets.get(dataset_id)
    return workspace.datasets.save(dataset.model_copy(update={"name": _clean_name(name)}))


def delete_dataset(workspace: Workspace, dataset_id: str) -> None:
    """Remove a data set, its file and the list of its issues.

    Raises:
        Conflict: A live or paused job uses it.
    """
    dataset = workspace.datasets.get(dataset_id)
    workspace.datasets.delete(dataset_id)
    workspace.blobs.delete(dataset.storage_bucket, dataset.storage_path)
    workspace.blobs.delete(dataset.storage_bucket, issues_key(dataset))
    drop_local_copy(workspace, dataset_id)


def download_dataset(workspace: Workspace, dataset_id: str) -> tuple[str, Iterator[bytes]]:
    """Return the person's file name and the file as chunks."""
    dataset = workspace.datasets.get(dataset_id)
    return dataset.file_name or dataset.name, chunks_of(
        workspace.blobs.open(dataset.storage_bucket, dataset.storage_path)
    )


def download_issues(workspace: Workspace, dataset_id: str) -> tuple[str, Iterator[bytes]]:
    """Return every issue the check found, one JSON object a line.

    Raises:
        NotFound: The check found none, or has not run.
    """
    dataset = workspace.datasets.get(dataset_id)
    key = issues_key(dataset)
    return f"{dataset.name}-issues.jsonl", chunks_of(workspace.blobs.open(dataset.storage_bucket, key))


def issues_key(dataset: Dataset) -> str:
    """Key of the file that lists every issue of a data set, beside the data set itself."""
    return f"{dataset.storage_path.rsplit('/', 1)[0]}/issues.jsonl"


def _ask(workspace: Workspace, kind: TaskKind, subject_id: str, **arguments: object) -> Task:
    now = utc_now()
    return workspace.tasks.add(
        Task(
            id=new_id(),
            user_id=workspace.user_id,
            kind=kind,
            subject_id=subject_id,
            arguments=arguments,
            created_at=now,
            updated_at=now,
        )
    )


def _refuse_busy(workspace: Workspace, dataset_id: str) -> None:
    if view_dataset(workspace, dataset_id).busy:
        raise NotAllowed(
            "A runner is still checking this data set.", "Wait until it is done, then try again."
        )


def _stem(file_name: str) -> str:
    base = file_name.replace("\\", "/").rsplit("/", 1)[-1]
    return base.split(".", 1)[0] or base


def _clean_name(name: str, *, default: str = "data set") -> str:
    """Make a name fit to show: one line, printable, at most 120 characters."""
    printable = "".join(character if character.isprintable() else " " for character in name)
    return " ".join(printable.split())[:MAX_NAME] or default
