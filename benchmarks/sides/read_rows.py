"""Reads one JSONL file with one reader, once. `python -m benchmarks.sides.read_rows READER FILE FOLDER`."""

import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.harness.turns import Side


def main() -> None:
    """Import the reader, wait for the turn, read."""
    reader, file, folder = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    read = READERS[reader]()
    side = Side()
    rows = read(file, folder)
    side.mark(rows)
    side.finish(rows=rows)


def _studio() -> Callable[[Path, Path], int]:
    from lora_core.datasets.check import check_file

    def read(file: Path, folder: Path) -> int:
        report = check_file(file, issues_path=folder / "issues.jsonl")
        assert not report.fatal
        assert report.error_rows == 0
        return report.good_rows

    return read


def _datasets() -> Callable[[Path, Path], int]:
    import datasets

    datasets.disable_progress_bars()
    return lambda file, folder: len(
        datasets.load_dataset("json", data_files=str(file), split="train", cache_dir=str(folder / "cache"))
    )


def _pandas() -> Callable[[Path, Path], int]:
    import pandas

    return lambda file, _: len(pandas.read_json(file, lines=True))


READERS = {"studio": _studio, "datasets": _datasets, "pandas": _pandas}

if __name__ == "__main__":
    main()
