"""Makes ids and masks of one chat file, once. `python -m benchmarks.sides.tokenise_rows KIND FILE MODEL FOLDER`."""

import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.harness.turns import Side

LONGEST = 1024


def main() -> None:
    """Load the tokenizer, wait for the turn, read and tokenise."""
    kind, file, model, folder = sys.argv[1], *map(Path, sys.argv[2:])
    tokenise = KINDS[kind](model)
    side = Side()
    tokens = tokenise(file, folder)
    side.mark(tokens)
    side.finish()


def _studio(model: Path) -> Callable[[Path, Path], int]:
    from lora_core.datasets.prepare import prepare
    from lora_core.datasets.tokenizer import ChatTokenizer
    from lora_core.schema.config import DataConfig
    from lora_core.schema.dataset import DatasetFormat
    from lora_core.schema.run import DataFile

    tokenizer = ChatTokenizer.load(model)

    def tokenise(file: Path, _: Path) -> int:
        config = DataConfig(max_length=LONGEST, validation_fraction=0.0)
        data = DataFile(path=str(file), format=DatasetFormat.MESSAGES)
        return sum(
            len(row.input_ids) for row in prepare(data, None, config, seed=0, tokenizer=tokenizer).train
        )

    return tokenise


def _trl(model: Path) -> Callable[[Path, Path], int]:
    import datasets
    from transformers import AutoTokenizer

    datasets.disable_progress_bars()
    tokenizer = AutoTokenizer.from_pretrained(model)

    def one(row: dict[str, list[dict[str, str]]]) -> dict[str, list[int]]:
        ids = tokenizer.apply_chat_template(row["messages"], tokenize=True, return_dict=True)["input_ids"]
        return {"input_ids": ids[:LONGEST]}

    def tokenise(file: Path, folder: Path) -> int:
        rows = datasets.load_dataset("json", data_files=str(file), split="train", cache_dir=str(folder))
        return sum(map(len, rows.map(one, remove_columns=["messages"])["input_ids"]))

    return tokenise


KINDS = {"studio": _studio, "trl": _trl}

if __name__ == "__main__":
    main()
