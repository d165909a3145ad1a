"""Asking for data from elsewhere: what is taken, what is refused, and what a copy is."""

import pytest

from lora_core.actions import datasets
from lora_core.actions.dataset_import import (
    BUCKET,
    import_again,
    import_file,
    import_from_hub,
    importable_files,
    where_to_put_files,
)
from lora_core.actions.workspace import Workspace
from lora_core.errors import DataError, NotAllowed, NotFound
from lora_core.schema.runner import TaskKind
from tests.lora_core.actions.scenes import ROW


def put(workspace: Workspace, path: str) -> None:
    workspace.blobs.put(BUCKET, f"{workspace.user_id}/{path}", iter([ROW, ROW]))


@pytest.mark.parametrize(
    "repo", ["own/pairs", " own/pairs ", "https://huggingface.co/datasets/own/pairs", "datasets/own/pairs"]
)
def test_an_import_is_asked_for_and_the_data_set_waits(workspace: Workspace, repo: str) -> None:
    dataset = import_from_hub(workspace, repo, config="en", revision="v1", row_limit=9)
    view = datasets.view_dataset(workspace, dataset.id)
    assert (view.dataset.name, view.dataset.bytes, view.busy) == ("pairs (en, train)", 0, True)
    assert view.task is not None
    assert view.task.kind is TaskKind.IMPORT_DATASET
    asked = {"repo": "own/pairs", "config": "en", "split": "train", "revision": "v1", "row_limit": 9}
    assert view.task.arguments == asked | {"max_bytes": datasets.max_upload_bytes(workspace)}


@pytest.mark.parametrize(
    ("repo", "choices"),
    [
        ("", {}),
        ("own/pairs/more", {}),
        ("../own", {}),
        ("own/pa irs", {}),
        ("http://elsewhere/own/pairs", {}),
        ("own/pairs", {"split": ""}),
        ("own/pairs", {"split": "train[:10]"}),
        ("own/pairs", {"revision": "../main"}),
        ("own/pairs", {"config": "a;b"}),
    ],
)
def test_what_cannot_be_on_the_hub_is_refused_at_once(
    workspace: Workspace, repo: str, choices: dict[str, str]
) -> None:
    with pytest.raises(DataError):
        import_from_hub(workspace, repo, **choices)
    assert not datasets.list_datasets(workspace).items


def test_only_an_import_without_rows_is_repeated(workspace: Workspace) -> None:
    waiting = import_from_hub(workspace, "own/pairs")
    assert import_again(workspace, waiting.id).arguments["repo"] == "own/pairs"
    uploaded = datasets.upload_dataset(workspace, "a.jsonl", iter([ROW]))
    with pytest.raises(NotAllowed, match="nothing to import"):
        import_again(workspace, uploaded.id)


def test_files_of_the_bucket_are_listed_and_copied(workspace: Workspace) -> None:
    assert importable_files(workspace) == []
    put(workspace, "chats.jsonl")
    put(workspace, "old/more.jsonl")
    assert importable_files(workspace) == ["chats.jsonl", "old/more.jsonl"]
    assert where_to_put_files(workspace).endswith(f"{BUCKET}/{workspace.user_id}")
    dataset = import_file(workspace, "old/more.jsonl")
    assert (dataset.name, dataset.bytes) == ("more", 2 * len(ROW))
    workspace.blobs.delete(BUCKET, f"{workspace.user_id}/old/more.jsonl")
    assert b"".join(datasets.download_dataset(workspace, dataset.id)[1]) == ROW + ROW
    datasets.delete_dataset(workspace, dataset.id)
    assert importable_files(workspace) == ["chats.jsonl"]


@pytest.mark.parametrize("path", ["none.jsonl", "../other/a.jsonl", "a b.jsonl", "", "..", "a\x00"])
def test_a_path_leads_nowhere_else(workspace: Workspace, path: str) -> None:
    put(workspace, "chats.jsonl")
    with pytest.raises(NotFound):
        import_file(workspace, path)
