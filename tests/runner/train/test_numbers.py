"""The plan, the schedule and the step meter: arithmetic without a model."""

import pytest

from lora_core.estimate.plan import plan_run
from lora_core.schema.config import OptimisationConfig, TrainingConfig
from runner.train.progress import StepMeter, perplexity
from runner.train.schedule import share_of_rate


def config(**sections: dict[str, object]) -> TrainingConfig:
    return TrainingConfig.model_validate(sections)


def test_an_epoch_that_does_not_fill_its_last_update_still_makes_it() -> None:
    plan = plan_run(
        config(optimisation={"micro_batch_size": 2, "accumulation_steps": 2, "epochs": 2}),
        9,
        can_evaluate=True,
    )
    assert (plan.steps_per_epoch, plan.total_steps) == (3, 6)


def test_the_step_limit_shortens_and_never_lengthens() -> None:
    short = config(optimisation={"epochs": 2, "max_steps": 3})
    long = config(optimisation={"epochs": 2, "max_steps": 1000})
    totals = [plan_run(c, 160, can_evaluate=True).total_steps for c in (short, long)]
    assert totals == [3, 20]


def test_evaluation_comes_ten_times_unless_told_otherwise() -> None:
    plan = plan_run(config(optimisation={"epochs": 10}), 160, can_evaluate=True)
    assert [step for step in range(1, 101) if plan.evaluates(step)] == list(range(10, 101, 10))


def test_each_checkpoint_has_its_evaluation_unless_told_otherwise() -> None:
    plan = plan_run(
        config(optimisation={"epochs": 10}, checkpoints={"every_steps": 25}), 160, can_evaluate=True
    )
    assert all(plan.evaluates(step) for step in range(1, 101) if plan.saves(step))


def test_the_last_step_is_evaluated_and_saved() -> None:
    plan = plan_run(config(evaluation={"every_steps": 7}, optimisation={"epochs": 2}), 160, can_evaluate=True)
    assert plan.evaluates(20)
    assert plan.saves(20)


def test_without_validation_rows_nothing_is_evaluated() -> None:
    assert not plan_run(config(), 160, can_evaluate=False).evaluates(20)


@pytest.mark.parametrize("every", [1, 3, 7, 20])
def test_evaluations_left_are_counted(every: int) -> None:
    plan = plan_run(config(evaluation={"every_steps": every}), 160, can_evaluate=True)
    assert plan.evaluations_after(9) == sum(plan.evaluates(step) for step in range(10, plan.total_steps + 1))


def test_no_update_has_a_learning_rate_of_zero() -> None:
    for scheduler in ("linear", "cosine", "constant", "constant_with_warmup"):
        wanted = OptimisationConfig(scheduler=scheduler, warmup_ratio=0.2)
        assert all(0 < share_of_rate(wanted, 10, step) <= 1 for step in range(10)), scheduler


def test_cosine_is_half_way_down_in_the_middle() -> None:
    wanted = OptimisationConfig(scheduler="cosine", warmup_ratio=0)
    assert share_of_rate(wanted, 10, 5) == pytest.approx(0.5)


def test_remaining_time_comes_from_recent_steps_and_not_from_the_slow_first() -> None:
    now = [0.0]
    meter = StepMeter(total_steps=100, clock=lambda: now[0])
    remaining = []
    for step, seconds in enumerate([60.0, 2.0, 2.0, 2.0], 1):
        meter.begin()
        meter.got_batch(tokens=10, rows=1)
        now[0] += seconds
        remaining.append(meter.end(step)["remaining_seconds"])
    assert remaining == [None, 196.0, 194.0, 192.0]


def test_time_between_steps_does_not_slow_the_shown_throughput() -> None:
    now = [0.0]
    meter = StepMeter(total_steps=10, clock=lambda: now[0])
    now[0] = 50.0  # an evaluation
    meter.begin()
    now[0] += 1.0
    meter.got_batch(tokens=100, rows=5)
    now[0] += 3.0
    point = meter.end(1)
    assert (point["tokens_per_second"], point["samples_per_second"], point["data_wait_fraction"]) == (
        25,
        1.25,
        0.25,
    )


def test_perplexity_of_a_huge_loss_can_be_stored() -> None:
    assert perplexity(1e9) == 1e30
