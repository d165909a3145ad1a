"""`python -m benchmarks [--only NAME ...] [--quick] [--record]`: runs benchmarks one after the other and prints tables."""

import argparse
import importlib
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.harness.line import Line, NotMeasured, Options
from benchmarks.harness.machine import describe_machine, load
from benchmarks.harness.results import block, record, table

NAMES = (
    "data_check",
    "tokens",
    "ingest",
    "job_page",
    "large_studio",
    "stores",
    "ui_start",
    "refresh",
    "train_overhead",
    "train_spread",
    "estimate_check",
)
"""Modules of this package, the quick ones first. Each has `measure(options)` and PACKAGES, whose versions are recorded."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for.

    Returns:
        1 if something could not be measured. A missed goal is no failure: it is printed and recorded.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--only", nargs="+", choices=NAMES, default=NAMES, metavar="NAME", help=", ".join(NAMES)
    )
    parser.add_argument("--quick", action="store_true", help="small sizes and the tiny model: does it run?")
    parser.add_argument("--record", action="store_true", help="write the results into benchmarks/RESULTS.md")
    wanted = parser.parse_args(arguments)
    if wanted.quick and wanted.record:
        parser.error("quick figures say little and are not recorded")
    missing = [name for name in wanted.only if not _run(name, quick=wanted.quick, keep=wanted.record)]
    if missing:
        print(f"Not measured: {', '.join(missing)}.")
    return int(bool(missing))


def _run(name: str, *, quick: bool, keep: bool) -> bool:
    module = importlib.import_module(f"benchmarks.{name}")
    load_before, began = load(), time.perf_counter()
    print(f"\n{name}: {module.__doc__}", flush=True)
    try:
        with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
            lines: Sequence[Line] = module.measure(Options(quick, Path(folder)))
    except (NotMeasured, ImportError) as reason:
        print(f"not measured: {reason}", flush=True)
        return False
    print(table(lines))
    facts = (
        f"{datetime.now(UTC):%Y-%m-%d}, {time.perf_counter() - began:.0f} s in all",
        describe_machine(module.PACKAGES),
        f"load (1 minute): {load_before:.1f} before, {load():.1f} after, this benchmark's own included",
    )
    print("\n".join(facts), flush=True)
    if keep:
        record(name, block(name, module.__doc__.strip(), facts, lines))
    return True


if __name__ == "__main__":
    sys.exit(main())
