"""What a person does with data sets: upload, look, map columns, rename, clean, download, delete."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from lora_core.actions.files import chunks_of, drop_local_copy, local_copy
from lora_core.actions.workspace import Workspace
from lora_core.datasets.example import Message
from lora_core.datasets.lay_out import TARGETS
from lora_core.datasets.preview import PreviewRow, preview_rows
from lora_core.errors import DataError, NotAllowed
from lora_core.schema.base import Page, new_id, utc_now
from lora_core.schema.dataset import ColumnMapping, Dataset, DatasetFormat, DatasetStatus, DropKind
from lora_core.schema.runner import Task, TaskKind, TaskStatus

__all__ = [
    "DatasetView",
    "Message",
    "PreviewRow",
    "check_again",
    "conversions_of",
    "convert_dataset",
    "delete_dataset",
    "download_dataset",
    "download_issues",
    "drop_rows",
    "droppable",
    "find_similar",
    "find_versions",
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
        name=clean_name(name or stem_of(file_name)),
        file_name=clean_name(file_name, default="data"),
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
    ask(workspace, TaskKind.CHECK_DATASET, dataset.id)
    return dataset


def list_datasets(
    workspace: Workspace,
    *,
    search: str = "",
    formats: Sequence[DatasetFormat] = (),
    statuses: Sequence[DatasetStatus] = (),
    limit: int = 50,
    cursor: str | None = None,
) -> Page[Dataset]:
    """Return data sets, newest first; see `DatasetStore.list`."""
    return workspace.datasets.list(
        search=search, formats=formats, statuses=statuses, limit=limit, cursor=cursor
    )


def view_dataset(workspace: Workspace, dataset_id: str) -> DatasetView:
    """Return a data set and its newest task; one that is still open comes before a newer one that has ended.

    Raises:
        NotFound: No such data set of this person.
    """
    dataset = workspace.datasets.get(dataset_id)
    tasks = workspace.tasks.of_subject(dataset_id)
    open_ones = [task for task in tasks if task.status in OPEN_TASKS]
    return DatasetView(dataset, next(iter([*open_ones, *tasks]), None))


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
    _ask_for_check(workspace, changed, source=_source(dataset))
    return changed


def check_again(workspace: Workspace, dataset_id: str) -> Task:
    """Ask a runner to check a data set once more, with the columns as they are mapped now.

    Raises:
        NotAllowed: A runner is at work on it already.
    """
    _refuse_busy(workspace, dataset_id)
    dataset = workspace.datasets.get(dataset_id)
    return _ask_for_check(workspace, dataset, source=_source(dataset))


def find_similar(
    workspace: Workspace,
    dataset_id: str,
    *,
    compare_with: str = "",
    validation_fraction: float = 0.0,
    seed: int = 0,
    row_limit: int | None = None,
) -> Task:
    """Ask a runner to check again and to look for rows that repeat others.

    Args:
        compare_with: Id of a validation data set, to find rows that are in both.
        validation_fraction: Share kept back by a split, to find what lies on both sides of it; 0 for no split.
        seed: Of the job (`optimisation.seed`).
        row_limit: Of the job (`data.row_limit`).

    Raises:
        NotAllowed: A runner is at work on it, or one of the two has no rows that can be read.
    """
    _refuse_busy(workspace, dataset_id)
    dataset = workspace.datasets.get(dataset_id)
    peers = [workspace.datasets.get(compare_with)] if compare_with else []
    for each in (dataset, *peers):
        if each.format is DatasetFormat.UNKNOWN:
            raise NotAllowed(f"The format of {each.name!r} is not known yet.", "Map its columns first.")
    return _ask_for_check(
        workspace,
        dataset,
        source=_source(dataset),
        similar=True,
        compare_with=compare_with,
        split={"fraction": validation_fraction, "seed": seed, "row_limit": row_limit},
    )


def find_versions(workspace: Workspace, dataset_id: str) -> list[Dataset]:
    """Return the versions made from a data set, newest first, among the 100 newest data sets."""
    newest = workspace.datasets.list(limit=100).items
    return [dataset for dataset in newest if dataset.parent_id == dataset_id]


def measure_tokens(
    workspace: Workspace,
    dataset_id: str,
    model: str,
    *,
    revision: str = "",
    max_length: int = 1024,
    loss_on: str = "completion",
) -> Task:
    """Ask a runner for the audit: tokens counted with a base model's tokenizer, and what of them is learned.

    The result lands in the data set's report. Text has no answers, so all of it counts as learned; of preference rows the
    judged answers do.
    """
    dataset = workspace.datasets.get(dataset_id)
    fixed = {
        DatasetFormat.TEXT: "all",
        DatasetFormat.PREFERENCE: "last",
        DatasetFormat.UNPAIRED_PREFERENCE: "last",
    }
    return ask(
        workspace,
        TaskKind.MEASURE_DATASET,
        dataset_id,
        model=model,
        revision=revision,
        max_length=max_length,
        loss_on=fixed.get(dataset.format, loss_on),
    )


def droppable(dataset: Dataset) -> dict[DropKind, int]:
    """Return how many rows of each kind a new version could leave out; kinds without rows are not listed."""
    report = dataset.report
    if report is None:
        return {}
    similar = report.similar
    counts = {DropKind.ERRORS: report.error_rows, DropKind.DUPLICATES: report.duplicate_rows}
    if similar is not None:
        counts[DropKind.NEAR_DUPLICATES] = similar.near_duplicate_rows
        counts[DropKind.LEAKED] = similar.in_both_rows + similar.near_in_both_rows
    return {kind: count for kind, count in counts.items() if count}


def drop_rows(workspace: Workspace, dataset_id: str, kinds: Collection[DropKind]) -> Task:
    """Make a new version without the rows of the chosen kinds; the old version stays.

    Raises:
        NotAllowed: There is no such row, or no row would be left.
    """
    dataset = workspace.datasets.get(dataset_id)
    chosen = [kind for kind in droppable(dataset) if kind in kinds]
    if not chosen or dataset.report is None:
        raise NotAllowed("There is nothing to drop: no row of this data set is of a chosen kind.")
    if dataset.report.good_rows == 0:
        raise NotAllowed("No row would be left.", "Map the columns by hand or upload another file.")
    similar = dataset.report.similar
    return ask(
        workspace,
        TaskKind.DROP_BAD_ROWS,
        dataset_id,
        kinds=[kind.value for kind in chosen],
        compare_with=similar.compared_with if similar and DropKind.LEAKED in chosen else "",
    )


def conversions_of(dataset: Dataset) -> tuple[DatasetFormat, ...]:
    """Return the formats that a checked data set can be converted into."""
    return TARGETS.get(dataset.format, ()) if dataset.status is DatasetStatus.READY else ()


def convert_dataset(workspace: Workspace, dataset_id: str, target: DatasetFormat) -> Task:
    """Make a new version in another format; this version stays.

    Raises:
        NotAllowed: Its rows cannot be laid out so, or the check has not passed.
    """
    dataset = workspace.datasets.get(dataset_id)
    if target not in conversions_of(dataset):
        raise NotAllowed(
            f"{dataset.name!r} cannot be converted to {target.value.replace('_', ' ')}.",
            "Only a data set without bad rows can be converted, and only where nothing has to be made up.",
        )
    return ask(workspace, TaskKind.CONVERT_DATASET, dataset_id, target=target.value)


def rename_dataset(workspace: Workspace, dataset_id: str, name: str) -> Dataset:
    """Give a data set another name."""
    dataset = workspace.datasets.get(dataset_id)
    return workspace.datasets.save(dataset.model_copy(update={"name": clean_name(name)}))


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


def ask(workspace: Workspace, kind: TaskKind, subject_id: str, **arguments: object) -> Task:
    """Add a task about a data set, or return the open one of its kind."""
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


def _ask_for_check(workspace: Workspace, dataset: Dataset, **arguments: object) -> Task:
    """Ask for a check with the format and columns that are in use, if there are any yet."""
    if dataset.format is not DatasetFormat.UNKNOWN:
        arguments |= {"format": dataset.format.value, "mapping": dataset.mapping.model_dump()}
    return ask(workspace, TaskKind.CHECK_DATASET, dataset.id, **arguments)


def _source(dataset: Dataset) -> str:
    return dataset.report.source if dataset.report else ""


def _refuse_busy(workspace: Workspace, dataset_id: str) -> None:
    if view_dataset(workspace, dataset_id).busy:
        raise NotAllowed(
            "A runner is still checking this data set.", "Wait until it is done, then try again."
        )


def stem_of(file_name: str) -> str:
    """Return a file's name without folders and endings."""
    base = file_name.replace("\\", "/").rsplit("/", 1)[-1]
    return base.split(".", 1)[0] or base


def clean_name(name: str, *, default: str = "data set") -> str:
    """Make a name fit to show: one line, printable, at most 120 characters."""
    printable = "".join(character if character.isprintable() else " " for character in name)
    return " ".join(printable.split())[:MAX_NAME] or default
