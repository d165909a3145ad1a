"""What a person does with data sets, on a real store."""

import pytest

from lora_core.actions import datasets, jobs
from lora_core.actions.workspace import Workspace
from lora_core.errors import Conflict, DataError, NotAllowed, NotFound
from lora_core.schema.config import TrainingConfig
from lora_core.schema.dataset import CheckReport, DatasetFormat, FileKind
from lora_core.schema.runner import TaskKind, TaskStatus
from tests.lora_core.actions.scenes import ROW, checked


def test_an_upload_is_stored_and_waits_for_its_check(workspace: Workspace) -> None:
    dataset = datasets.upload_dataset(workspace, "my rows.jsonl", iter([ROW, ROW]))
    view = datasets.view_dataset(workspace, dataset.id)
    assert (view.dataset.bytes, view.dataset.name, view.busy) == (2 * len(ROW), "my rows", True)
    assert view.task is not None
    assert (view.task.kind, view.task.status) == (TaskKind.CHECK_DATASET, TaskStatus.WAITING)


def test_an_empty_file_leaves_nothing_behind(workspace: Workspace) -> None:
    with pytest.raises(DataError, match=r"rows\.jsonl is empty"):
        datasets.upload_dataset(workspace, "rows.jsonl", iter([b""]))
    assert not datasets.list_datasets(workspace).items


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b\\c", "\x00\n", "", "x" * 500, "👩‍🚀.jsonl"])
def test_a_file_name_never_becomes_part_of_a_key(workspace: Workspace, name: str) -> None:
    dataset = datasets.upload_dataset(workspace, name, iter([ROW]))
    assert dataset.storage_path == f"{workspace.user_id}/datasets/{dataset.id}/data"
    assert 0 < len(dataset.name) <= 120


def test_a_preview_shows_the_conversation(workspace: Workspace) -> None:
    dataset = checked(workspace, datasets.upload_dataset(workspace, "a.jsonl", iter([ROW])))
    (row,) = datasets.preview_dataset(workspace, dataset)
    assert [message.content for message in row.messages] == ["hi", "hello"]


def test_a_download_is_the_file_that_was_uploaded(workspace: Workspace) -> None:
    dataset = datasets.upload_dataset(workspace, "a.jsonl", iter([ROW, ROW]))
    name, content = datasets.download_dataset(workspace, dataset.id)
    assert (name, b"".join(content)) == ("a.jsonl", ROW + ROW)


def test_a_data_set_that_a_job_waits_for_cannot_be_deleted(workspace: Workspace) -> None:
    dataset = checked(workspace, datasets.upload_dataset(workspace, "a.jsonl", iter([ROW])))
    jobs.submit_job(workspace, name="job", dataset_id=dataset.id, config=TrainingConfig())
    with pytest.raises(Conflict):
        datasets.delete_dataset(workspace, dataset.id)
    assert datasets.preview_dataset(workspace, dataset)


def test_a_deleted_data_set_is_gone_with_its_file(workspace: Workspace) -> None:
    dataset = datasets.upload_dataset(workspace, "a.jsonl", iter([ROW]))
    datasets.delete_dataset(workspace, dataset.id)
    with pytest.raises(NotFound):
        datasets.view_dataset(workspace, dataset.id)
    with pytest.raises(NotFound):
        workspace.blobs.open(dataset.storage_bucket, dataset.storage_path)


def test_good_rows_cannot_be_dropped(workspace: Workspace) -> None:
    report = CheckReport(
        file_kind=FileKind.JSONL, format=DatasetFormat.MESSAGES, confidence=1.0, rows=1, good_rows=1
    )
    dataset = checked(workspace, datasets.upload_dataset(workspace, "a.jsonl", iter([ROW])), report=report)
    with pytest.raises(NotAllowed, match="nothing to drop"):
        datasets.drop_bad_rows(workspace, dataset.id)


def test_asking_twice_for_the_same_work_makes_one_task(workspace: Workspace) -> None:
    dataset = checked(workspace, datasets.upload_dataset(workspace, "a.jsonl", iter([ROW])))
    first = datasets.measure_tokens(workspace, dataset.id, "smollm2-135m-instruct")
    assert datasets.measure_tokens(workspace, dataset.id, "smollm2-135m-instruct").id == first.id


def test_another_person_sees_none_of_it(studio: object, workspace: Workspace) -> None:
    dataset = datasets.upload_dataset(workspace, "a.jsonl", iter([ROW]))
    stranger = studio.workspace("00000000-0000-4000-8000-0000000000ff")  # type: ignore[attr-defined]
    assert not datasets.list_datasets(stranger).items
    with pytest.raises(NotFound):
        datasets.download_dataset(stranger, dataset.id)
