"""One read of the job page (`read_job_page`: curves smoothed and down-sampled, logs, checkpoints) at 1k to 1M points.

Theirs reads all rows of the same curves from the same database and smooths and down-samples them in numpy, once; ours gives the
curves raw and smooth, and evaluations, throughput and the log beside them.
"""

import sqlite3
import time
from collections.abc import Callable
from functools import partial

import numpy as np

from benchmarks.harness.line import Line, Options, compare
from benchmarks.material.live_job import LiveJob, open_live_job
from lora_core.actions.jobs import CHART_COLUMNS, ChartView, read_job_page
from lora_core.monitor.downsampling import min_max_indices
from lora_core.monitor.smoothing import smooth

PACKAGES = ("numpy", "pydantic")
ROUNDS = 7
VIEW = ChartView()


def measure(options: Options) -> list[Line]:
    """Measure milliseconds of a snapshot for short, long and very long jobs."""
    sizes = (1_000, 10_000) if options.quick else (1_000, 100_000, 1_000_000)
    jobs = [_filled(options, size) for size in sizes]
    ours: dict[int, list[float]] = {size: [] for size in sizes}
    theirs: dict[int, list[float]] = {size: [] for size in sizes}
    for number in range(ROUNDS + 1):
        for size, live in zip(sizes, jobs, strict=True):
            page = _ms(partial(read_job_page, live.workspace, live.job_id, VIEW))
            rows = _ms(partial(_all_rows, live))
            if number:  # the first fills SQLite's and the system's caches
                ours[size].append(page)
                theirs[size].append(rows)
    lines = [
        compare(
            f"snapshot of {size:,} points",
            ours[size],
            theirs[size],
            "ms",
            "<= 1" if size > 1000 else "",
            "all rows, numpy",
        )
        for size in sizes
    ]
    long, short = sizes[-1], sizes[0]
    grown = compare(
        f"snapshot of {long:,} points / of {short:,}", ours[long], ours[short], "ms", note="ours / ours"
    )
    rows = compare(
        f"all rows: {long:,} points / {short:,}", theirs[long], theirs[short], "ms", note="theirs / theirs"
    )
    for live in jobs:
        live.close()
    return [*lines, grown, rows]


def _filled(options: Options, size: int) -> LiveJob:
    live = open_live_job(options.folder / str(size))
    live.ship_points(size)
    return live


def _all_rows(live: LiveJob) -> int:
    connection = sqlite3.connect(live.workspace.settings.database)
    rows = connection.execute(
        f"SELECT step, {', '.join(CHART_COLUMNS)} FROM metrics_points WHERE job_id = ? AND kind = 'train' ORDER BY step",
        (live.job_id,),
    ).fetchall()
    connection.close()
    table = np.array(rows, dtype=np.float64)
    shown = [smooth(table[:, column], VIEW.smoothing) for column in range(1, table.shape[1])]
    kept = min_max_indices(shown[0], VIEW.points)
    return len([values[kept].tolist() for values in shown])


def _ms(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000
