"""The studio's trainer on one run folder, its memory measured. `python -m benchmarks.sides.measured_trainer RUN_DIR`.

On a CPU: the most that was resident once the model was loaded (the kernel's mark is set back then), above what the process has
with its libraries alone. On a GPU: the most that torch reserved.
"""

import sys
from pathlib import Path
from typing import Any

from benchmarks.harness.memory import MEGABYTE, forget_peak, peak_mb, resident_here_mb
from benchmarks.harness.turns import Side
from lora_core.schema.metrics import MetricKind
from runner.run_folder import EventWriter, RunFolder
from runner.train.__main__ import run
from runner.train.journal import Journal


class MeasuredJournal(Journal):
    """Sets the mark back before the largest micro-batch is tried, and keeps the speed of each step."""

    def __init__(self, writer: EventWriter) -> None:
        super().__init__(writer)
        self.speeds: list[float] = []
        self.loaded_mb = 0.0

    def phase(self, name: str, **values: Any) -> None:
        """Begin to measure where the model is there and nothing is computed yet."""
        super().phase(name, **values)
        if name == "checking_memory":
            self.loaded_mb = resident_here_mb()
            forget_peak()

    def metrics(self, kind: MetricKind, step: int, **values: Any) -> None:
        """Keep the speed."""
        super().metrics(kind, step, **values)
        if kind is MetricKind.TRAIN:
            self.speeds.append(values["tokens_per_second"])


def main() -> None:
    """Train to the end of the spec, then say what it took."""
    folder = RunFolder(Path(sys.argv[1]))
    side = Side()
    import torch

    from runner.train import sft

    assert sft  # loads all that a trainer loads
    base = resident_here_mb()
    with EventWriter(folder.events_file) as writer:
        journal = MeasuredJournal(writer)
        code = run(folder, journal)
    if code:
        sys.exit(f"The trainer ended with {code}.")
    on_gpu = torch.cuda.is_available()
    side.finish(
        device="gpu" if on_gpu else "cpu",
        device_name=torch.cuda.get_device_name(0) if on_gpu else "",
        base_mb=base,
        loaded_mb=journal.loaded_mb - base,
        peak_mb=torch.cuda.max_memory_reserved() / MEGABYTE if on_gpu else peak_mb() - base,
        speeds=journal.speeds[1:],
    )


if __name__ == "__main__":
    main()
