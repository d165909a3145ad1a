"""What is kept of an attempt beside its checkpoints and adapter: the metrics as a table, and the logs."""

import csv
import shutil
from pathlib import Path

from lora_core.schema.metrics import METRIC_COLUMNS, MetricKind
from lora_core.schema.run import EventKind
from runner.run_folder import EventTail, RunFolder
from runner.uploads import link_or_copy


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
