"""What is tried once when a trainer ran out of memory: half the micro-batch, double accumulation. Pure."""

from lora_core.schema.config import TrainingConfig
from lora_core.schema.run import ExitCode


def smaller(config: TrainingConfig) -> TrainingConfig | None:
    """Return a config that needs about half the memory for activations and updates with as many rows as before.

    Rows stay in the same order; an odd micro-batch cannot be halved without changing the batch, so it becomes 1 with as much
    accumulation as is needed.

    Returns:
        None if there is nothing to halve.

    >>> tried = smaller(TrainingConfig())
    >>> tried.optimisation.micro_batch_size, tried.optimisation.accumulation_steps
    (2, 8)
    """
    micro, accumulation = config.optimisation.micro_batch_size, config.optimisation.accumulation_steps
    if micro == 1:
        return None
    half = micro // 2 if micro % 2 == 0 else 1
    changed = {"micro_batch_size": half, "accumulation_steps": accumulation * micro // half}
    return config.model_copy(update={"optimisation": config.optimisation.model_copy(update=changed)})


def retry_of(code: int | None, tried: TrainingConfig, wanted: TrainingConfig) -> TrainingConfig | None:
    """Return the config with which a trainer that ended is started again, or None.

    Args:
        code: How it ended.
        tried: The config it had.
        wanted: The job's own; where the two differ there was a retry already.
    """
    first = tried.optimisation.micro_batch_size == wanted.optimisation.micro_batch_size
    if code == ExitCode.OUT_OF_MEMORY and first and wanted.optimisation.retry_smaller:
        return smaller(tried)
    return None


def difference(before: TrainingConfig, after: TrainingConfig) -> str:
    """Say what was changed, for a person.

    >>> difference(TrainingConfig(), smaller(TrainingConfig()))
    'micro-batch 4 → 2, accumulation 4 → 8, still 16 rows an update'
    """
    old, new = before.optimisation, after.optimisation
    return (
        f"micro-batch {old.micro_batch_size} → {new.micro_batch_size}, "
        f"accumulation {old.accumulation_steps} → {new.accumulation_steps}, "
        f"still {new.micro_batch_size * new.accumulation_steps} rows an update"
    )
