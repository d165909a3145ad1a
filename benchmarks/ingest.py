"""Metric points from a trainer's run folder into the store, against one row per SQLite transaction.

Ours: `events.jsonl` -> EventTail -> RunnerPort.ship in batches of 1,000, all validation included. Theirs: the same columns into a
plain table, one transaction a point, as loggers that write through do; there is no JSON, validation or second process in it.
"""

import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import quantiles

from benchmarks.harness.line import ROUNDS, Line, NotMeasured, Options, compare
from benchmarks.material.live_job import begin, open_live_job, points
from lora_core.schema.metrics import METRIC_COLUMNS
from lora_core.schema.run import EventKind
from runner.run_folder import EventTail, EventWriter

PACKAGES = ("pydantic",)
DURABLE = ("journal_mode = WAL", "synchronous = NORMAL")
COLUMNS = ("job", "kind", "step", "at", *METRIC_COLUMNS)


def measure(options: Options) -> list[Line]:
    """Measure points per second into the store, and what logging one point costs the trainer."""
    count, few = options.pick(40_000, 2_000), options.pick(4_000, 500)
    ours, theirs, default = [], [], []
    latency: dict[str, list[float]] = {"ours": [], "theirs": [], "default": []}
    for number in range(ROUNDS):
        folder = options.folder / str(number)
        folder.mkdir()
        waits = _write_events(folder / "events.jsonl", count)
        latency["ours"].append(_p95_ms(waits))
        ours.append(count / _ship(folder))
        for name, pragmas, rows, speeds in (
            ("theirs", DURABLE, count, theirs),
            ("default", (), few, default),
        ):
            waits = _write_rows(folder / f"{name}.sqlite3", pragmas, rows)
            latency[name].append(_p95_ms(waits))
            speeds.append(rows / sum(waits))
    tuned, plain = (
        "one transaction a point, WAL, synchronous=NORMAL",
        f"the same with SQLite's defaults, {few:,} points",
    )
    return [
        compare("points into the store", ours, default, "points/s", ">= 1", plain),
        compare("points into the store, tuned peer", ours, theirs, "points/s", note=tuned),
        compare(
            "the trainer's wait for one point (p95)", latency["ours"], latency["default"], "ms", "<= 1", plain
        ),
        compare(
            "the trainer's wait for one point (p95), tuned peer",
            latency["ours"],
            latency["theirs"],
            "ms",
            note=tuned,
        ),
    ]


def _write_events(file: Path, count: int) -> list[float]:
    waits = []
    with EventWriter(file) as writer:
        writer.write(EventKind.PHASE, **begin(count))
        for kind, data in points(count):
            began = time.perf_counter()
            writer.write(kind, **data)
            waits.append(time.perf_counter() - began)
    return waits


def _ship(folder: Path) -> float:
    """Return seconds from the first read to the last batch's commit."""
    live = open_live_job(folder / "home")
    tail = EventTail(folder / "events.jsonl")
    began = time.perf_counter()
    stored = 0
    while events := tail.read():
        live.port.ship(live.job_id, live.attempt, events)
        stored += len(events)
    seconds = time.perf_counter() - began
    live.close()
    if tail.bad_lines:
        raise NotMeasured(f"{tail.bad_lines} of {stored} lines could not be read")
    return seconds


def _write_rows(file: Path, pragmas: Sequence[str], count: int) -> list[float]:
    connection = sqlite3.connect(file, isolation_level=None)
    for pragma in pragmas:
        connection.execute(f"PRAGMA {pragma}")
    connection.execute(
        f"CREATE TABLE points ({', '.join(COLUMNS)}, PRIMARY KEY (job, kind, step)) WITHOUT ROWID"
    )
    insert = f"INSERT INTO points VALUES ({', '.join('?' * len(COLUMNS))})"
    waits = []
    for _, data in points(count):
        began = time.perf_counter()
        connection.execute(
            insert, ("job", data["kind"], data["step"], time.time(), *map(data.get, METRIC_COLUMNS))
        )
        waits.append(time.perf_counter() - began)
    connection.close()
    return waits


def _p95_ms(waits: Sequence[float]) -> float:
    return quantiles(waits, n=20)[-1] * 1000
