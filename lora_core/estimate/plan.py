"""How many steps a run has, and after which ones it is evaluated and saved. Arithmetic only."""

import math
from dataclasses import dataclass

from lora_core.schema.config import TrainingConfig

POINTS = 10
"""Evaluations (and checkpoints) over a run where the config does not say."""


@dataclass(frozen=True)
class Plan:
    """Steps of a run.

    Args:
        total_steps: Optimizer steps.
        steps_per_epoch: Optimizer steps in which every row is seen once.
        evaluate_every: None where there is nothing to evaluate on.
    """

    total_steps: int
    steps_per_epoch: int
    evaluate_every: int | None
    checkpoint_every: int

    def evaluates(self, step: int) -> bool:
        """Say whether the model is evaluated after this step."""
        return self.evaluate_every is not None and (
            step % self.evaluate_every == 0 or step >= self.total_steps
        )

    def saves(self, step: int) -> bool:
        """Say whether a checkpoint is written after this step."""
        return step % self.checkpoint_every == 0 or step >= self.total_steps

    def evaluations_after(self, step: int) -> int:
        """Count evaluations still to come."""
        if self.evaluate_every is None or step >= self.total_steps:
            return 0
        return math.ceil(self.total_steps / self.evaluate_every) - step // self.evaluate_every


def plan_run(config: TrainingConfig, rows: int, *, can_evaluate: bool) -> Plan:
    """Count the steps that a config asks for.

    Args:
        rows: Rows that make one epoch.
        can_evaluate: Whether there are validation rows.

    Returns:
        The plan. An epoch that does not fill its last update still makes that update.
    """
    wanted = config.optimisation
    per_epoch = math.ceil(math.ceil(rows / wanted.micro_batch_size) / wanted.accumulation_steps)
    total = max(1, math.ceil(per_epoch * wanted.epochs))
    total = min(total, wanted.max_steps or total)
    tenth = max(1, round(total / POINTS))
    checkpoint = config.checkpoints.every_steps
    evaluate = config.evaluation.every_steps or tenth
    if checkpoint and not config.evaluation.every_steps:
        evaluate = min(evaluate, checkpoint) if checkpoint < 2 * tenth else _divisor_near(checkpoint, tenth)
    return Plan(total, per_epoch, evaluate if can_evaluate else None, checkpoint or evaluate)


def _divisor_near(number: int, wanted: int) -> int:
    """The divisor of `number` nearest to `wanted`, so that each checkpoint has its evaluation."""
    return min((d for d in range(1, number + 1) if number % d == 0), key=lambda d: abs(d - wanted))
