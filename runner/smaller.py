"""Whether a trainer that ran out of memory is started once more, with half the micro-batch and double accumulation. Pure."""

from lora_core.estimate.changes import difference, halved
from lora_core.schema.config import TrainingConfig
from lora_core.schema.run import ExitCode

__all__ = ["difference", "retry_of"]


def retry_of(code: int | None, tried: TrainingConfig, wanted: TrainingConfig) -> TrainingConfig | None:
    """Return the config with which a trainer that ended is started again, or None.

    Args:
        code: How it ended.
        tried: The config it had.
        wanted: The job's own; where the two differ there was a retry already.
    """
    first = tried.optimisation.micro_batch_size == wanted.optimisation.micro_batch_size
    if code == ExitCode.OUT_OF_MEMORY and first and wanted.optimisation.retry_smaller:
        return halved(tried)
    return None
