"""What every store of tasks must do, on both of its sides."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from lora_core.errors import Conflict, Forbidden, NotFound
from lora_core.schema.dataset import DatasetStatus
from lora_core.schema.runner import TaskKind, TaskStatus
from lora_core.store.base import TaskPort
from tests.contracts.samples import (
    ANNE,
    BEN,
    ROWS,
    START,
    Studio,
    dataset_of,
    runner_of,
    task_of,
)
from tests.contracts.store_contract.stage import StoreContract


class TaskStoreContract(StoreContract):
    def test_a_task_waits_until_a_runner_takes_it(self, studio: Studio, task_port: TaskPort) -> None:
        dataset = studio.add_dataset()
        task = studio.anne.tasks.add(task_of(ANNE, dataset.id, arguments={"rows": 3}))
        assert task.status is TaskStatus.WAITING
        claimed = task_port.claim_task(runner_of(), lease_seconds=30)
        assert claimed is not None
        assert (claimed.id, claimed.status, claimed.arguments) == (task.id, TaskStatus.RUNNING, {"rows": 3})
        assert task_port.claim_task(runner_of(), lease_seconds=30) is None

    def test_an_open_task_is_not_added_twice(self, studio: Studio, task_port: TaskPort) -> None:
        first = studio.anne.tasks.add(task_of(ANNE, "subject"))
        assert studio.anne.tasks.add(task_of(ANNE, "subject")).id == first.id
        task_port.claim_task(runner_of(), lease_seconds=30)
        task_port.end_task(first.id)
        assert studio.anne.tasks.add(task_of(ANNE, "subject")).id != first.id

    def test_another_persons_task_is_not_found(self, studio: Studio) -> None:
        task = studio.anne.tasks.add(task_of(ANNE, "subject"))
        with pytest.raises(NotFound):
            studio.ben.tasks.get(task.id)
        assert not studio.ben.tasks.of_subject("subject")

    def test_tasks_of_a_subject_are_newest_first(self, studio: Studio) -> None:
        kinds = [TaskKind.CHECK_DATASET, TaskKind.DROP_BAD_ROWS, TaskKind.MEASURE_DATASET]
        for minute, kind in enumerate(kinds):
            studio.anne.tasks.add(
                task_of(ANNE, "subject", kind, created_at=START + timedelta(minutes=minute))
            )
        assert [task.kind for task in studio.anne.tasks.of_subject("subject")] == kinds[::-1]

    def test_the_oldest_task_is_taken_first(self, studio: Studio, task_port: TaskPort) -> None:
        studio.anne.tasks.add(task_of(ANNE, "newer", created_at=START + timedelta(minutes=1)))
        studio.anne.tasks.add(task_of(ANNE, "older"))
        claimed = task_port.claim_task(runner_of(), lease_seconds=30)
        assert claimed is not None
        assert claimed.subject_id == "older"

    def test_progress_shows_and_keeps_the_task(
        self, studio: Studio, task_port: TaskPort, pass_time: Callable[[float], None]
    ) -> None:
        task = studio.anne.tasks.add(task_of(ANNE, "subject"))
        task_port.claim_task(runner_of(), lease_seconds=30)
        pass_time(20)
        task_port.progress_task(task.id, progress=0.5, message="half", lease_seconds=30)
        pass_time(20)
        assert task_port.claim_task(runner_of("other"), lease_seconds=30) is None
        assert (studio.anne.tasks.get(task.id).progress, studio.anne.tasks.get(task.id).message) == (
            0.5,
            "half",
        )

    def test_a_task_of_a_lost_runner_is_taken_again(
        self, studio: Studio, task_port: TaskPort, pass_time: Callable[[float], None]
    ) -> None:
        task = studio.anne.tasks.add(task_of(ANNE, "subject"))
        task_port.claim_task(runner_of(), lease_seconds=30)
        pass_time(31)
        again = task_port.claim_task(runner_of("other"), lease_seconds=30)
        assert again is not None
        assert (again.id, again.runner_id) == (task.id, "other")

    def test_a_task_that_loses_every_runner_fails(
        self, studio: Studio, task_port: TaskPort, pass_time: Callable[[float], None]
    ) -> None:
        task = studio.anne.tasks.add(task_of(ANNE, "subject"))
        for _ in range(4):
            task_port.claim_task(runner_of(), lease_seconds=30)
            pass_time(31)
        assert studio.anne.tasks.get(task.id).status is TaskStatus.FAILED

    @pytest.mark.parametrize(("error", "status"), [("", TaskStatus.DONE), ("bad file", TaskStatus.FAILED)])
    def test_an_ended_task_says_how(
        self, studio: Studio, task_port: TaskPort, error: str, status: TaskStatus
    ) -> None:
        task = studio.anne.tasks.add(task_of(ANNE, "subject"))
        task_port.claim_task(runner_of(), lease_seconds=30)
        task_port.end_task(task.id, error=error)
        task_port.end_task(task.id, error=error)
        ended = studio.anne.tasks.get(task.id)
        assert (ended.status, ended.error) == (status, error)

    def test_an_ended_task_takes_no_progress(self, studio: Studio, task_port: TaskPort) -> None:
        task = studio.anne.tasks.add(task_of(ANNE, "subject"))
        task_port.claim_task(runner_of(), lease_seconds=30)
        task_port.end_task(task.id)
        with pytest.raises(Conflict):
            task_port.progress_task(task.id, progress=0.1, message="", lease_seconds=30)

    def test_a_task_writes_back_what_it_found_in_its_data_set(
        self, studio: Studio, task_port: TaskPort
    ) -> None:
        dataset = studio.add_dataset()
        task = studio.anne.tasks.add(task_of(ANNE, dataset.id))
        task_port.claim_task(runner_of(), lease_seconds=30)
        with task_port.open_task_dataset(task.id) as stream:
            assert stream.read() == ROWS
        found = task_port.task_dataset(task.id).model_copy(update={"rows": 1, "status": DatasetStatus.READY})
        task_port.save_task_dataset(task.id, found)
        assert studio.anne.datasets.get(dataset.id) == found

    def test_a_task_can_store_a_new_version(
        self, studio: Studio, task_port: TaskPort, tmp_path: Path
    ) -> None:
        dataset = studio.add_dataset()
        task = studio.anne.tasks.add(task_of(ANNE, dataset.id, TaskKind.DROP_BAD_ROWS))
        task_port.claim_task(runner_of(), lease_seconds=30)
        (tmp_path / "good").write_bytes(b"{}\n")
        version = dataset_of(ANNE, parent_id=dataset.id)
        stored = task_port.save_task_dataset(task.id, version, tmp_path / "good")
        assert (stored.bytes, studio.anne.datasets.get(version.id)) == (3, stored)
        with studio.anne.blobs.open(stored.storage_bucket, stored.storage_path) as stream:
            assert stream.read() == b"{}\n"

    def test_a_task_cannot_write_other_data_sets(
        self, studio: Studio, task_port: TaskPort, tmp_path: Path
    ) -> None:
        dataset, other = studio.add_dataset(), studio.add_dataset()
        task = studio.anne.tasks.add(task_of(ANNE, dataset.id))
        task_port.claim_task(runner_of(), lease_seconds=30)
        (tmp_path / "new").write_bytes(b"{}\n")
        with pytest.raises(Forbidden):
            task_port.save_task_dataset(task.id, other)
        with pytest.raises(Forbidden):
            task_port.save_task_dataset(task.id, dataset, tmp_path / "new")
        with pytest.raises(Forbidden):
            task_port.save_task_dataset(task.id, dataset_of(BEN, parent_id=dataset.id), tmp_path / "new")

    def test_a_task_may_read_the_data_set_it_compares_with(self, studio: Studio, task_port: TaskPort) -> None:
        dataset, peer = studio.add_dataset(), studio.add_dataset()
        task = studio.anne.tasks.add(task_of(ANNE, dataset.id, arguments={"compare_with": peer.id}))
        task_port.claim_task(runner_of(), lease_seconds=30)
        assert task_port.task_peer(task.id) == peer
        with task_port.open_task_peer(task.id) as stream:
            assert stream.read() == ROWS

    def test_a_task_compares_with_nobody_elses_data_set(self, studio: Studio, task_port: TaskPort) -> None:
        dataset = studio.add_dataset()
        theirs = dataset_of(BEN)
        studio.ben.datasets.add(theirs)
        for compared in ({"compare_with": theirs.id}, {}):
            task = studio.anne.tasks.add(task_of(ANNE, dataset.id, arguments=compared))
            task_port.claim_task(runner_of(), lease_seconds=30)
            with pytest.raises(NotFound):
                task_port.open_task_peer(task.id)
            task_port.end_task(task.id)

    def test_a_data_set_without_content_gets_it_once(
        self, studio: Studio, task_port: TaskPort, tmp_path: Path
    ) -> None:
        dataset = dataset_of(ANNE, bytes=0, sha256="")
        studio.anne.datasets.add(dataset)
        task = studio.anne.tasks.add(task_of(ANNE, dataset.id, TaskKind.IMPORT_DATASET))
        task_port.claim_task(runner_of(), lease_seconds=30)
        (tmp_path / "rows").write_bytes(b"{}\n")
        found = dataset.model_copy(update={"rows": 1, "status": DatasetStatus.READY})
        for _ in range(2):  # the first answer may have been lost
            stored = task_port.save_task_dataset(task.id, found, tmp_path / "rows")
            assert (stored.bytes, stored.rows, len(stored.sha256)) == (3, 1, 64)
        assert studio.anne.datasets.get(dataset.id) == stored
        with studio.anne.blobs.open(stored.storage_bucket, stored.storage_path) as stream:
            assert stream.read() == b"{}\n"
        (tmp_path / "rows").write_bytes(b"[]\n")
        with pytest.raises(Forbidden):
            task_port.save_task_dataset(task.id, found, tmp_path / "rows")
