"""Says what a run that ran out of memory needed it for, and the smallest change with which it should fit. Trains nothing."""

import resource
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from lora_core.errors import ModelError
from lora_core.estimate.architecture import Architecture, architecture_of
from lora_core.estimate.changes import smallest_change
from lora_core.estimate.memory import PROCESS
from lora_core.estimate.rows import FEW, RowFacts
from lora_core.estimate.run import memory_of
from lora_core.estimate.spans import Span
from lora_core.estimate.speed import Machine
from lora_core.estimate.words import memory_words, parts_words
from lora_core.models.local_folder import describe_folder
from lora_core.schema.config import TrainingConfig
from lora_core.schema.run import RunSpec
from runner.machine import usable_memory_bytes
from runner.train.hardware import Hardware

ENOUGH_LESS = 0.85
"""A change must save at least so much of the estimate: what there was did not suffice, whatever the machine says it has."""


@dataclass
class MemoryNeed:
    """What memory depends on, as far as the run has come.

    Args:
        hardware: None until it is chosen.
        lengths: Tokens of the training rows, cut; empty until they are tokenised.
    """

    hardware: Hardware | None = None
    lengths: Sequence[int] = ()

    def explain(self, spec: RunSpec) -> str:
        """Return what did not fit, the parts, what there is, and what to change; by the config alone where no more is known."""
        config = spec.config
        batch, longest = (
            config.optimisation.micro_batch_size,
            max(self.lengths, default=config.data.max_length),
        )
        said = f"{batch} {'row' if batch == 1 else 'rows'} of up to {longest:,} tokens did not fit."
        sizes = _sizes(Path(spec.model_path))
        if sizes is None:
            return said
        machine, rows = self._machine(), self._rows(config)
        now = memory_of(sizes, config, rows, machine)

        def fits(tried: TrainingConfig) -> bool:
            then = memory_of(sizes, tried, rows, machine)
            enough = machine.memory_bytes is None or then.total.high <= machine.memory_bytes
            return enough and then.without(PROCESS).middle <= ENOUGH_LESS * now.without(PROCESS).middle

        change = smallest_change(config, fits, rows.few_longer)
        there = (
            f" There are {memory_words(Span.exactly(machine.memory_bytes))}." if machine.memory_bytes else ""
        )
        advice = (
            f"Smallest change that should fit: {change.text}."
            if change
            else "No setting makes it fit: take a smaller base model or a machine with more memory."
        )
        return (
            f"{said} By the estimate it needs {memory_words(now.total)}: {parts_words(now)}.{there} {advice}"
        )

    def _machine(self) -> Machine:
        if self.hardware is None:
            return Machine("here", memory_bytes=_machine_limit())
        bf16 = self.hardware.dtype is not torch.float32
        if self.hardware.device.type != "cuda":
            return Machine("here", memory_bytes=_machine_limit(), bf16=bf16)
        _, total = torch.cuda.mem_get_info(self.hardware.device)
        return Machine("here", gpu=torch.cuda.get_device_name(self.hardware.device), memory_bytes=total)

    def _rows(self, config: TrainingConfig) -> RowFacts:
        """The rows themselves; full ones where they are not known yet."""
        ordered = sorted(self.lengths, reverse=True)
        longest = tuple((float(n), float(n)) for n in ordered[: config.optimisation.micro_batch_size])
        few = None
        if ordered:
            cut = int(FEW * len(ordered))
            few = (ordered[cut], cut / len(ordered))
        mean = Span.exactly(sum(ordered) / len(ordered) if ordered else config.data.max_length)
        return RowFacts(len(ordered), mean, longest, Span(0.0, 1.0), few, "the rows themselves")


def _machine_limit() -> float:
    """Bytes this process may have: of the machine, its container, or a limit set for it (ulimit)."""
    limits = [usable_memory_bytes()]
    limits += [
        soft
        for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA)
        if (soft := resource.getrlimit(kind)[0]) > 0
    ]
    return float(min(limits))


def _sizes(folder: Path) -> Architecture | None:
    try:
        return architecture_of(describe_folder(folder))
    except ModelError:
        return None
