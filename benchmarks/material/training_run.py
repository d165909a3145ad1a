"""A run folder with a spec to train from: the demo model (or a tiny random one) and 256 rows of spread length."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from benchmarks.harness.line import NotMeasured, Options
from benchmarks.harness.machine import allowed_cpus
from benchmarks.material.chat_rows import spread_rows
from lora_core.datasets.convert import to_example
from lora_core.datasets.tokenizer import ChatTokenizer
from lora_core.models.catalogue import find_model
from lora_core.models.weights import folder_of, is_present
from lora_core.schema.config import TrainingConfig
from lora_core.schema.dataset import ColumnMapping, DatasetFormat
from lora_core.schema.run import DataFile, RunSpec
from lora_core.settings import Settings
from runner.run_folder import RunFolder

DEMO_MODEL = "smollm2-135m-instruct"


MakeRows = Callable[[Callable[[list[dict[str, str]]], int]], Iterable[dict[str, Any]]]
"""Makes chat rows, given what counts the tokens of a chat."""


def make_run(folder: Path, model: Path, config: TrainingConfig, make_rows: MakeRows = spread_rows) -> Path:
    """Write rows and spec.

    Returns:
        The run folder.
    """
    tokenizer = ChatTokenizer.load(model)

    def count_tokens(messages: list[dict[str, str]]) -> int:
        example = to_example({"messages": messages}, DatasetFormat.MESSAGES, ColumnMapping())
        return len(tokenizer.encode(tokenizer.render(example)))

    folder.mkdir()
    rows = folder / "rows.jsonl"
    rows.write_text("".join(json.dumps(row) + "\n" for row in make_rows(count_tokens)))
    spec = RunSpec(
        job_id="benchmark",
        job_name="benchmark",
        attempt=1,
        config=config,
        model_path=str(model),
        train=DataFile(path=str(rows), name="spread", format=DatasetFormat.MESSAGES),
        threads=allowed_cpus(),
    )
    return RunFolder.create(folder, spec).root


def demo_model() -> Path:
    """Return the folder of the demo model, which is not fetched here.

    Raises:
        NotMeasured: It is not there.
    """
    folder = folder_of(find_model(DEMO_MODEL), Settings().models)
    if not is_present(folder):
        raise NotMeasured(
            f"the demo model is not there; fetch it: python -m runner.models fetch {DEMO_MODEL}"
        )
    return folder


def tiny_model(options: Options) -> Path:
    """Build the tiny random model."""
    from runner.models.tiny import build_tiny_model  # loads torch

    return build_tiny_model(options.folder / "tiny")
