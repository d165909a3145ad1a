"""How the learning rate changes over a run. Arithmetic only."""

import math

from lora_core.schema.config import OptimisationConfig


def share_of_rate(config: OptimisationConfig, total_steps: int, step: int) -> float:
    """Say which share of the learning rate the update after `step` updates has.

    Warm-up rises in equal parts and has no update at zero, which would be wasted; from there linear and cosine fall towards zero,
    which they would reach after the last update.

    Returns:
        0 to 1.

    >>> config = OptimisationConfig(scheduler="linear", warmup_ratio=0.2)
    >>> [round(share_of_rate(config, 10, step), 2) for step in range(10)]
    [0.33, 0.67, 1.0, 0.88, 0.75, 0.62, 0.5, 0.38, 0.25, 0.12]
    """
    if config.scheduler == "constant":
        return 1.0
    warmup = math.ceil(config.warmup_ratio * total_steps)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if config.scheduler == "constant_with_warmup":
        return 1.0
    done = min(1.0, (step - warmup) / max(1, total_steps - warmup))
    return 1.0 - done if config.scheduler == "linear" else 0.5 * (1.0 + math.cos(math.pi * done))
