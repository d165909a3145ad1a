"""What every store of points and log lines must do."""

from __future__ import annotations

from typing import Any

import pytest

from lora_core.errors import StudioError
from lora_core.schema.metrics import METRIC_COLUMNS, MetricKind
from lora_core.schema.run import EventKind
from tests.contracts.samples import (
    Studio,
)
from tests.contracts.store_contract.stage import StoreContract, walk


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
