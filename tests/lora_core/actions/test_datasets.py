"""What a person does with data sets, on a real store."""

import pytest

from lora_core.actions import audit, datasets, jobs
from lora_core.actions.workspace import Workspace
from lora_core.errors import ConfigError, Conflict, DataError, NotAllowed, NotFound
from lora_core.schema.config import TrainingConfig
from lora_core.schema.dataset import (
    CheckReport,
    DatasetFormat,
    DropKind,
    FileKind,
    Histogram,
    LengthStats,
    SimilarReport,
    TokenReport,
)
from lora_core.schema.runner import TaskKind, TaskStatus
from lora_core.studio import Studio
from tests.lora_core.actions.scenes import ROW, RUNNER, checked
from tests.pages.checked import end_tasks


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


def test_a_data_set_is_busy_as_long_as_any_task_about_it_is_open(
    studio: Studio, workspace: Workspace
) -> None:
    dataset = checked(workspace, datasets.upload_dataset(workspace, "a.jsonl", iter([ROW])))
    measuring = datasets.measure_tokens(workspace, dataset.id, "some/model")
    port = studio.task_port()
    checking, newer = (port.claim_task(RUNNER, lease_seconds=60) for _ in range(2))
    assert checking is not None
    assert newer is not None
    assert newer.id == measuring.id
    port.end_task(newer.id)
    view = datasets.view_dataset(workspace, dataset.id)
    assert view.busy
    assert view.task is not None
    assert view.task.id == checking.id
    port.end_task(checking.id)
    view = datasets.view_dataset(workspace, dataset.id)
    assert not view.busy
    assert view.task is not None
    assert view.task.id == newer.id


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
        datasets.drop_rows(workspace, dataset.id, list(DropKind))


def test_only_kinds_that_were_found_and_chosen_are_dropped(workspace: Workspace) -> None:
    similar = SimilarReport(similarity=0.8, near_duplicate_rows=3, compared_with="other", in_both_rows=1)
    report = CheckReport(
        file_kind=FileKind.JSONL,
        format=DatasetFormat.MESSAGES,
        confidence=1.0,
        rows=9,
        good_rows=8,
        error_rows=1,
        similar=similar,
    )
    dataset = checked(workspace, datasets.upload_dataset(workspace, "a.jsonl", iter([ROW])), report=report)
    assert datasets.droppable(dataset) == {
        DropKind.ERRORS: 1,
        DropKind.NEAR_DUPLICATES: 3,
        DropKind.LEAKED: 1,
    }
    task = datasets.drop_rows(workspace, dataset.id, [DropKind.DUPLICATES, DropKind.LEAKED])
    assert task.arguments == {"kinds": ["leaked"], "compare_with": "other"}


def test_similar_rows_are_looked_for_with_the_columns_as_they_are_mapped(
    studio: Studio, workspace: Workspace
) -> None:
    dataset = checked(workspace, datasets.upload_dataset(workspace, "a.jsonl", iter([ROW])))
    other = checked(workspace, datasets.upload_dataset(workspace, "b.jsonl", iter([ROW])))
    with pytest.raises(NotAllowed, match="still checking"):
        datasets.find_similar(workspace, dataset.id)
    end_tasks(studio)
    task = datasets.find_similar(workspace, dataset.id, compare_with=other.id, seed=3)
    assert task.kind is TaskKind.CHECK_DATASET
    assert (task.arguments["format"], task.arguments["compare_with"]) == ("messages", other.id)
    unknown = checked(
        workspace,
        datasets.upload_dataset(workspace, "c.jsonl", iter([ROW])),
        format=DatasetFormat.UNKNOWN,
    )
    end_tasks(studio)
    with pytest.raises(NotAllowed, match="format of 'c' is not known"):
        datasets.find_similar(workspace, dataset.id, compare_with=unknown.id)


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


def test_preference_data_cannot_be_trained_on_yet_and_says_what_it_is_for(workspace: Workspace) -> None:
    row = b'{"prompt": "a", "chosen": "b", "rejected": "c"}\n'
    pairs = checked(
        workspace, datasets.upload_dataset(workspace, "p.jsonl", iter([row])), format=DatasetFormat.PREFERENCE
    )
    chat = checked(workspace, datasets.upload_dataset(workspace, "a.jsonl", iter([ROW])))
    with pytest.raises(NotAllowed, match="serves DPO and ORPO, not supervised fine-tuning"):
        jobs.submit_job(workspace, name="job", dataset_id=pairs.id, config=TrainingConfig())
    config = TrainingConfig.model_validate({"data": {"validation_dataset_id": pairs.id}})
    with pytest.raises(NotAllowed, match="serves DPO and ORPO"):
        jobs.submit_job(workspace, name="job", dataset_id=chat.id, config=config)


def test_only_sensible_conversions_are_asked_for(workspace: Workspace) -> None:
    chat = checked(workspace, datasets.upload_dataset(workspace, "a.jsonl", iter([ROW])))
    with pytest.raises(NotAllowed, match="cannot be converted to preference"):
        datasets.convert_dataset(workspace, chat.id, DatasetFormat.PREFERENCE)
    pairs = checked(
        workspace,
        datasets.upload_dataset(workspace, "p.jsonl", iter([b"{}"])),
        format=DatasetFormat.PREFERENCE,
    )
    assert DatasetFormat.MESSAGES in datasets.conversions_of(pairs)
    assert (
        datasets.convert_dataset(workspace, pairs.id, DatasetFormat.MESSAGES).kind is TaskKind.CONVERT_DATASET
    )


def test_a_job_with_nothing_to_learn_does_not_start(workspace: Workspace) -> None:
    lengths = LengthStats(
        minimum=9,
        median=9,
        mean=9,
        p95=9,
        maximum=9,
        total=9,
        histogram=Histogram(edges=(9, 10), counts=(1,)),
    )
    config = TrainingConfig()
    tokens = TokenReport(
        model=config.model.base,
        lengths=lengths,
        learned_tokens=0,
        over_length_rows=0,
        max_length=config.data.max_length,
        nothing_to_learn_rows=1,
        loss_on=config.data.loss_on,
    )
    report = CheckReport(
        file_kind=FileKind.JSONL,
        format=DatasetFormat.MESSAGES,
        confidence=1.0,
        rows=1,
        good_rows=1,
        tokens=tokens,
    )
    dataset = checked(workspace, datasets.upload_dataset(workspace, "a.jsonl", iter([ROW])), report=report)
    with pytest.raises(ConfigError, match=r"nothing to learn in 'a'.*data\.max_length"):
        jobs.submit_job(workspace, name="job", dataset_id=dataset.id, config=config)
    longer = config.model_copy(update={"data": config.data.model_copy(update={"max_length": 2048})})
    assert audit.audit_for(dataset, config) == tokens
    assert audit.audit_for(dataset, longer) is None  # another length has to be looked at anew
    assert jobs.submit_job(workspace, name="job", dataset_id=dataset.id, config=longer).config == longer


def test_an_audit_is_asked_for_with_the_settings_of_the_job(workspace: Workspace) -> None:
    dataset = checked(workspace, datasets.upload_dataset(workspace, "a.jsonl", iter([ROW])))
    config = TrainingConfig.model_validate({"data": {"max_length": 77, "loss_on": "last"}})
    task = audit.ask_for_audit(workspace, dataset.id, config)
    assert task.kind is TaskKind.MEASURE_DATASET
    assert task.arguments == {"model": config.model.base, "revision": "", "max_length": 77, "loss_on": "last"}
