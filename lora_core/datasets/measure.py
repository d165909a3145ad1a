"""The supervision audit: lengths of a data set in tokens of one base model, and what of it would be learned."""

import sys
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from lora_core.datasets.audit import Audit
from lora_core.datasets.blocks import Progress
from lora_core.datasets.convert import to_example
from lora_core.datasets.example import Example
from lora_core.datasets.faults import RowError
from lora_core.datasets.lengths import length_stats
from lora_core.datasets.read import read_rows
from lora_core.datasets.rows import Row
from lora_core.datasets.supervision import LossOn, Plan, ends_every_answer, plan
from lora_core.datasets.tokenise import TokenisedRow, encode_plans, shortened
from lora_core.datasets.tokenizer import ChatTokenizer
from lora_core.errors import DataError
from lora_core.schema.dataset import AuditKind, ColumnMapping, DatasetFormat, TokenReport
from lora_core.schema.methods import why_untrainable

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
    """Tokenise every good row, count, and keep a few rows to show.

    Ids and mask come from the functions the trainer calls, and are cut as it cuts them.

    Args:
        path: The file.
        format: Layout of its rows. Of preference pairs both answers are counted, and the longer one is the row's length.
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
    count = _Count(tokenizer, max_length, shows=why_untrainable(format) is None)
    each = _plans(_good_rows(path, format, mapping, file_name, progress), tokenizer, loss_on, count)
    while batch := list(islice(each, _BATCH_ROWS)):
        encoded = iter(encode_plans([made for _, plans in batch for made in plans], tokenizer, sys.maxsize))
        for row, plans in batch:
            count.add(row, plans, [next(encoded) for _ in plans])
    stats = length_stats(count.lengths)
    if stats is None:
        raise count.refused or DataError(
            "No row of the file can be used.", "Look at the errors of the check."
        )
    return TokenReport(
        model=model,
        lengths=stats,
        learned_tokens=count.learned,
        over_length_rows=count.over_length,
        max_length=max_length,
        nothing_to_learn_rows=count.kinds[AuditKind.NOTHING_LEARNED],
        loss_on=loss_on,
        kept_tokens=count.kept,
        counted_rows=len(count.lengths),
        answer_cut_rows=count.answer_cut,
        no_end_rows=count.kinds[AuditKind.NO_END],
        refused_rows=count.kinds[AuditKind.REFUSED],
        own_template=tokenizer.has_own_template,
        audit=tuple(count.audit.rows),
    )


class _Count:
    """What is counted while rows go by."""

    def __init__(self, tokenizer: ChatTokenizer, max_length: int, *, shows: bool) -> None:
        self._tokenizer = tokenizer
        self._max_length = max_length
        self._shows = shows
        self.audit = Audit(tokenizer)
        self.kinds: Counter[AuditKind] = Counter()
        self.lengths = array("I")
        self.learned = self.kept = self.over_length = self.answer_cut = 0
        self.refused: RowError | None = None

    def add(self, row: Row, plans: Sequence[Plan], whole: Sequence[TokenisedRow]) -> None:
        """Count one row: one conversation, or the two of a pair."""
        cut = [shortened(each, self._max_length) for each in whole]
        learned = sum(each.learned_tokens for each in cut)
        answer_cut = learned < sum(each.learned_tokens for each in whole)
        self.lengths.append(max(each.length for each in whole))
        self.learned += learned
        self.kept += sum(len(each.input_ids) for each in cut)
        self.over_length += any(each.truncated for each in cut)
        self.answer_cut += answer_cut and learned > 0
        kind = AuditKind.USUAL
        if not learned:
            kind = AuditKind.NOTHING_LEARNED
        elif not all(ends_every_answer(made, self._tokenizer) for made in plans):
            kind = AuditKind.NO_END
        elif answer_cut:
            kind = AuditKind.ANSWER_CUT
        self.kinds[kind] += 1
        if self._shows:
            self.audit.add(row.line, row.row, cut[0], kind)

    def refuse(self, row: Row, error: RowError) -> None:
        """Count a good row that the chat template cannot write."""
        self.refused = error
        self.kinds[AuditKind.REFUSED] += 1
        self.audit.refuse(row.line, row.row, error.message)


def _plans(
    rows: Iterator[tuple[Row, Example]], tokenizer: ChatTokenizer, loss_on: LossOn, count: _Count
) -> Iterator[tuple[Row, list[Plan]]]:
    for row, example in rows:
        sides = [example]
        if example.rejected:
            prompt = example.messages[: example.answer_from]
            sides.append(Example(messages=(*prompt, *example.rejected), tools=example.tools))
        try:
            yield row, [plan(side, tokenizer, loss_on) for side in sides]
        except RowError as error:
            count.refuse(row, error)


def _good_rows(
    path: Path,
    format: DatasetFormat,
    mapping: ColumnMapping | None,
    file_name: str,
    progress: Progress | None,
) -> Iterator[tuple[Row, Example]]:
    for row in read_rows(path, file_name=file_name, progress=progress):
        if row.value is not None:
            try:
                yield row, to_example(row.value, format, mapping)
            except RowError:
                continue
