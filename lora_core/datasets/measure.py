"""Lengths of a data set in tokens of one base model, and how much of it would be learned."""

from array import array
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from lora_core.datasets.blocks import Progress
from lora_core.datasets.convert import to_example
from lora_core.datasets.example import Example
from lora_core.datasets.faults import RowError
from lora_core.datasets.lengths import length_stats
from lora_core.datasets.read import read_rows
from lora_core.datasets.supervision import LossOn, Plan, plan
from lora_core.datasets.tokenise import encode_plans
from lora_core.datasets.tokenizer import ChatTokenizer
from lora_core.errors import DataError
from lora_core.schema.dataset import ColumnMapping, DatasetFormat, TokenReport

_BATCH_ROWS = 256


def measure_tokens(
    path: Path,
    format: DatasetFormat,
    mapping: ColumnMapping | None,
    tokenizer: ChatTokenizer,
    *,
    model: str,
    max_length: int,
    loss_on: LossOn,
    file_name: str = "",
    progress: Progress | None = None,
) -> TokenReport:
    """Tokenise every good row and count.

    Args:
        path: The file.
        format: Layout of its rows.
        mapping: Columns chosen by hand.
        tokenizer: Of the base model.
        model: Name of the base model, for the report.
        max_length: Longest row in tokens.
        loss_on: What is learned.
        file_name: Name the person gave the file.
        progress: Told the share of the file read.

    Returns:
        Lengths are before the cut at `max_length`, learned tokens after it. Bad rows are left out.

    Raises:
        DataError: The file cannot be read, no row is good, or the template fits none of them.
    """
    lengths = array("I")
    learned_tokens = over_length = nothing = 0
    refused: RowError | None = None

    def plans() -> Iterator[Plan]:
        nonlocal refused
        for example in _good_examples(path, format, mapping, file_name, progress):
            try:
                yield plan(example, tokenizer, loss_on)
            except RowError as error:
                refused = error

    each = plans()
    while batch := list(islice(each, _BATCH_ROWS)):
        for row in encode_plans(batch, tokenizer, max_length):
            lengths.append(row.length)
            learned = row.learned_tokens
            learned_tokens += learned
            over_length += row.truncated
            nothing += not learned
    stats = length_stats(lengths)
    if stats is None:
        raise refused or DataError("No row of the file can be used.", "Look at the errors of the check.")
    return TokenReport(
        model=model,
        lengths=stats,
        learned_tokens=learned_tokens,
        over_length_rows=over_length,
        max_length=max_length,
        nothing_to_learn_rows=nothing,
    )


def _good_examples(
    path: Path,
    format: DatasetFormat,
    mapping: ColumnMapping | None,
    file_name: str,
    progress: Progress | None,
) -> Iterator[Example]:
    for row in read_rows(path, file_name=file_name, progress=progress):
        if row.value is not None:
            try:
                yield to_example(row.value, format, mapping)
            except RowError:
                continue
