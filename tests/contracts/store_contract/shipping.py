"""What every runner port must do with events: rows follow from them, over all attempts."""

from __future__ import annotations

from typing import Any

import pytest

from lora_core.errors import TooLarge
from lora_core.schema.job import EndOfAttempt, JobStatus, Outcome, RequestedAction
from lora_core.schema.metrics import MetricKind
from lora_core.schema.run import EventKind
from tests.contracts.samples import (
    Events,
    Studio,
)
from tests.contracts.store_contract.stage import StoreContract


class ShippingContract(StoreContract):
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

    def test_an_acknowledged_checkpoint_request_is_done(self, studio: Studio) -> None:
        claim, events = studio.running()
        studio.anne.jobs.request(claim.job.id, RequestedAction.CHECKPOINT)
        directive = studio.port.renew(claim.job.id, 1, lease_seconds=30)
        echo = events.phase("request", id=directive.request_id, action="checkpoint")
        studio.port.ship(claim.job.id, 1, [echo])
        assert studio.job(claim).requested_action is None
        assert studio.job(claim).phase == "training"
