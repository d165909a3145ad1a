"""Data sets from elsewhere: a split of a Hugging Face data set, or a file that lies in the bucket `training-files`."""

import re
from itertools import islice

from lora_core.actions.datasets import ask, clean_name, max_upload_bytes, upload_dataset
from lora_core.actions.files import HasListing, chunks_of
from lora_core.actions.workspace import Workspace
from lora_core.errors import DataError, Forbidden, NotAllowed, NotFound
from lora_core.schema.base import new_id, utc_now
from lora_core.schema.dataset import Dataset
from lora_core.schema.runner import Task, TaskKind

BUCKET = "training-files"
LISTED = 200

_REPO = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?", re.ASCII)
_NAME = re.compile(r"[\w.+=/-]{0,100}", re.ASCII)


def import_from_hub(
    workspace: Workspace,
    repo: str,
    *,
    config: str = "",
    split: str = "train",
    revision: str = "",
    row_limit: int | None = None,
    name: str = "",
) -> Dataset:
    """Make a data set and ask a runner to fill it from the Hugging Face Hub.

    A token for a private or gated one is the runner's own (HF_TOKEN); none is sent along.

    Args:
        repo: Id on the Hub, owner/name.
        config: Which of its subsets; empty for the only one.
        split: Such as train; a slice such as train[:1000] is not taken, use `row_limit`.
        revision: Branch, tag or commit; empty for the newest.
        row_limit: Most rows, from the beginning.
        name: For the list; made of the id if empty.

    Raises:
        DataError: An id, subset, split or revision that cannot be one.
    """
    repo = repo.strip().removeprefix("https://huggingface.co/").removeprefix("datasets/").strip("/")
    if not _REPO.fullmatch(repo) or ".." in repo:
        raise DataError(
            f"{repo[:100]!r} is no id of a data set.", "Write it as owner/name, as its page does."
        )
    for what, value in (("subset", config), ("split", split), ("revision", revision)):
        if not _NAME.fullmatch(value) or ".." in value:
            raise DataError(f"{value[:100]!r} is no {what}.", "Letters, digits and . _ - + = / are allowed.")
    if not split:
        raise DataError("No split is named.", "Most data sets have one called train.")
    dataset_id = new_id()
    dataset = Dataset(
        id=dataset_id,
        user_id=workspace.user_id,
        name=clean_name(name or f"{repo.rsplit('/', 1)[-1]} ({', '.join(filter(None, [config, split]))})"),
        file_name=clean_name(f"{repo.replace('/', '--')}.{split.replace('/', '-')}.jsonl"),
        storage_path=f"{workspace.user_id}/datasets/{dataset_id}/data",
        bytes=0,
        created_at=utc_now(),
    )
    workspace.datasets.add(dataset)
    ask(
        workspace,
        TaskKind.IMPORT_DATASET,
        dataset_id,
        repo=repo,
        config=config,
        split=split,
        revision=revision,
        row_limit=row_limit,
        max_bytes=max_upload_bytes(workspace),
    )
    return dataset


def import_again(workspace: Workspace, dataset_id: str) -> Task:
    """Ask once more for an import that failed.

    Raises:
        NotAllowed: The data set was not to be imported, or has its rows.
    """
    dataset = workspace.datasets.get(dataset_id)
    tasks = [task for task in workspace.tasks.of_subject(dataset_id) if task.kind is TaskKind.IMPORT_DATASET]
    if dataset.bytes or not tasks:
        raise NotAllowed(f"{dataset.name!r} has nothing to import.", "Import it as a new data set.")
    return ask(workspace, TaskKind.IMPORT_DATASET, dataset_id, **tasks[0].arguments)


def importable_files(workspace: Workspace) -> list[str]:
    """Return paths of the person's files in `training-files`, the first 200; empty where the store cannot list."""
    if not isinstance(workspace.blobs, HasListing):
        return []
    start = len(workspace.user_id) + 1
    return sorted(key[start:] for key in islice(workspace.blobs.keys(BUCKET), LISTED))


def where_to_put_files(workspace: Workspace) -> str:
    """Say where a file has to lie to be importable."""
    folder = f"{BUCKET}/{workspace.user_id}"
    return folder if workspace.settings.team else str(workspace.settings.files / folder)


def import_file(workspace: Workspace, path: str, *, name: str = "") -> Dataset:
    """Make a data set of a file in `training-files`. It is copied: a data set's content never changes. The file stays.

    Args:
        path: Below the person's folder of the bucket.
        name: For the list; made of the path if empty.

    Raises:
        NotFound: No such file.
        DataError: The file is empty.
        TooLarge: Above the store's limit.
    """
    try:
        stream = workspace.blobs.open(BUCKET, f"{workspace.user_id}/{path.strip('/')}")
    except Forbidden as error:
        raise NotFound(
            f"{path[:100]!r} cannot be imported: {error.message}", "Give the file a plain name."
        ) from error
    return upload_dataset(workspace, path.rsplit("/", 1)[-1], chunks_of(stream), name=name)
