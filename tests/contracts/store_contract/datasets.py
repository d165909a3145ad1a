"""What every store of data sets must do."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from lora_core.errors import Conflict, Forbidden, NotFound, StudioError
from lora_core.schema.dataset import DatasetFormat, DatasetStatus
from lora_core.schema.job import JobStatus
from tests.contracts.samples import (
    BEN,
    START,
    Studio,
    dataset_of,
    with_validation,
)
from tests.contracts.store_contract.stage import StoreContract, walk


class DatasetStoreContract(StoreContract):
    def test_a_data_set_comes_back_as_it_was_added(self, studio: Studio) -> None:
        dataset = studio.add_dataset(name="Tickets", sha256="ab", rows=3, file_name="my tickets.jsonl")
        assert studio.anne.datasets.get(dataset.id) == dataset

    def test_adding_the_same_data_set_twice_changes_nothing(self, studio: Studio) -> None:
        dataset = studio.add_dataset()
        studio.anne.datasets.add(dataset)
        assert len(studio.anne.datasets.list().items) == 1

    def test_adding_other_content_under_the_same_id_is_a_conflict(self, studio: Studio) -> None:
        dataset = studio.add_dataset()
        with pytest.raises(Conflict):
            studio.anne.datasets.add(dataset.model_copy(update={"bytes": 99}))

    def test_a_data_set_for_somebody_else_is_refused(self, studio: Studio) -> None:
        with pytest.raises(Forbidden):
            studio.anne.datasets.add(dataset_of(BEN))

    def test_another_persons_data_set_is_not_found(self, studio: Studio) -> None:
        dataset = studio.add_dataset()
        with pytest.raises(NotFound):
            studio.ben.datasets.get(dataset.id)

    def test_another_person_cannot_save_or_delete_a_data_set(self, studio: Studio) -> None:
        dataset = studio.add_dataset()
        with pytest.raises(NotFound):
            studio.ben.datasets.save(dataset)
        with pytest.raises(NotFound):
            studio.ben.datasets.delete(dataset.id)

    def test_lists_are_newest_first_and_complete_over_pages(self, studio: Studio) -> None:
        added = [studio.add_dataset(created_at=START + timedelta(hours=hour)) for hour in (1, 3, 2, 2, 2)]
        listed = walk(lambda cursor: studio.anne.datasets.list(limit=2, cursor=cursor))
        assert [dataset.created_at.hour - 12 for dataset in listed] == [3, 2, 2, 2, 1]
        assert {dataset.id for dataset in listed} == {dataset.id for dataset in added}

    def test_data_sets_are_filtered_by_format_and_status(self, studio: Studio) -> None:
        chat = studio.add_dataset(format=DatasetFormat.MESSAGES, status=DatasetStatus.READY)
        bad = studio.add_dataset(format=DatasetFormat.MESSAGES, status=DatasetStatus.HAS_ERRORS)
        pairs = studio.add_dataset(format=DatasetFormat.PREFERENCE, status=DatasetStatus.READY)

        def found(**chosen: Any) -> set[str]:
            return {dataset.id for dataset in studio.anne.datasets.list(**chosen).items}

        assert found(formats=[DatasetFormat.MESSAGES]) == {chat.id, bad.id}
        assert found(statuses=[DatasetStatus.READY]) == {chat.id, pairs.id}
        assert found(formats=[DatasetFormat.PREFERENCE, DatasetFormat.TEXT]) == {pairs.id}
        assert found(formats=[DatasetFormat.MESSAGES], statuses=[DatasetStatus.READY]) == {chat.id}
        assert found() == {chat.id, bad.id, pairs.id}

    @pytest.mark.parametrize("search", ["äpfel", "50%_"])
    def test_search_takes_the_text_as_it_is_whatever_its_case(self, studio: Studio, search: str) -> None:
        wanted = studio.add_dataset(name="ÄPFEL 50%_x")
        studio.add_dataset(name="Birnen 500_x")
        assert [dataset.id for dataset in studio.anne.datasets.list(search=search).items] == [wanted.id]

    @pytest.mark.parametrize("cursor", ["", "x", "bm90IGpzb24", "WyJqb2JzIiwgMV0", "\udcff", "ä"])
    def test_a_bad_cursor_is_a_studio_error(self, studio: Studio, cursor: str) -> None:
        with pytest.raises(StudioError):
            studio.anne.datasets.list(cursor=cursor)

    def test_saving_changes_findings_but_never_the_content(self, studio: Studio) -> None:
        dataset = studio.add_dataset()
        found = {"name": "New", "rows": 7, "status": DatasetStatus.READY, "format": DatasetFormat.ALPACA}
        saved = studio.anne.datasets.save(
            dataset.model_copy(update={**found, "bytes": 1, "storage_path": "elsewhere"})
        )
        assert saved == studio.anne.datasets.get(dataset.id) == dataset.model_copy(update=found)

    def test_a_data_set_of_a_live_job_cannot_be_deleted(self, studio: Studio) -> None:
        job = studio.submit()
        with pytest.raises(Conflict):
            studio.anne.datasets.delete(job.dataset_id)

    def test_a_data_set_that_a_paused_job_validates_on_cannot_be_deleted(self, studio: Studio) -> None:
        validation = studio.add_dataset()
        job = studio.submit(config=with_validation(validation.id))
        studio.anne.jobs.move(job.id, JobStatus.PAUSED)
        with pytest.raises(Conflict):
            studio.anne.datasets.delete(validation.id)

    def test_a_data_set_of_ended_jobs_can_be_deleted(self, studio: Studio) -> None:
        job = studio.submit()
        studio.anne.jobs.move(job.id, JobStatus.CANCELLED)
        studio.anne.datasets.delete(job.dataset_id)
        with pytest.raises(NotFound):
            studio.anne.datasets.get(job.dataset_id)
