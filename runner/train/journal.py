"""What a trainer says, as events of its run folder. One journal serves the training thread and the watcher's thread."""

import threading
from typing import Any, Literal

from lora_core.schema.metrics import MetricKind
from lora_core.schema.run import EventKind
from runner.run_folder import EventWriter

Level = Literal["debug", "info", "warning", "error"]


class Journal:
    """Typed front of an EventWriter. Thread-safe: the writer alone is not."""

    def __init__(self, writer: EventWriter) -> None:
        self._writer = writer
        self._lock = threading.RLock()

    def phase(self, name: str, **data: Any) -> None:
        """Say what the trainer does now, or how far it is (`progress` 0 to 1)."""
        self._write(EventKind.PHASE, name=name, **data)

    def metrics(self, kind: MetricKind, step: int, **values: Any) -> None:
        """Append one metric point; values that are not finite are kept by name in `nonfinite`."""
        self._write(EventKind.METRICS, **{"kind": kind.value, "step": step, **values})

    def log(self, text: str, level: Level = "info") -> None:
        """Append a line for the person."""
        self._write(EventKind.LOG, level=level, source="trainer", text=text)

    def checkpoint(self, step: int, path: str, **data: Any) -> None:
        """Say that a checkpoint is whole on disk, or was dropped (`dropped=True`)."""
        self._write(EventKind.CHECKPOINT, step=step, path=path, **data)

    def alert(self, rule: str, message: str, **data: Any) -> None:
        """Say that something needs a person's eye."""
        self._write(EventKind.ALERT, rule=rule, message=message, **data)

    def result(self, **data: Any) -> None:
        """Say how it ended: the adapter and its numbers, or the error."""
        self._write(EventKind.RESULT, **data)

    def _write(self, event: EventKind, **data: Any) -> None:
        with self._lock:
            self._writer.write(event, **data)
