"""What every store must do, written against `lora_core.store.base` alone.

A backend's test file derives from each class and overrides the fixtures `store_for`, `runner_port`, `task_port` and
`pass_time` (`tests/contracts/test_local.py` shows how).
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from lora_core.errors import Conflict, Forbidden, NotAllowed, NotFound, StudioError, TooLarge
from lora_core.schema.artifact import ArtifactKind
from lora_core.schema.base import Page, new_id
from lora_core.schema.dataset import DatasetFormat, DatasetStatus
from lora_core.schema.job import EndOfAttempt, JobFilter, JobStatus, Outcome, RequestedAction
from lora_core.schema.metrics import METRIC_COLUMNS, MetricKind
from lora_core.schema.run import EventKind
from lora_core.schema.runner import TaskKind, TaskStatus
from lora_core.store.base import MAX_PAGE, RunnerPort, TaskPort
from tests.contracts.samples import (
    ANNE,
    BEN,
    ROWS,
    START,
    Events,
    Studio,
    UserStore,
    artifact_of,
    dataset_of,
    folder_of,
    job_of,
    needs_gpu,
    runner_of,
    task_of,
    with_validation,
)

DRAIN_SECONDS = 600


class StoreContract:
    """The fixtures that a backend overrides, and the stage that is made of them."""

    @pytest.fixture
    def store_for(self) -> Callable[[str], UserStore]:
        """Return the stores of a person by id."""
        raise NotImplementedError

    @pytest.fixture
    def runner_port(self) -> RunnerPort:
        """Return what runners may do with jobs."""
        raise NotImplementedError

    @pytest.fixture
    def task_port(self) -> TaskPort:
        """Return what runners may do with tasks."""
        raise NotImplementedError

    @pytest.fixture
    def pass_time(self) -> Callable[[float], None]:
        """Return a function that lets seconds pass for the store."""
        raise NotImplementedError

    @pytest.fixture
    def studio(self, store_for: Callable[[str], UserStore], runner_port: RunnerPort) -> Studio:
        return Studio(store_for(ANNE), store_for(BEN), runner_port)


def walk(read: Callable[[str | None], Page[Any]]) -> list[Any]:
    """Read a list page by page to its end."""
    items: list[Any] = []
    cursor = None
    while True:
        page = read(cursor)
        items += page.items
        cursor = page.cursor
        if cursor is None:
            return items


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


class JobStoreContract(StoreContract):
    def test_a_submitted_job_is_queued(self, studio: Studio) -> None:
        job = studio.submit(name="Try", priority=3, requirements=needs_gpu(1, 24.0))
        stored = studio.anne.jobs.get(job.id)
        assert (stored.status, stored.name, stored.priority) == (JobStatus.QUEUED, "Try", 3)
        assert stored.requirements == needs_gpu(1, 24.0)

    def test_submitting_again_returns_the_stored_job(self, studio: Studio) -> None:
        dataset = studio.add_dataset()
        job = job_of(ANNE, dataset.id)
        first = studio.anne.jobs.submit(job)
        assert studio.anne.jobs.submit(job.model_copy(update={"name": "Other"})) == first
        assert studio.anne.jobs.counts() == {JobStatus.QUEUED: 1}

    def test_a_job_on_somebody_elses_data_set_is_not_found(self, studio: Studio) -> None:
        dataset = studio.add_dataset()
        with pytest.raises(NotFound):
            studio.ben.jobs.submit(job_of(BEN, dataset.id))

    def test_a_job_for_somebody_else_is_refused(self, studio: Studio) -> None:
        with pytest.raises(Forbidden):
            studio.ben.jobs.submit(job_of(ANNE, studio.add_dataset().id))

    def test_another_persons_job_is_not_found(self, studio: Studio) -> None:
        job = studio.submit()
        jobs, metrics = studio.ben.jobs, studio.ben.metrics
        reads: list[Callable[[], object]] = [
            lambda: jobs.get(job.id),
            lambda: jobs.move(job.id, JobStatus.CANCELLED),
            lambda: jobs.request(job.id, RequestedAction.CANCEL),
            lambda: jobs.rename(job.id, "mine"),
            lambda: jobs.delete(job.id),
            lambda: jobs.events(job.id),
            lambda: jobs.attempts(job.id),
            lambda: metrics.series(job.id, MetricKind.TRAIN, ["loss"]),
            lambda: metrics.points(job.id, MetricKind.TRAIN),
            lambda: metrics.latest(job.id, MetricKind.TRAIN),
            lambda: metrics.logs(job.id),
            lambda: studio.ben.artifacts.list(job.id),
        ]
        for read in reads:
            with pytest.raises(NotFound):
                read()
        assert not studio.ben.jobs.list(JobFilter()).items

    def test_lists_are_newest_first_and_complete_over_pages(self, studio: Studio) -> None:
        dataset = studio.add_dataset()
        hours = (5, 1, 3, 3, 4)
        for hour in hours:
            studio.submit(dataset_id=dataset.id, created_at=START + timedelta(hours=hour))
        listed = walk(lambda cursor: studio.anne.jobs.list(JobFilter(), limit=2, cursor=cursor))
        assert [job.created_at for job in listed] == [
            START + timedelta(hours=hour) for hour in (5, 4, 3, 3, 1)
        ]
        assert len({job.id for job in listed}) == len(hours)

    def test_a_limit_above_the_most_is_cut(self, studio: Studio) -> None:
        studio.submit()
        assert len(studio.anne.jobs.list(JobFilter(), limit=MAX_PAGE * 10).items) == 1

    def test_a_filter_finds_by_name_state_and_data_set(self, studio: Studio) -> None:
        first, second = studio.submit(name="Alpha"), studio.submit(name="alphabet")
        studio.anne.jobs.move(second.id, JobStatus.PAUSED)
        found = studio.anne.jobs.list(
            JobFilter(search="ALPHA", statuses=(JobStatus.PAUSED, JobStatus.FAILED))
        )
        assert [job.id for job in found.items] == [second.id]
        found = studio.anne.jobs.list(JobFilter(dataset_id=first.dataset_id))
        assert [job.id for job in found.items] == [first.id]

    def test_a_cursor_of_another_list_is_a_studio_error(self, studio: Studio) -> None:
        for _ in range(2):
            studio.submit()
        cursor = studio.anne.jobs.list(JobFilter(), limit=1).cursor
        with pytest.raises(StudioError):
            studio.anne.datasets.list(cursor=cursor)

    def test_counts_leave_out_states_without_jobs(self, studio: Studio) -> None:
        studio.submit()
        studio.anne.jobs.move(studio.submit().id, JobStatus.PAUSED)
        assert studio.anne.jobs.counts() == {JobStatus.QUEUED: 1, JobStatus.PAUSED: 1}

    def test_a_queued_job_can_be_held_and_queued_again(self, studio: Studio) -> None:
        job = studio.submit()
        assert studio.anne.jobs.move(job.id, JobStatus.PAUSED).status is JobStatus.PAUSED
        assert studio.anne.jobs.move(job.id, JobStatus.QUEUED).status is JobStatus.QUEUED

    def test_a_cancelled_job_has_an_end_until_it_is_tried_again(self, studio: Studio) -> None:
        job = studio.submit()
        assert studio.anne.jobs.move(job.id, JobStatus.CANCELLED).ended_at is not None
        assert studio.anne.jobs.move(job.id, JobStatus.QUEUED).ended_at is None

    @pytest.mark.parametrize(
        "to", [JobStatus.RUNNING, JobStatus.COMPLETED, JobStatus.QUEUED, JobStatus.FAILED]
    )
    def test_a_person_cannot_make_other_transitions(self, studio: Studio, to: JobStatus) -> None:
        with pytest.raises(NotAllowed):
            studio.anne.jobs.move(studio.submit().id, to)

    def test_a_job_that_a_runner_holds_cannot_be_moved(self, studio: Studio) -> None:
        claim = studio.claimed()
        with pytest.raises(NotAllowed):
            studio.anne.jobs.move(claim.job.id, JobStatus.CANCELLED)

    def test_a_request_reaches_the_runner_with_its_id(self, studio: Studio) -> None:
        claim, _ = studio.running()
        assert (
            studio.anne.jobs.request(claim.job.id, RequestedAction.PAUSE).requested_action
            is RequestedAction.PAUSE
        )
        directive = studio.port.renew(claim.job.id, claim.attempt, lease_seconds=30)
        assert directive.requested_action is RequestedAction.PAUSE
        assert directive.request_id

    def test_the_same_request_again_keeps_its_id(self, studio: Studio) -> None:
        claim, _ = studio.running()
        studio.anne.jobs.request(claim.job.id, RequestedAction.PAUSE)
        first = studio.port.renew(claim.job.id, claim.attempt, lease_seconds=30)
        studio.anne.jobs.request(claim.job.id, RequestedAction.PAUSE)
        assert studio.port.renew(claim.job.id, claim.attempt, lease_seconds=30) == first

    def test_a_cancel_replaces_a_pause_but_never_the_other_way(self, studio: Studio) -> None:
        claim, _ = studio.running()
        studio.anne.jobs.request(claim.job.id, RequestedAction.PAUSE)
        studio.anne.jobs.request(claim.job.id, RequestedAction.CANCEL)
        with pytest.raises(NotAllowed):
            studio.anne.jobs.request(claim.job.id, RequestedAction.PAUSE)

    def test_an_ended_job_cannot_be_asked_for_anything(self, studio: Studio) -> None:
        claim, _ = studio.running()
        studio.port.end(claim.job.id, claim.attempt, EndOfAttempt(outcome=Outcome.COMPLETED))
        for action in RequestedAction:
            with pytest.raises(NotAllowed):
                studio.anne.jobs.request(claim.job.id, action)

    def test_a_job_that_does_not_train_yet_cannot_be_asked_for_a_checkpoint(self, studio: Studio) -> None:
        claim = studio.claimed()
        with pytest.raises(NotAllowed):
            studio.anne.jobs.request(claim.job.id, RequestedAction.CHECKPOINT)

    def test_asking_to_cancel_a_queued_job_cancels_it(self, studio: Studio) -> None:
        job = studio.submit()
        assert studio.anne.jobs.request(job.id, RequestedAction.CANCEL).status is JobStatus.CANCELLED

    def test_a_job_can_be_renamed_in_any_state(self, studio: Studio) -> None:
        claim, _ = studio.running()
        assert studio.anne.jobs.rename(claim.job.id, "Better name").name == "Better name"

    def test_every_transition_leaves_a_line_in_the_audit_trail(self, studio: Studio) -> None:
        claim, _ = studio.running()
        studio.port.end(claim.job.id, claim.attempt, EndOfAttempt(outcome=Outcome.COMPLETED))
        steps = [
            (e.from_status, e.to_status) for e in studio.anne.jobs.events(claim.job.id).items if e.to_status
        ]
        assert steps == [
            (JobStatus.RUNNING, JobStatus.COMPLETED),
            (JobStatus.INITIALIZING, JobStatus.RUNNING),
            (JobStatus.QUEUED, JobStatus.INITIALIZING),
            (None, JobStatus.QUEUED),
        ]

    def test_the_audit_trail_is_complete_over_pages(self, studio: Studio) -> None:
        job = studio.submit()
        for to in (JobStatus.PAUSED, JobStatus.QUEUED, JobStatus.CANCELLED):
            studio.anne.jobs.move(job.id, to, reason="because")
        events = walk(lambda cursor: studio.anne.jobs.events(job.id, limit=3, cursor=cursor))
        assert [event.to_status for event in events] == [
            JobStatus.CANCELLED,
            JobStatus.QUEUED,
            JobStatus.PAUSED,
            JobStatus.QUEUED,
        ]

    def test_a_live_or_paused_job_cannot_be_deleted(self, studio: Studio) -> None:
        job = studio.submit()
        with pytest.raises(NotAllowed):
            studio.anne.jobs.delete(job.id)
        studio.anne.jobs.move(job.id, JobStatus.PAUSED)
        with pytest.raises(NotAllowed):
            studio.anne.jobs.delete(job.id)

    def test_a_deleted_job_takes_its_artifacts_with_it(self, studio: Studio, tmp_path: Path) -> None:
        claim, _ = studio.running()
        artifact = studio.port.put_artifact(claim.attempt, artifact_of(claim), folder_of(tmp_path))
        studio.port.end(claim.job.id, claim.attempt, EndOfAttempt(outcome=Outcome.FAILED))
        studio.anne.jobs.delete(claim.job.id)
        with pytest.raises(NotFound):
            studio.anne.jobs.get(claim.job.id)
        with pytest.raises(NotFound):
            studio.anne.artifacts.get(artifact.id)
        with pytest.raises(NotFound):
            studio.anne.blobs.open(artifact.bucket, f"{artifact.path}/{artifact.files[0].name}")


class MetricStoreContract(StoreContract):
    def ship(self, studio: Studio, events: list[Any], claim: Any) -> None:
        for start in range(0, len(events), 1000):
            studio.port.ship(claim.job.id, claim.attempt, events[start : start + 1000])

    def test_a_job_without_points_has_an_empty_series(self, studio: Studio) -> None:
        job = studio.submit()
        series = studio.anne.metrics.series(
            job.id, MetricKind.TRAIN, ["loss"], x="elapsed_seconds", smoothing=0.9
        )
        assert (series.x, series.columns, series.total, series.last_step) == ((), {"loss": ()}, 0, -1)

    def test_a_short_series_comes_back_whole(self, studio: Studio) -> None:
        claim, events = studio.running()
        self.ship(studio, events.curve([3.0, 2.0, 1.0]), claim)
        series = studio.anne.metrics.series(claim.job.id, MetricKind.TRAIN, ["loss"])
        assert (series.x, series.columns["loss"]) == ((1.0, 2.0, 3.0), (3.0, 2.0, 1.0))

    def test_a_spike_survives_down_sampling(self, studio: Studio) -> None:
        claim, events = studio.running()
        losses: list[float | None] = [1.0] * 3500
        losses[2718], losses[31] = 99.0, -99.0
        self.ship(studio, events.curve(losses), claim)
        series = studio.anne.metrics.series(claim.job.id, MetricKind.TRAIN, ["loss"], points=100)
        assert series.columns["loss"][series.x.index(2719.0)] == 99.0
        assert series.columns["loss"][series.x.index(32.0)] == -99.0

    def test_down_sampling_keeps_to_about_the_points_asked_for(self, studio: Studio) -> None:
        claim, events = studio.running()
        self.ship(studio, events.curve([float(step % 7) for step in range(2500)]), claim)
        series = studio.anne.metrics.series(claim.job.id, MetricKind.TRAIN, ["loss", "epoch"], points=200)
        assert 100 <= len(series.x) == len(series.columns["loss"]) == len(series.columns["epoch"]) <= 202
        assert (series.x[0], series.x[-1], series.total, series.last_step) == (1.0, 2500.0, 2500, 2500)

    def test_smoothing_comes_before_down_sampling(self, studio: Studio) -> None:
        claim, events = studio.running()
        self.ship(studio, events.curve([float(step % 2) for step in range(2400)]), claim)
        series = studio.anne.metrics.series(
            claim.job.id, MetricKind.TRAIN, ["loss"], points=60, smoothing=0.99
        )
        assert series.columns["loss"][-1] == pytest.approx(0.5, abs=0.01)

    def test_smoothing_is_not_biased_at_its_start(self, studio: Studio) -> None:
        claim, events = studio.running()
        self.ship(studio, events.curve([4.0, 2.0]), claim)
        series = studio.anne.metrics.series(claim.job.id, MetricKind.TRAIN, ["loss"], smoothing=0.5)
        assert series.columns["loss"] == pytest.approx((4.0, 8 / 3))

    def test_a_value_that_was_not_finite_is_a_gap_with_a_name(self, studio: Studio) -> None:
        claim, events = studio.running()
        bad = events.make(EventKind.METRICS, kind="train", step=2, loss=None, nonfinite={"loss": "inf"})
        self.ship(studio, [events.train(1), bad, events.train(3)], claim)
        assert studio.anne.metrics.series(claim.job.id, MetricKind.TRAIN, ["loss"]).columns["loss"] == (
            1.0,
            None,
            1.0,
        )
        assert studio.anne.metrics.points(claim.job.id, MetricKind.TRAIN).items[1].nonfinite == {
            "loss": "inf"
        }

    @pytest.mark.parametrize(
        ("x", "first"), [("epoch", 0.5), ("tokens_seen", 100.0), ("elapsed_seconds", 2.0)]
    )
    def test_a_series_can_run_over_other_measures_than_steps(
        self, studio: Studio, x: str, first: float
    ) -> None:
        claim, events = studio.running()
        made = [
            events.train(step, epoch=step / 2, tokens_seen=step * 100, elapsed_seconds=step * 2.0)
            for step in (1, 2)
        ]
        self.ship(studio, made, claim)
        series = studio.anne.metrics.series(claim.job.id, MetricKind.TRAIN, ["loss"], x=x)
        assert series.x == (first, first * 2)

    def test_a_series_names_the_step_of_each_value_whatever_it_runs_over(self, studio: Studio) -> None:
        claim, events = studio.running()
        made = [events.train(3, epoch=0.3), events.train(5), events.train(7, epoch=0.7)]
        self.ship(studio, made, claim)
        series = studio.anne.metrics.series(claim.job.id, MetricKind.TRAIN, ["loss"], x="epoch")
        assert (series.x, series.steps) == ((0.3, 0.7), (3, 7))

    def test_times_are_seconds_since_1970(self, studio: Studio) -> None:
        claim, events = studio.running()
        point = events.train(1)
        self.ship(studio, [point], claim)
        series = studio.anne.metrics.series(claim.job.id, MetricKind.TRAIN, ["loss"], x="recorded_at")
        assert series.x == (point.at.timestamp(),)

    def test_an_unknown_column_is_a_studio_error(self, studio: Studio) -> None:
        job = studio.submit()
        with pytest.raises(StudioError):
            studio.anne.metrics.series(job.id, MetricKind.TRAIN, ["loss; --"])
        with pytest.raises(StudioError):
            studio.anne.metrics.series(job.id, MetricKind.TRAIN, ["loss"], x="nothing")

    def test_full_points_come_in_order_over_pages(self, studio: Studio) -> None:
        claim, events = studio.running()
        self.ship(studio, [events.train(step) for step in (5, 1, 4, 2, 3)], claim)
        points = walk(
            lambda cursor: studio.anne.metrics.points(claim.job.id, MetricKind.TRAIN, limit=2, cursor=cursor)
        )
        assert [point.step for point in points] == [1, 2, 3, 4, 5]

    def test_every_field_of_a_point_comes_back(self, studio: Studio) -> None:
        claim, events = studio.running()
        values: dict[str, Any] = {name: float(place) for place, name in enumerate(METRIC_COLUMNS, start=1)}
        values["tokens_seen"] = 2**40
        event = events.make(EventKind.METRICS, kind="train", step=7, **values, extra={"reward": 0.5})
        self.ship(studio, [event], claim)
        point = studio.anne.metrics.latest(claim.job.id, MetricKind.TRAIN)
        assert point is not None
        assert point.model_dump(include=set(METRIC_COLUMNS)) == values
        assert (point.step, point.attempt, point.recorded_at, point.extra) == (
            7,
            1,
            event.at,
            {"reward": 0.5},
        )

    def test_the_newest_point_is_that_of_the_highest_step(self, studio: Studio) -> None:
        claim, events = studio.running()
        self.ship(studio, [events.train(9, 0.9), events.train(8, 0.8)], claim)
        latest = studio.anne.metrics.latest(claim.job.id, MetricKind.TRAIN)
        assert latest is not None
        assert latest.loss == 0.9
        assert studio.anne.metrics.latest(claim.job.id, MetricKind.EVAL) is None

    def test_a_point_that_is_logged_again_takes_the_new_value(self, studio: Studio) -> None:
        claim, events = studio.running()
        self.ship(studio, events.curve([1.0] * 2500), claim)
        self.ship(studio, [events.train(700, 5.0)], claim)
        series = studio.anne.metrics.series(claim.job.id, MetricKind.TRAIN, ["loss"], points=5000)
        assert (series.total, series.columns["loss"][699]) == (2500, 5.0)

    def test_points_that_come_out_of_order_are_all_in_the_series(self, studio: Studio) -> None:
        claim, events = studio.running()
        self.ship(studio, [events.train(step) for step in range(2, 5000, 2)], claim)
        self.ship(studio, [events.train(step) for step in range(1, 5000, 2)], claim)
        series = studio.anne.metrics.series(claim.job.id, MetricKind.TRAIN, ["loss"], points=10_000)
        assert series.x == tuple(float(step) for step in range(1, 5000))

    def test_log_lines_are_newest_first_over_pages(self, studio: Studio) -> None:
        claim, events = studio.running()
        self.ship(studio, [events.log(f"line {number}") for number in range(5)], claim)
        lines = walk(lambda cursor: studio.anne.metrics.logs(claim.job.id, limit=2, cursor=cursor))
        assert [line.text for line in lines] == [f"line {number}" for number in (4, 3, 2, 1, 0)]

    def test_logs_can_be_searched_and_cut_at_a_level(self, studio: Studio) -> None:
        claim, events = studio.running()
        made = [
            events.log("Loading", "debug"),
            events.log("loading failed", "error"),
            events.log("odd", "warning"),
        ]
        self.ship(studio, made, claim)
        logs = studio.anne.metrics.logs
        assert [line.text for line in logs(claim.job.id, search="LOADING").items] == [
            "loading failed",
            "Loading",
        ]
        assert [line.text for line in logs(claim.job.id, level="warning").items] == ["odd", "loading failed"]


class ArtifactStoreContract(StoreContract):
    def test_a_stored_folder_has_sizes_and_hashes(self, studio: Studio, tmp_path: Path) -> None:
        claim = studio.claimed()
        folder = folder_of(tmp_path, {"a.bin": b"abc", "sub/b.bin": b""})
        artifact = studio.port.put_artifact(claim.attempt, artifact_of(claim), folder)
        found = {file.name: (file.bytes, file.sha256) for file in artifact.files}
        expected = {"a.bin": b"abc", "sub/b.bin": b""}
        assert found == {
            name: (len(data), hashlib.sha256(data).hexdigest()) for name, data in expected.items()
        }
        assert (artifact.bytes, studio.anne.artifacts.get(artifact.id)) == (3, artifact)

    def test_a_file_of_an_artifact_can_be_read(self, studio: Studio, tmp_path: Path) -> None:
        claim = studio.claimed()
        artifact = studio.port.put_artifact(
            claim.attempt, artifact_of(claim), folder_of(tmp_path, {"sub/b.bin": b"xyz"})
        )
        with studio.anne.artifacts.open(artifact.id, "sub/b.bin") as stream:
            assert stream.read() == b"xyz"

    def test_a_file_that_an_artifact_does_not_have_is_not_found(self, studio: Studio, tmp_path: Path) -> None:
        claim = studio.claimed()
        artifact = studio.port.put_artifact(claim.attempt, artifact_of(claim), folder_of(tmp_path))
        for name in ("other.bin", "../../../studio.sqlite3", "", "/etc/hostname"):
            with pytest.raises(NotFound):
                studio.anne.artifacts.open(artifact.id, name)

    def test_another_persons_artifact_is_not_found(self, studio: Studio, tmp_path: Path) -> None:
        claim = studio.claimed()
        artifact = studio.port.put_artifact(claim.attempt, artifact_of(claim), folder_of(tmp_path))
        ben = studio.ben.artifacts
        calls: list[Callable[[], object]] = [
            lambda: ben.get(artifact.id),
            lambda: ben.open(artifact.id, "adapter.safetensors"),
            lambda: ben.pin(artifact.id, pinned=True),
            lambda: ben.delete(artifact.id),
        ]
        for call in calls:
            with pytest.raises(NotFound):
                call()

    def test_artifacts_are_listed_newest_first_by_kind(self, studio: Studio, tmp_path: Path) -> None:
        claim = studio.claimed()
        for step in (100, 300, 200):
            studio.port.put_artifact(claim.attempt, artifact_of(claim, step=step), folder_of(tmp_path))
        studio.port.put_artifact(claim.attempt, artifact_of(claim, ArtifactKind.ADAPTER), folder_of(tmp_path))
        listed = studio.anne.artifacts.list(claim.job.id, ArtifactKind.CHECKPOINT)
        assert [artifact.step for artifact in listed] == [300, 200, 100]
        assert len(studio.anne.artifacts.list(claim.job.id)) == 4

    def test_only_the_newest_best_checkpoint_is_the_best(self, studio: Studio, tmp_path: Path) -> None:
        claim = studio.claimed()
        for step in (100, 200):
            artifact = artifact_of(claim, step=step, best=True)
            studio.port.put_artifact(claim.attempt, artifact, folder_of(tmp_path))
        best = [artifact.step for artifact in studio.anne.artifacts.list(claim.job.id) if artifact.best]
        assert best == [200]

    def test_storing_the_same_artifact_again_returns_the_first(self, studio: Studio, tmp_path: Path) -> None:
        claim = studio.claimed()
        artifact = artifact_of(claim)
        first = studio.port.put_artifact(claim.attempt, artifact, folder_of(tmp_path))
        again = studio.port.put_artifact(
            claim.attempt, artifact, folder_of(tmp_path, {"other.bin": b"other"})
        )
        assert again == first

    def test_links_in_a_folder_are_left_out(self, studio: Studio, tmp_path: Path) -> None:
        claim = studio.claimed()
        secret = tmp_path / "secret"
        secret.write_bytes(b"key")
        folder = folder_of(tmp_path)
        (folder / "link").symlink_to(secret)
        (folder / "linked").symlink_to(tmp_path)
        artifact = studio.port.put_artifact(claim.attempt, artifact_of(claim), folder)
        assert [file.name for file in artifact.files] == ["adapter.safetensors"]

    def test_a_folder_without_files_is_refused(self, studio: Studio, tmp_path: Path) -> None:
        claim = studio.claimed()
        with pytest.raises(NotFound):
            studio.port.put_artifact(claim.attempt, artifact_of(claim), tmp_path / "nothing")
        assert not studio.anne.artifacts.list(claim.job.id)

    def test_an_artifact_for_somebody_else_is_refused(self, studio: Studio, tmp_path: Path) -> None:
        claim = studio.claimed()
        with pytest.raises(Forbidden):
            studio.port.put_artifact(claim.attempt, artifact_of(claim, user_id=BEN), folder_of(tmp_path))

    def test_a_pinned_checkpoint_survives_rotation(self, studio: Studio, tmp_path: Path) -> None:
        claim = studio.claimed()
        pinned, dropped = (
            studio.port.put_artifact(claim.attempt, artifact_of(claim), folder_of(tmp_path)) for _ in "ab"
        )
        assert studio.anne.artifacts.pin(pinned.id, pinned=True).pinned
        for artifact in (pinned, dropped, dropped):
            studio.port.drop_artifact(claim.job.id, claim.attempt, artifact.id)
        assert [artifact.id for artifact in studio.anne.artifacts.list(claim.job.id)] == [pinned.id]

    def test_a_runner_cannot_drop_an_adapter(self, studio: Studio, tmp_path: Path) -> None:
        claim = studio.claimed()
        adapter = artifact_of(claim, ArtifactKind.ADAPTER)
        studio.port.put_artifact(claim.attempt, adapter, folder_of(tmp_path))
        with pytest.raises(Forbidden):
            studio.port.drop_artifact(claim.job.id, claim.attempt, adapter.id)

    def test_the_newest_checkpoint_of_an_unfinished_job_cannot_be_deleted(
        self, studio: Studio, tmp_path: Path
    ) -> None:
        claim = studio.claimed()
        older, newer = (
            studio.port.put_artifact(claim.attempt, artifact_of(claim, step=step), folder_of(tmp_path))
            for step in (1, 2)
        )
        with pytest.raises(NotAllowed):
            studio.anne.artifacts.delete(newer.id)
        studio.anne.artifacts.delete(older.id)
        assert [artifact.id for artifact in studio.anne.artifacts.list(claim.job.id)] == [newer.id]

    def test_a_deleted_artifact_takes_its_files_with_it(self, studio: Studio, tmp_path: Path) -> None:
        claim, _ = studio.running()
        artifact = studio.port.put_artifact(claim.attempt, artifact_of(claim), folder_of(tmp_path))
        studio.port.end(claim.job.id, claim.attempt, EndOfAttempt(outcome=Outcome.COMPLETED))
        studio.anne.artifacts.delete(artifact.id)
        with pytest.raises(NotFound):
            studio.anne.blobs.open(artifact.bucket, f"{artifact.path}/adapter.safetensors")


class BlobStoreContract(StoreContract):
    BUCKET = "lora-datasets"

    def test_a_file_comes_back_with_its_size_and_hash(self, studio: Studio) -> None:
        content = [b"one", b"", b"two"]
        size, sha256 = studio.anne.blobs.put(self.BUCKET, f"{ANNE}/datasets/x/data.jsonl", iter(content))
        assert (size, sha256) == (6, hashlib.sha256(b"onetwo").hexdigest())
        with studio.anne.blobs.open(self.BUCKET, f"{ANNE}/datasets/x/data.jsonl") as stream:
            assert stream.read() == b"onetwo"

    def test_a_missing_file_is_not_found(self, studio: Studio) -> None:
        with pytest.raises(NotFound):
            studio.anne.blobs.open(self.BUCKET, f"{ANNE}/datasets/x/data.jsonl")

    def test_deleting_twice_is_no_error(self, studio: Studio) -> None:
        key = f"{ANNE}/datasets/x/data.jsonl"
        studio.anne.blobs.put(self.BUCKET, key, iter([b"x"]))
        studio.anne.blobs.delete(self.BUCKET, key)
        studio.anne.blobs.delete(self.BUCKET, key)
        with pytest.raises(NotFound):
            studio.anne.blobs.open(self.BUCKET, key)

    def test_a_file_that_breaks_off_leaves_nothing(self, studio: Studio) -> None:
        def breaks_off() -> Any:
            yield b"half"
            raise ConnectionResetError

        key = f"{ANNE}/datasets/x/data.jsonl"
        with pytest.raises((ConnectionResetError, StudioError)):
            studio.anne.blobs.put(self.BUCKET, key, breaks_off())
        with pytest.raises(NotFound):
            studio.anne.blobs.open(self.BUCKET, key)

    @pytest.mark.parametrize(
        "key", [f"{BEN}/datasets/x/data.jsonl", "data.jsonl", ANNE, f"{ANNE}/", "", f"{ANNE}x/y"]
    )
    def test_a_key_outside_the_persons_folder_is_forbidden(self, studio: Studio, key: str) -> None:
        for call in (
            lambda: studio.anne.blobs.put(self.BUCKET, key, iter([b"x"])),
            lambda: studio.anne.blobs.open(self.BUCKET, key),
            lambda: studio.anne.blobs.delete(self.BUCKET, key),
        ):
            with pytest.raises(Forbidden):
                call()

    @pytest.mark.parametrize(
        "rest", ["../x", "a/../../x", "a//b", "a/./b", "ä.txt", "a\x00b", "a\nb", "a b", "a\\b"]
    )
    def test_a_key_that_could_lead_elsewhere_is_forbidden(self, studio: Studio, rest: str) -> None:
        with pytest.raises(Forbidden):
            studio.anne.blobs.put(self.BUCKET, f"{ANNE}/{rest}", iter([b"x"]))

    def test_a_bucket_that_could_lead_elsewhere_is_forbidden(self, studio: Studio) -> None:
        with pytest.raises(Forbidden):
            studio.anne.blobs.put("../lora-datasets", f"{ANNE}/x", iter([b"x"]))


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


class NotificationStoreContract(StoreContract):
    def end(self, studio: Studio, outcome: Outcome) -> str:
        claim, _ = studio.running()
        studio.port.end(claim.job.id, claim.attempt, EndOfAttempt(outcome=outcome))
        return claim.job.id

    @pytest.mark.parametrize("outcome", [Outcome.COMPLETED, Outcome.FAILED, Outcome.PAUSED])
    def test_the_end_of_a_job_is_told_once(self, studio: Studio, outcome: Outcome) -> None:
        job_id = self.end(studio, outcome)
        studio.port.end(job_id, 1, EndOfAttempt(outcome=outcome))
        (told,) = studio.anne.notifications.list().items
        assert (told.job_id, told.kind, told.read_at) == (job_id, f"job_{outcome.value}", None)

    def test_a_released_job_is_not_told(self, studio: Studio) -> None:
        self.end(studio, Outcome.RELEASED)
        assert studio.anne.notifications.unread() == 0

    def test_an_alert_is_told_once(self, studio: Studio) -> None:
        claim, events = studio.running()
        alert = events.make(EventKind.ALERT, message="The loss is not finite.")
        for _ in range(2):
            studio.port.ship(claim.job.id, claim.attempt, [alert])
        assert [told.body for told in studio.anne.notifications.list().items] == ["The loss is not finite."]

    def test_another_person_is_told_nothing(self, studio: Studio) -> None:
        self.end(studio, Outcome.COMPLETED)
        assert (studio.ben.notifications.unread(), list(studio.ben.notifications.list().items)) == (0, [])

    def test_read_notifications_are_not_counted(self, studio: Studio) -> None:
        for _ in range(3):
            self.end(studio, Outcome.COMPLETED)
        newest = studio.anne.notifications.list().items[0]
        studio.anne.notifications.mark_read([newest.id])
        assert studio.anne.notifications.unread() == 2
        studio.anne.notifications.mark_read()
        assert studio.anne.notifications.unread() == 0

    def test_another_person_cannot_mark_them_read(self, studio: Studio) -> None:
        self.end(studio, Outcome.COMPLETED)
        studio.ben.notifications.mark_read([told.id for told in studio.anne.notifications.list().items])
        assert studio.anne.notifications.unread() == 1

    def test_lists_are_complete_over_pages(self, studio: Studio) -> None:
        for _ in range(5):
            self.end(studio, Outcome.COMPLETED)
        told = walk(lambda cursor: studio.anne.notifications.list(limit=2, cursor=cursor))
        assert len({notification.id for notification in told}) == 5


class RunnerPortContract(StoreContract):
    def test_an_announced_runner_is_listed_as_it_last_was(self, studio: Studio) -> None:
        studio.port.announce(runner_of("old"))
        studio.port.announce(runner_of("box", seen_at=START + timedelta(seconds=5)))
        busy = runner_of("box", state="busy", gpus=("H100",), seen_at=START + timedelta(seconds=9))
        studio.port.announce(busy)
        assert list(studio.anne.runners.list()) == [busy, runner_of("old")]

    def test_a_claim_has_all_that_an_attempt_needs(self, studio: Studio) -> None:
        validation = studio.add_dataset()
        job = studio.submit(config=with_validation(validation.id))
        claim = studio.claim()
        assert (claim.job.id, claim.attempt, claim.job.status) == (job.id, 1, JobStatus.INITIALIZING)
        assert (claim.dataset.id, claim.checkpoint) == (job.dataset_id, None)
        assert claim.validation is not None
        assert claim.validation.id == validation.id

    def test_an_empty_queue_gives_nothing(self, studio: Studio) -> None:
        assert studio.port.claim(runner_of(), lease_seconds=30) is None

    def test_the_highest_priority_goes_first_then_the_oldest(self, studio: Studio) -> None:
        made = [
            studio.submit(priority=priority, created_at=START + timedelta(minutes=minute))
            for priority, minute in ((0, 1), (0, 0), (5, 3), (5, 2))
        ]
        claimed = [studio.claim().job.id for _ in made]
        assert claimed == [made[place].id for place in (3, 2, 1, 0)]

    def test_a_machine_only_gets_what_it_can_run(self, studio: Studio) -> None:
        studio.submit(requirements=needs_gpu(2, 40.0))
        machines = [
            runner_of("none"),
            runner_of("one", gpus=("A100",), gpu_memory_gb=80),
            runner_of("small", gpus=("T4", "T4"), gpu_memory_gb=16),
        ]
        for machine in machines:
            assert studio.port.claim(machine, lease_seconds=30) is None
        studio.claim(runner_of("two", gpus=("A100", "A100"), gpu_memory_gb=80))

    def test_a_job_for_another_target_is_left(self, studio: Studio) -> None:
        studio.submit(target="workshop")
        assert studio.port.claim(runner_of("laptop"), lease_seconds=30) is None
        studio.claim(runner_of("workshop"))

    def test_a_runner_that_does_not_train_claims_nothing(self, studio: Studio) -> None:
        studio.submit()
        assert studio.port.claim(runner_of(roles=("dispatch",)), lease_seconds=30) is None

    def test_two_runners_never_claim_one_job(self, studio: Studio) -> None:
        for _ in range(12):
            studio.submit()
        claimed: list[str] = []

        def work(name: str) -> None:
            while (claim := studio.port.claim(runner_of(name), lease_seconds=30)) is not None:
                claimed.append(claim.job.id)

        threads = [threading.Thread(target=work, args=(f"runner-{number}",)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert len(claimed) == len(set(claimed)) == 12

    def test_a_job_whose_data_set_is_gone_fails(self, studio: Studio) -> None:
        claim, _ = studio.running()
        studio.port.end(claim.job.id, claim.attempt, EndOfAttempt(outcome=Outcome.FAILED))
        studio.anne.datasets.delete(claim.dataset.id)
        studio.anne.jobs.move(claim.job.id, JobStatus.QUEUED)
        assert studio.port.claim(runner_of(), lease_seconds=30) is None
        assert studio.job(claim).status is JobStatus.FAILED

    def test_a_renewed_lease_keeps_the_job(self, studio: Studio, pass_time: Callable[[float], None]) -> None:
        claim = studio.claimed()
        for _ in range(3):
            pass_time(20)
            studio.port.renew(claim.job.id, claim.attempt, lease_seconds=30)
        assert studio.port.claim(runner_of("other"), lease_seconds=30) is None

    def test_a_lost_job_goes_back_to_the_queue(
        self, studio: Studio, pass_time: Callable[[float], None]
    ) -> None:
        claim = studio.claimed()
        pass_time(31)
        again = studio.claim(runner_of("other"))
        assert (again.job.id, again.attempt) == (claim.job.id, 2)
        first, second = studio.anne.jobs.attempts(claim.job.id)
        assert (first.outcome, second.outcome) == (Outcome.LOST, None)
        assert "system" in {event.actor for event in studio.anne.jobs.events(claim.job.id).items}

    @pytest.mark.parametrize(
        ("action", "status"), [("cancel", JobStatus.CANCELLED), ("pause", JobStatus.PAUSED)]
    )
    def test_a_lost_job_that_was_asked_to_stop_stops(
        self, studio: Studio, pass_time: Callable[[float], None], action: str, status: JobStatus
    ) -> None:
        claim = studio.claimed()
        studio.anne.jobs.request(claim.job.id, RequestedAction(action))
        pass_time(31)
        assert studio.port.claim(runner_of("other"), lease_seconds=30) is None
        assert studio.job(claim).status is status

    def lose(self, studio: Studio, pass_time: Callable[[float], None], times: int) -> None:
        for _ in range(times):
            studio.claim()
            pass_time(31)
        studio.port.claim(runner_of(roles=("train",)), lease_seconds=30)

    def test_a_job_that_is_lost_three_times_in_a_row_fails(
        self, studio: Studio, pass_time: Callable[[float], None]
    ) -> None:
        job = studio.submit()
        self.lose(studio, pass_time, 3)
        failed = studio.anne.jobs.get(job.id)
        assert (failed.status, failed.attempt) == (JobStatus.FAILED, 3)
        assert "lost" in failed.error
        assert studio.anne.notifications.unread() == 1

    def test_a_checkpoint_ends_the_count_of_lost_attempts(
        self, studio: Studio, pass_time: Callable[[float], None], tmp_path: Path
    ) -> None:
        job = studio.submit()
        self.lose(studio, pass_time, 1)
        studio.port.put_artifact(2, artifact_of(self.current(studio, job.id, 2)), folder_of(tmp_path))
        pass_time(31)
        self.lose(studio, pass_time, 1)
        assert studio.anne.jobs.get(job.id).status is JobStatus.INITIALIZING

    def current(self, studio: Studio, job_id: str, attempt: int) -> Any:
        job = studio.anne.jobs.get(job_id)
        assert job.attempt == attempt
        return type("Held", (), {"job": job, "attempt": attempt})()

    def test_the_training_phase_makes_a_job_running(self, studio: Studio) -> None:
        claim = studio.claimed()
        events = Events()
        studio.port.ship(claim.job.id, 1, [events.phase("loading model", progress=0.5)])
        assert (studio.job(claim).status, studio.job(claim).phase) == (
            JobStatus.INITIALIZING,
            "loading model",
        )
        studio.port.ship(claim.job.id, 1, [events.phase("training", start_step=0, total_steps=50)])
        assert (studio.job(claim).status, studio.job(claim).total_steps) == (JobStatus.RUNNING, 50)

    def test_a_phase_that_repeats_the_start_does_not_set_the_step_back(self, studio: Studio) -> None:
        claim, events = studio.running()
        studio.port.ship(claim.job.id, 1, [events.train(40), events.phase("training", start_step=0)])
        studio.port.ship(claim.job.id, 1, [events.phase("training", start_step=0)])
        assert studio.job(claim).current_step == 40

    def test_a_rotated_checkpoint_is_not_the_newest(self, studio: Studio) -> None:
        claim, events = studio.running()
        batch = [
            events.make(EventKind.CHECKPOINT, step=40, path="checkpoints/40", best=False),
            events.make(EventKind.CHECKPOINT, step=20, path="checkpoints/20", best=False, dropped=True),
        ]
        studio.port.ship(claim.job.id, 1, batch)
        assert studio.job(claim).checkpoint_step == 40

    def test_the_jobs_row_follows_from_its_events(self, studio: Studio) -> None:
        claim, events = studio.running()
        batch = [
            events.train(
                250, 1.5, epoch=0.5, tokens_per_second=900.0, elapsed_seconds=60.0, remaining_seconds=180.0
            ),
            events.evaluation(200, 1.2),
            events.evaluation(250, 1.4),
            events.make(EventKind.CHECKPOINT, step=250, path="checkpoints/250", best=False),
        ]
        studio.port.ship(claim.job.id, 1, batch)
        job = studio.job(claim)
        assert (job.current_step, job.progress, job.epoch, job.train_loss) == (250, 0.25, 0.5, 1.5)
        assert (job.eval_loss, job.best_eval_loss, job.best_step, job.checkpoint_step) == (1.4, 1.2, 200, 250)
        assert (job.tokens_per_second, job.elapsed_seconds, job.remaining_seconds) == (900.0, 60.0, 180.0)

    def test_a_replayed_batch_changes_nothing(self, studio: Studio) -> None:
        claim, events = studio.running()
        first = [
            *events.curve([3.0, 2.0]),
            events.evaluation(2, 1.0),
            events.log("hello"),
            events.train(2, 1.9),
        ]
        second = [events.train(3, 0.5), events.phase("evaluating")]

        def state() -> object:
            metrics = studio.anne.metrics
            job = studio.job(claim).model_dump(exclude={"updated_at", "heartbeat_at"})
            return (job, metrics.points(claim.job.id, MetricKind.TRAIN), metrics.logs(claim.job.id))

        for batch in (first, second):
            studio.port.ship(claim.job.id, 1, batch)
        before = state()
        for batch in (first, second, first):
            studio.port.ship(claim.job.id, 1, batch)
        assert state() == before

    def test_a_batch_above_the_limit_is_too_large(self, studio: Studio) -> None:
        claim, events = studio.running()
        with pytest.raises(TooLarge):
            studio.port.ship(claim.job.id, 1, events.curve([1.0] * 1001))

    def test_a_line_that_is_no_point_does_not_stop_the_rest(self, studio: Studio) -> None:
        claim, events = studio.running()
        bad = events.make(EventKind.METRICS, kind="train", step="soon", loss=[])
        studio.port.ship(claim.job.id, 1, [bad, events.train(1)])
        assert len(studio.anne.metrics.points(claim.job.id, MetricKind.TRAIN).items) == 1
        assert [line.level for line in studio.anne.metrics.logs(claim.job.id).items] == ["warning"]

    def test_unknown_numbers_of_a_point_are_kept_as_extra(self, studio: Studio) -> None:
        claim, events = studio.running()
        studio.port.ship(claim.job.id, 1, [events.train(1, reward=0.5)])
        latest = studio.anne.metrics.latest(claim.job.id, MetricKind.TRAIN)
        assert latest is not None
        assert latest.extra == {"reward": 0.5}

    def test_an_old_attempt_is_fenced(
        self, studio: Studio, pass_time: Callable[[float], None], tmp_path: Path
    ) -> None:
        claim, events = studio.running()
        pass_time(31)
        studio.claim(runner_of("other"))
        job_id = claim.job.id
        calls: list[Callable[[], object]] = [
            lambda: studio.port.renew(job_id, 1, lease_seconds=30),
            lambda: studio.port.ship(job_id, 1, [events.train(1)]),
            lambda: studio.port.open_dataset(job_id, 1, claim.dataset.id),
            lambda: studio.port.put_artifact(1, artifact_of(claim), folder_of(tmp_path)),
            lambda: studio.port.end(job_id, 1, EndOfAttempt(outcome=Outcome.COMPLETED)),
        ]
        for call in calls:
            with pytest.raises(Conflict):
                call()

    def test_a_late_tail_is_accepted_for_ten_minutes(
        self, studio: Studio, pass_time: Callable[[float], None], tmp_path: Path
    ) -> None:
        claim, events = studio.running()
        studio.port.end(claim.job.id, 1, EndOfAttempt(outcome=Outcome.COMPLETED))
        pass_time(DRAIN_SECONDS - 5)
        studio.port.ship(claim.job.id, 1, [events.train(7), events.phase("training"), events.log("bye")])
        studio.port.put_artifact(1, artifact_of(claim, ArtifactKind.ADAPTER), folder_of(tmp_path))
        assert studio.job(claim).status is JobStatus.COMPLETED
        assert (studio.job(claim).current_step, studio.job(claim).phase) == (7, "")
        pass_time(10)
        with pytest.raises(Conflict):
            studio.port.ship(claim.job.id, 1, [events.train(8)])

    def test_an_ended_attempt_cannot_renew(self, studio: Studio) -> None:
        claim, _ = studio.running()
        studio.port.end(claim.job.id, 1, EndOfAttempt(outcome=Outcome.PAUSED))
        with pytest.raises(Conflict):
            studio.port.renew(claim.job.id, 1, lease_seconds=30)

    def test_calls_about_a_job_that_never_was_are_a_conflict(self, studio: Studio) -> None:
        with pytest.raises(Conflict):
            studio.port.renew(new_id(), 1, lease_seconds=30)
        with pytest.raises(Conflict):
            studio.port.ship(new_id(), 1, [])

    def resumed(self, studio: Studio, losses: list[float | None], start_step: int) -> tuple[Any, Events]:
        claim, events = studio.running()
        made = events.curve(losses)
        for start in range(0, len(made), 1000):
            studio.port.ship(claim.job.id, 1, made[start : start + 1000])
        studio.port.end(claim.job.id, 1, EndOfAttempt(outcome=Outcome.RELEASED))
        again, events = studio.claim(), Events()
        studio.port.ship(claim.job.id, 2, [events.phase("training", start_step=start_step, total_steps=1000)])
        return again, events

    @pytest.mark.parametrize(("count", "start"), [(5, 2), (3500, 1500), (3500, 0), (3000, 2999)])
    def test_a_new_attempt_hides_points_beyond_its_start(
        self, studio: Studio, count: int, start: int
    ) -> None:
        claim, events = self.resumed(studio, [1.0] * count, start)
        series = studio.anne.metrics.series(claim.job.id, MetricKind.TRAIN, ["loss"], points=5000)
        assert (series.total, series.last_step) == (start, start or -1)
        studio.port.ship(claim.job.id, 2, [events.train(start + 1, 0.5)])
        series = studio.anne.metrics.series(claim.job.id, MetricKind.TRAIN, ["loss"], points=5000)
        assert (series.total, series.columns["loss"][-1]) == (start + 1, 0.5)

    def test_points_of_the_newest_attempt_win(self, studio: Studio) -> None:
        claim, events = self.resumed(studio, [1.0, 2.0, 3.0], 3)
        studio.port.ship(claim.job.id, 2, [events.train(2, 9.0)])
        points = studio.anne.metrics.points(claim.job.id, MetricKind.TRAIN).items
        assert [(point.loss, point.attempt) for point in points] == [(1.0, 1), (9.0, 2), (3.0, 1)]

    def test_logs_of_all_attempts_stay(self, studio: Studio) -> None:
        claim, events = studio.running()
        studio.port.ship(claim.job.id, 1, [events.log("one")])
        studio.port.end(claim.job.id, 1, EndOfAttempt(outcome=Outcome.RELEASED))
        studio.claim()
        studio.port.ship(claim.job.id, 2, [Events(2).log("two")])
        assert [line.text for line in studio.anne.metrics.logs(claim.job.id).items] == ["two", "one"]

    def test_system_points_of_earlier_attempts_stay(self, studio: Studio) -> None:
        claim, events = studio.running()
        system = events.make(EventKind.METRICS, kind="system", step=1_770_000_000, gpu_utilization=0.5)
        studio.port.ship(claim.job.id, 1, [system])
        studio.port.end(claim.job.id, 1, EndOfAttempt(outcome=Outcome.RELEASED))
        studio.claim()
        studio.port.ship(claim.job.id, 2, [Events().phase("training", start_step=0)])
        assert len(studio.anne.metrics.points(claim.job.id, MetricKind.SYSTEM).items) == 1

    def test_a_better_evaluation_that_was_lost_is_forgotten(self, studio: Studio) -> None:
        claim, events = studio.running()
        studio.port.ship(claim.job.id, 1, [events.evaluation(10, 2.0), events.evaluation(20, 1.0)])
        studio.port.end(claim.job.id, 1, EndOfAttempt(outcome=Outcome.RELEASED))
        studio.claim()
        studio.port.ship(claim.job.id, 2, [Events().phase("training", start_step=15)])
        assert (studio.job(claim).best_eval_loss, studio.job(claim).best_step) == (2.0, 10)

    def test_elapsed_seconds_add_up_over_attempts(self, studio: Studio) -> None:
        claim, events = studio.running()
        studio.port.ship(claim.job.id, 1, [events.train(1, elapsed_seconds=100.0)])
        studio.port.end(claim.job.id, 1, EndOfAttempt(outcome=Outcome.RELEASED))
        studio.claim()
        studio.port.ship(claim.job.id, 2, [Events().train(2, elapsed_seconds=5.0)])
        assert studio.job(claim).elapsed_seconds == 105.0
        series = studio.anne.metrics.series(claim.job.id, MetricKind.TRAIN, ["loss"], x="elapsed_seconds")
        assert series.x == (100.0, 105.0)

    def test_the_next_attempt_gets_the_newest_checkpoint(self, studio: Studio, tmp_path: Path) -> None:
        claim, _ = studio.running()
        for step in (100, 200):
            studio.port.put_artifact(
                1, artifact_of(claim, step=step), folder_of(tmp_path, {"state.bin": b"%d" % step})
            )
        studio.port.end(claim.job.id, 1, EndOfAttempt(outcome=Outcome.RELEASED))
        again = studio.claim()
        assert again.checkpoint is not None
        with studio.port.open_artifact(claim.job.id, 2, again.checkpoint.id, "state.bin") as stream:
            assert stream.read() == b"200"

    def test_a_runner_reads_the_data_sets_of_its_job_only(self, studio: Studio) -> None:
        claim = studio.claimed()
        other = studio.add_dataset()
        with studio.port.open_dataset(claim.job.id, 1, claim.dataset.id) as stream:
            assert stream.read() == ROWS
        with pytest.raises(NotFound):
            studio.port.open_dataset(claim.job.id, 1, other.id)

    @pytest.mark.parametrize(
        ("outcome", "status"),
        [
            (Outcome.COMPLETED, JobStatus.COMPLETED),
            (Outcome.PAUSED, JobStatus.PAUSED),
            (Outcome.RELEASED, JobStatus.QUEUED),
            (Outcome.CANCELLED, JobStatus.CANCELLED),
            (Outcome.FAILED, JobStatus.FAILED),
        ],
    )
    def test_an_outcome_decides_the_state(self, studio: Studio, outcome: Outcome, status: JobStatus) -> None:
        claim, _ = studio.running()
        studio.anne.jobs.request(claim.job.id, RequestedAction.CHECKPOINT)
        studio.port.end(
            claim.job.id, 1, EndOfAttempt(outcome=outcome, error="oops" if outcome == "failed" else "")
        )
        job = studio.job(claim)
        assert (job.status, job.requested_action, job.phase) == (status, None, "")
        assert (job.ended_at is not None) == (status in {"completed", "failed", "cancelled"})
        assert job.error == ("oops" if outcome is Outcome.FAILED else "")

    def test_an_end_that_comes_twice_changes_nothing(self, studio: Studio) -> None:
        claim, _ = studio.running()
        for _ in range(2):
            studio.port.end(claim.job.id, 1, EndOfAttempt(outcome=Outcome.RELEASED))
        assert studio.job(claim).status is JobStatus.QUEUED
        with pytest.raises(Conflict):
            studio.port.end(claim.job.id, 1, EndOfAttempt(outcome=Outcome.COMPLETED))

    def test_a_job_that_never_trained_can_complete(self, studio: Studio) -> None:
        claim = studio.claimed()
        studio.port.end(claim.job.id, 1, EndOfAttempt(outcome=Outcome.COMPLETED))
        assert (studio.job(claim).status, studio.job(claim).progress) == (JobStatus.COMPLETED, 1.0)

    def test_an_acknowledged_checkpoint_request_is_done(self, studio: Studio) -> None:
        claim, events = studio.running()
        studio.anne.jobs.request(claim.job.id, RequestedAction.CHECKPOINT)
        directive = studio.port.renew(claim.job.id, 1, lease_seconds=30)
        echo = events.phase("request", id=directive.request_id, action="checkpoint")
        studio.port.ship(claim.job.id, 1, [echo])
        assert studio.job(claim).requested_action is None
        assert studio.job(claim).phase == "training"
