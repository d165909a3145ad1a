"""One run's memory on one machine, and what would make it fit. Puts the parts of this package together."""

from dataclasses import dataclass

from lora_core.estimate.architecture import Architecture
from lora_core.estimate.changes import Change, smallest_change
from lora_core.estimate.memory import Device, MemoryEstimate, Verdict, estimate_memory, usable_bytes
from lora_core.estimate.rows import RowFacts, shape_of
from lora_core.estimate.speed import Machine
from lora_core.schema.config import TrainingConfig


@dataclass(frozen=True)
class MemoryVerdict:
    """An estimate beside what a machine has.

    Args:
        limit_bytes: What the run may take; None if unknown.
        change: The smallest change with which it surely fits; None if it does, or if nothing helps.
    """

    memory: MemoryEstimate
    verdict: Verdict
    limit_bytes: float | None
    change: Change | None


def judge_memory(
    architecture: Architecture, config: TrainingConfig, rows: RowFacts, machine: Machine
) -> MemoryVerdict:
    """Estimate a run's memory, compare, and look for the smallest change if it may not fit."""
    limit = None if machine.memory_bytes is None else usable_bytes(machine.memory_bytes, _device(machine))
    memory = memory_of(architecture, config, rows, machine)
    verdict = memory.verdict(limit)
    change = None
    if verdict in (Verdict.TIGHT, Verdict.TOO_LARGE):

        def fits(tried: TrainingConfig) -> bool:
            return memory_of(architecture, tried, rows, machine).verdict(limit) is Verdict.FITS

        change = smallest_change(config, fits, rows.few_longer)
    return MemoryVerdict(memory, verdict, limit, change)


def memory_of(
    architecture: Architecture, config: TrainingConfig, rows: RowFacts, machine: Machine
) -> MemoryEstimate:
    """Estimate a run's memory; over both number formats where it is not known which one the machine takes."""
    data, micro_batch = config.data, config.optimisation.micro_batch_size
    bounds = list(zip(*rows.longest, strict=True)) or [(), ()]
    shapes = [shape_of(lengths, micro_batch, data.max_length, packing=data.packing) for lengths in bounds]
    estimates = [
        estimate_memory(architecture, config, shapes, device=_device(machine), number_bytes=size)
        for size in _number_bytes(config, machine)
    ]
    return estimates[0] if len(estimates) == 1 else estimates[0].joined(estimates[1])


def _number_bytes(config: TrainingConfig, machine: Machine) -> tuple[int, ...]:
    """2 for 16-bit numbers, 4 for float32; as the trainer chooses (`runner.train.hardware`)."""
    if config.model.dtype != "auto":
        return (4,) if config.model.dtype == "float32" else (2,)
    if machine.gpu:
        return (2,)
    return {True: (2,), False: (4,), None: (2, 4)}[machine.bf16]


def _device(machine: Machine) -> Device:
    return "gpu" if machine.gpu else "cpu"
