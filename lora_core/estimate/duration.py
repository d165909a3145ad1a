"""How long a run takes and what it costs: steps of the plan x tokens, over a speed. Knows no machine and no store."""

from dataclasses import dataclass

from lora_core.estimate.plan import plan_run
from lora_core.estimate.rows import RowFacts
from lora_core.estimate.spans import Span
from lora_core.estimate.speed import Speed
from lora_core.schema.config import TrainingConfig

START_SECONDS = Span(10, 60)
"""Libraries, tokenising, loading, the first step. Fetching a model is not in it: that is the network's business."""

FORWARD_SHARE = (0.25, 0.5)
"""Time of an evaluated token over that of a trained one: a third by operations (2 N of 6 N), a half with LoRA (2 N of 4 N)."""


@dataclass(frozen=True)
class TimeEstimate:
    """Seconds of a run with all that belongs to it, its updates, and what the speed is based on."""

    seconds: Span
    updates: int
    tokens: Span
    basis: str
    measured: bool

    def usd(self, usd_per_hour: float | None) -> Span | None:
        """Dollars at a price by the hour; None where there is no price."""
        return None if usd_per_hour is None else self.seconds.times(usd_per_hour / 3600)


def estimate_time(
    config: TrainingConfig, rows: RowFacts, speed: Speed, *, training_rows: int, validation_rows: int
) -> TimeEstimate:
    """Divide what there is to compute by a speed.

    Args:
        training_rows, validation_rows: After the split and the row limit.
    """
    plan = plan_run(config, training_rows, can_evaluate=validation_rows > 0)
    wanted = config.optimisation
    epochs, steps_left = divmod(plan.total_steps, plan.steps_per_epoch or plan.total_steps)
    rows_left = steps_left * wanted.micro_batch_size * wanted.accumulation_steps
    seen = training_rows * epochs + min(rows_left, training_rows)
    evaluated = min(validation_rows, config.evaluation.max_rows or validation_rows)
    evaluations = 0 if plan.evaluate_every is None else 1 + plan.evaluations_after(0)
    trained = rows.mean.times(seen)
    work = trained + rows.mean.times(evaluated * evaluations).times(*FORWARD_SHARE)
    pace = speed.tokens_per_second
    seconds = START_SECONDS + Span(work.low / pace.high, work.high / pace.low)
    return TimeEstimate(seconds, plan.total_steps, trained, speed.basis, speed.measured)
