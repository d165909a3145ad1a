"""The studio's trainer on one run folder, a piece a step. `python -m benchmarks.sides.studio_trainer RUN_DIR`."""

import sys
from pathlib import Path
from typing import Any

from benchmarks.harness.turns import Side
from lora_core.schema.metrics import MetricKind
from runner.run_folder import EventWriter, RunFolder
from runner.train.__main__ import run
from runner.train.journal import Journal


class TurnsJournal(Journal):
    """Ends a piece behind each training point: all that the trainer does at a step is in it."""

    def __init__(self, writer: EventWriter, side: Side) -> None:
        super().__init__(writer)
        self._side = side
        self._tokens = 0

    def metrics(self, kind: MetricKind, step: int, **values: Any) -> None:
        """Write the point, then let the others have their turn."""
        super().metrics(kind, step, **values)
        if kind is MetricKind.TRAIN:
            tokens, self._tokens = values["tokens_seen"] - self._tokens, values["tokens_seen"]
            self._side.mark(tokens)


def main() -> None:
    """Train to the end of the spec."""
    folder = RunFolder(Path(sys.argv[1]))
    side = Side()
    with EventWriter(folder.events_file) as writer:
        code = run(folder, TurnsJournal(writer, side))
    if code:
        sys.exit(f"The trainer ended with {code}.")
    side.finish()


if __name__ == "__main__":
    main()
