"""What is kept of an attempt beside its checkpoints and adapter: the metrics as a table, and the logs."""

import csv
import shutil
from pathlib import Path
from typing import Any

from lora_core.schema.artifact import ArtifactKind
from lora_core.schema.job import EndOfAttempt, Outcome
from lora_core.schema.metrics import METRIC_COLUMNS, MetricKind
from lora_core.schema.run import EventKind
from runner.run_folder import EventTail, RunFolder
from runner.uploads import Uploads, link_or_copy


def queue_keepsakes(uploads: Uploads, folder: RunFolder, end: EndOfAttempt, result: dict[str, Any]) -> None:
    """Have stored what an attempt leaves behind: the adapter of a job that is completed, its metrics and its logs.

    Args:
        result: Data of the trainer's result event.
    """
    if end.outcome is Outcome.COMPLETED:
        step = result.get("best_step") or result.get("step")
        uploads.put(ArtifactKind.ADAPTER, "adapter", lambda: folder.adapter, step=step)
    uploads.put(ArtifactKind.METRICS, "metrics", lambda: write_metrics(folder))
    uploads.put(ArtifactKind.LOGS, "logs", lambda: gather_logs(folder))


def write_metrics(folder: RunFolder) -> Path:
    """Write the attempt's train and eval points as CSV, in the order they were made.

    Returns:
        The folder that holds `metrics.csv`.
    """
    target = folder.root / "metrics"
    target.mkdir(exist_ok=True)
    tail = EventTail(folder.events_file)
    with (target / "metrics.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, ("kind", "step", "recorded_at", *METRIC_COLUMNS), extrasaction="ignore")
        table.writeheader()
        while events := tail.read():
            for event in events:
                if event.kind is EventKind.METRICS and event.data.get("kind") != MetricKind.SYSTEM:
                    table.writerow(
                        {**event.data, **event.data.get("nonfinite", {}), "recorded_at": event.at.isoformat()}
                    )
    return target


def gather_logs(folder: RunFolder) -> Path:
    """Put what was printed and every event side by side.

    Returns:
        The folder that holds them.
    """
    target = folder.root / "logs"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    for file in (folder.log_file, folder.events_file, folder.spec_file):
        if file.exists():
            link_or_copy(file, target / file.name)
    return target
