"""The curve of a run as `metrics.csv`: what a person opens in a spreadsheet. Goes on over resumes, since checkpoints carry it."""

import csv
import shutil
from pathlib import Path
from typing import Any

from lora_core.schema.base import utc_now
from lora_core.schema.metrics import METRIC_COLUMNS, MetricKind

COLUMNS = ("step", "kind", "recorded_at", *METRIC_COLUMNS, "perplexity")


class Curve:
    """Appends train and eval points to a file, a line each.

    Args:
        file: Made if missing; an older one is replaced.
        earlier: The curve up to the checkpoint that the run goes on from.
    """

    def __init__(self, file: Path, earlier: Path | None = None) -> None:
        self.file = file
        if earlier and earlier.exists():
            shutil.copyfile(earlier, file)
        else:
            file.write_text(",".join(COLUMNS) + "\n", encoding="utf-8")

    def add(self, kind: MetricKind, step: int, values: dict[str, Any]) -> None:
        """Append one point; columns without a value stay empty."""
        row = {"step": step, "kind": kind.value, "recorded_at": utc_now().isoformat(), **values}
        with self.file.open("a", encoding="utf-8", newline="") as stream:
            csv.DictWriter(stream, COLUMNS, extrasaction="ignore", lineterminator="\n").writerow(row)
