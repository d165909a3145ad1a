"""The audit against the trainer: the same ids and the same targets, token by token, in the batches it computes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lora_core.datasets.measure import measure_tokens
from lora_core.datasets.prepare import prepare
from lora_core.datasets.tokenizer import ChatTokenizer
from lora_core.schema.config import DataConfig
from lora_core.schema.dataset import DatasetFormat
from lora_core.schema.run import DataFile
from runner.train.rows import IGNORED, Collator, records
from tests.lora_core.datasets.conftest import CHATML, CHATML_MARKED
from tests.lora_core.datasets.conftest import model_folder as model_folder

U, A = (
    {"role": "user", "content": "What is it?"},
    {"role": "assistant", "content": "It is four, of course 😀."},
)
ROWS: dict[DatasetFormat, dict[str, Any]] = {
    DatasetFormat.MESSAGES: {"messages": [{"role": "system", "content": "Be kind."}, U, A, U, A]},
    DatasetFormat.SHAREGPT: {
        "conversations": [
            {"from": "human", "value": "What is it?"},
            {"from": "function_call", "value": '{"name": "look", "arguments": {"at": "it"}}'},
            {"from": "observation", "value": "four"},
            {"from": "gpt", "value": "Four."},
        ],
        "tools": '[{"name": "look", "parameters": {}}]',
    },
    DatasetFormat.ALPACA: {
        "instruction": "Add.",
        "input": "2 and 2",
        "output": "It is four.",
        "system": "Be kind.",
    },
    DatasetFormat.PROMPT_COMPLETION: {"prompt": "What is two plus two?", "completion": "It is four."},
    DatasetFormat.TEXT: {"text": "Hello there! It is four, of course."},
}


@pytest.mark.parametrize("capacity", [None, 512])
@pytest.mark.parametrize("max_length", [512, 24])
@pytest.mark.parametrize("loss_on", ["completion", "last", "all"])
@pytest.mark.parametrize("template", [CHATML, CHATML_MARKED, None], ids=["plain", "marked", "none"])
@pytest.mark.parametrize("format", ROWS)
def test_the_audit_shows_what_the_trainer_computes(
    tmp_path: Path,
    model_folder: Callable[[str | None], Path],
    format: DatasetFormat,
    template: str | None,
    loss_on: str,
    max_length: int,
    capacity: int | None,
) -> None:
    tokenizer = ChatTokenizer.load(model_folder(template))
    text = json.dumps(ROWS[format])
    rows = [text, text.replace("four", "five"), text.replace("four", "three and one")]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(rows) + "\n")
    report = measure_tokens(
        path, format, None, tokenizer, model="tiny", max_length=max_length, loss_on=loss_on
    )  # type: ignore[arg-type]
    config = DataConfig.model_validate(
        {"loss_on": loss_on, "max_length": max_length, "validation_fraction": 0}
    )
    if report.learned_tokens == 0:
        assert report.nothing_to_learn_rows == 3
        return
    prepared = prepare(DataFile(path=str(path), format=format), None, config, seed=1, tokenizer=tokenizer)
    shown = [row for row in report.audit if row.learned]
    batch = Collator(tokenizer.pad_token_id, capacity)([dict(record) for record in records(prepared.train)])
    assert int(batch["real_tokens"]) == sum(row.tokens for row in shown)
    assert (
        int((batch["targets"] != IGNORED).sum()) == report.learned_tokens == sum(row.learned for row in shown)
    )
    computed = []
    for ids, targets, positions in zip(
        batch["input_ids"].tolist(), batch["targets"].tolist(), batch["position_ids"].tolist(), strict=True
    ):
        starts = [place for place, position in enumerate(positions) if position == 0]
        ends = [*starts[1:], len(ids)]
        computed += [(ids[start:end], targets[start:end]) for start, end in zip(starts, ends, strict=True)]
    expected = []
    for row in shown:
        goals = [
            token if flag == "1" else IGNORED for token, flag in zip(row.ids[1:], row.mask[1:], strict=True)
        ]
        expected.append((list(row.ids), [*goals, IGNORED]))
    found = []
    for ids, targets in computed:
        twin = next(each for each in expected if ids[: len(each[0])] == each[0])
        padding = targets[len(twin[0]) :]
        assert padding == [IGNORED] * len(padding)
        found.append((ids[: len(twin[0])], targets[: len(twin[0])]))
    assert sorted(found) == sorted(expected)
