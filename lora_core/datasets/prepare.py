"""From data files to what a trainer trains on: read, convert, draw, split, tokenise. The same input gives the same ids."""

import hashlib
from array import array
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import msgspec
import numpy as np

from lora_core.datasets.blocks import Progress
from lora_core.datasets.convert import to_example
from lora_core.datasets.example import Example, fingerprint
from lora_core.datasets.faults import RowError
from lora_core.datasets.read import read_rows
from lora_core.datasets.split import TRAIN, VALIDATION, sides_of
from lora_core.datasets.supervision import Plan, plan
from lora_core.datasets.tokenise import TokenisedRow, encode_plans, shared_ids
from lora_core.datasets.tokenizer import ChatTokenizer
from lora_core.errors import DataError
from lora_core.schema.config import DataConfig
from lora_core.schema.methods import why_untrainable
from lora_core.schema.run import DataFile

KEPT_EXAMPLES = 1000
_BATCH_ROWS = 256


class Prepared(msgspec.Struct, frozen=True):
    """Rows ready to train on.

    Args:
        train: Rows with at least one learned token, in file order.
        validation: The same for validation; may be empty.
        fingerprint: SHA-256 over ids and masks of both, in order. A resumed job compares it.
        skipped: Rows left out because nothing of them is learned (cut off before the answer, weight 0).
        truncated: Rows used that were cut at the longest length.
        leaked: Rows of an own validation file whose content is also learned from.
        validation_examples: The first 1,000 rows behind `validation`, in its order, for predictions.
    """

    train: list[TokenisedRow]
    validation: list[TokenisedRow]
    fingerprint: str
    skipped: int
    truncated: int
    leaked: int
    validation_examples: list[Example]


def prepare(
    train: DataFile,
    validation: DataFile | None,
    data: DataConfig,
    *,
    seed: int,
    tokenizer: ChatTokenizer,
    progress: Progress | None = None,
) -> Prepared:
    """Make the rows of a job.

    Each file is read twice: once to check every row and to find duplicates (which stay on one side of the split), once
    to tokenise the rows that were drawn. The row limit applies to training and split, not to an own validation file.

    Args:
        train: Data to learn from.
        validation: Own file for validation; None to split `train` by `data.validation_fraction`.
        data: Limits, share and what is learned.
        seed: Decides the draw and the split.
        tokenizer: Of the base model.
        progress: Told the share done, 0 to 1.

    Raises:
        DataError: A row cannot be used (with its line), nothing would be learned, or the rows are for another method.
    """
    for file in filter(None, (train, validation)):
        if why := why_untrainable(file.format):
            raise DataError(f"{_name(file)} cannot be trained on. {why[0]}", why[1])
    tell = progress or _nobody
    groups = array(
        "q", (fingerprint(example) for _, example in _examples(train, lambda done: tell(done * 0.2)))
    )
    if not groups:
        raise DataError(f"{_name(train)} has no rows.", "Choose another data set.")
    fraction = 0.0 if validation is not None else data.validation_fraction
    side = sides_of(groups, row_limit=data.row_limit, fraction=fraction, seed=seed)
    work = _Work(tokenizer, data)
    sides = (
        (side[index], line, example)
        for index, (line, example) in enumerate(
            _examples(train, lambda done: tell(0.2 + done * (0.8 if validation is None else 0.5)))
        )
    )
    work.add(train, ((mark, line, example) for mark, line, example in sides if mark))
    leaked = 0
    if validation is not None:
        held_hashes = array("q")
        held = _examples(validation, lambda done: tell(0.7 + done * 0.3))
        work.add(validation, ((VALIDATION, line, _noted(example, held_hashes)) for line, example in held))
        trained = np.frombuffer(groups, dtype=np.int64)[np.frombuffer(side, dtype=np.uint8) == TRAIN]
        leaked = int(np.isin(np.frombuffer(held_hashes, dtype=np.int64), trained).sum())
    if not work.rows[TRAIN]:
        raise DataError(
            f"There is nothing to learn in {_name(train)}: no row has a learned token within {data.max_length} tokens.",
            "Allow longer rows, or learn from all tokens.",
        )
    tell(1.0)
    return work.prepared(leaked)


def _noted(example: Example, hashes: "array[int]") -> Example:
    hashes.append(fingerprint(example))
    return example


class _Work:
    """Rows tokenised so far."""

    def __init__(self, tokenizer: ChatTokenizer, data: DataConfig) -> None:
        self._tokenizer = tokenizer
        self._data = data
        self._ids = list(range(tokenizer.vocabulary_size))
        self.rows: dict[int, list[TokenisedRow]] = {TRAIN: [], VALIDATION: []}
        self._examples: list[Example] = []
        self._skipped = 0

    def add(self, file: DataFile, examples: Iterable[tuple[int, int, Example]]) -> None:
        """Tokenise rows of one file, given as (side, line, example)."""
        each = iter(examples)
        while batch := list(islice(each, _BATCH_ROWS)):
            plans = [self._plan(file, line, example) for _, line, example in batch]
            tokenised = encode_plans(plans, self._tokenizer, self._data.max_length)
            for (mark, _, example), row in zip(batch, tokenised, strict=True):
                if not row.learned_tokens:
                    self._skipped += 1
                    continue
                self.rows[mark].append(shared_ids(row, self._ids))
                if mark == VALIDATION and len(self._examples) < KEPT_EXAMPLES:
                    self._examples.append(example)

    def prepared(self, leaked: int) -> Prepared:
        train, validation = self.rows[TRAIN], self.rows[VALIDATION]
        return Prepared(
            train=train,
            validation=validation,
            fingerprint=rows_fingerprint(train, validation),
            skipped=self._skipped,
            truncated=sum(row.truncated for row in (*train, *validation)),
            leaked=leaked,
            validation_examples=self._examples,
        )

    def _plan(self, file: DataFile, line: int, example: Example) -> Plan:
        try:
            return plan(example, self._tokenizer, self._data.loss_on)
        except RowError as error:
            raise _bad_row(file, line, error) from error


def rows_fingerprint(*parts: list[TokenisedRow]) -> str:
    """SHA-256 over ids and masks, in order, in hex."""
    digest = hashlib.sha256()
    for rows in parts:
        digest.update(b"rows %d\n" % len(rows))
        for row in rows:
            digest.update(b"%d\n" % len(row.input_ids))
            digest.update(array("I", row.input_ids).tobytes())
            digest.update(bytes(row.learned))
    return digest.hexdigest()


def _examples(file: DataFile, progress: Progress) -> Iterator[tuple[int, Example]]:
    for row in read_rows(Path(file.path), file_name=file.name, progress=progress):
        if row.value is None:
            message = row.error.message if row.error is not None else "The row cannot be read."
            raise DataError(f"{_name(file)}: {message}", _DROP, line=row.line)
        try:
            yield row.line, to_example(row.value, file.format, file.mapping)
        except RowError as error:
            raise _bad_row(file, row.line, error) from error


_DROP = "Repair the row, or drop the bad rows of the data set."


def _bad_row(file: DataFile, line: int, error: RowError) -> DataError:
    place = f" ({error.field})" if error.field else ""
    message = f"{_name(file)}, line {line}{place}: {error.message}"
    return DataError(message, error.next_step or _DROP, line=line, field=error.field)


def _name(file: DataFile) -> str:
    return file.name or "The data set"


def _nobody(_: float) -> None:
    """Nobody asked."""
