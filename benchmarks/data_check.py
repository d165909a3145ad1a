"""The check of a 200 MB JSONL file (every row parsed and judged, duplicates found, lengths counted; no tokens), against readers.

Theirs only read: datasets.load_dataset('json') makes Arrow files, pandas.read_json(lines=True) a frame. Each side has its own
process; imports are not in the seconds, but in the peak memory.
"""

import shutil
from collections.abc import Callable

from benchmarks.harness.line import ROUNDS, Line, NotMeasured, Options, compare
from benchmarks.harness.turns import Result, take_turns
from benchmarks.material.chat_rows import write_chat_file

PACKAGES = ("msgspec", "datasets", "pandas", "pyarrow")
READERS = ("studio", "datasets", "pandas")


def measure(options: Options) -> list[Line]:
    """Measure seconds and peak resident memory."""
    file = options.folder / "chats.jsonl"
    size = options.pick(200_000_000, 4_000_000)
    rows = write_chat_file(file, size)
    found: dict[str, list[Result]] = {reader: [] for reader in READERS}
    for _ in range(ROUNDS):
        for reader in READERS:  # one after the other: two in memory at once would crowd each other
            scratch = options.folder / reader
            scratch.mkdir()
            result = take_turns(
                {reader: ("benchmarks.sides.read_rows", reader, str(file), str(scratch))}, options.folder
            )[reader]
            shutil.rmtree(scratch)
            if result.facts["rows"] != rows:
                raise NotMeasured(f"{reader} found {result.facts['rows']} of {rows} rows")
            found[reader].append(result)
    words = f"{size / 1e6:.0f} MB, {rows:,} chat rows"
    figures: dict[str, Callable[[Result], float]] = {
        "time": lambda result: result.pieces[0].seconds,
        "CPU time": lambda result: result.pieces[0].cpu_seconds,
        "peak memory": lambda result: result.peak_mb,
    }
    lines = []
    for what, figure in figures.items():
        for peer in READERS[1:]:
            ours, theirs = map(figure, found["studio"]), map(figure, found[peer])
            unit = "MB" if what == "peak memory" else "s"
            goal = {"time": "<= 1", "CPU time": "", "peak memory": "<= 0.2"}[what]
            lines.append(compare(f"{what}, against {peer}", [*ours], [*theirs], unit, goal, words))
    return lines
