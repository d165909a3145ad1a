"""What of a config may not change when training goes on from a checkpoint. The trainer refuses it; actions say so before."""

from typing import Any

from lora_core.schema.config import TrainingConfig


def broken_by(before: TrainingConfig, now: TrainingConfig) -> list[str]:
    """Return what differs and may not, by name; empty if a checkpoint of `before` serves `now`.

    Rows are not compared here: whether they are the same is known once they are tokenised.
    """
    facts: dict[str, tuple[Any, Any]] = {
        "model": (before.model.base, now.model.base),
        "quantisation": (before.model.quantisation, now.model.quantisation),
        "adapter": (before.adapter, now.adapter),
        "packing": (before.data.packing, now.data.packing),
        "seed": (before.optimisation.seed, now.optimisation.seed),
        "optimizer": (before.optimisation.optimizer, now.optimisation.optimizer),
        "effective batch": (_effective_batch(before), _effective_batch(now)),
    }
    return [name for name, (old, new) in facts.items() if old != new]


def _effective_batch(config: TrainingConfig) -> int:
    return config.optimisation.micro_batch_size * config.optimisation.accumulation_steps
