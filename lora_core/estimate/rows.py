"""What is known of the rows of a data set before they are tokenised by a trainer: how many, how long, how much is learned.

From the check's token report where there is one, else from characters. Knows no file and no tokenizer.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lora_core.estimate.packing import best_fit
from lora_core.estimate.spans import Span
from lora_core.schema.config import TrainingConfig
from lora_core.schema.dataset import CheckReport, Histogram, LengthStats

LENGTH_STEP = 32
"""The trainer pads batches to a multiple of this (`runner.train.rows`)."""

CHARACTERS_A_TOKEN = Span(2.5, 5.0)
"""Where no tokenizer has counted: English prose has about 4 to 4.5, code and other languages fewer."""

OTHER_TOKENIZER = (0.8, 1.3)
"""How far another model's tokenizer may be off."""

FEW = 0.02
"""Share of rows that may be cut without changing much of what is learned."""


@dataclass(frozen=True)
class RowFacts:
    """Rows as the trainer will get them.

    Args:
        count: All rows of the data set, before the split.
        mean: Tokens of a row, cut at the longest row of the config.
        longest: Tokens of the longest rows, longest first, uncut: (at least, at most) of each; empty if nothing is known.
        learned: Share of tokens that are learned.
        few_longer: Least length which only few rows exceed, with the share that does; None if unknown.
        basis: Where this comes from, in words.
    """

    count: int
    mean: Span
    longest: tuple[tuple[float, float], ...]
    learned: Span
    few_longer: tuple[int, float] | None
    basis: str


@dataclass(frozen=True)
class BatchShape:
    """A micro-batch as the model computes it: sequences of one length."""

    sequences: int
    length: int
    packed: bool = False

    @property
    def tokens(self) -> int:
        """Positions, padding included."""
        return self.sequences * self.length


def shape_of(lengths: Sequence[float], micro_batch: int, max_length: int, *, packing: bool) -> BatchShape:
    """Lay the longest rows out as one micro-batch, as the trainer's collator does.

    Args:
        lengths: Tokens of rows, longest first; none for rows of `max_length`.

    >>> shape_of([900, 500, 400], 2, 1024, packing=True)
    BatchShape(sequences=2, length=928, packed=False)
    """
    rows = [max(1, min(math.ceil(length), max_length)) for length in lengths[:micro_batch]] or [
        max_length
    ] * micro_batch
    groups = best_fit(rows, max_length) if packing else [[row] for row in range(len(rows))]
    longest = max(sum(rows[row] for row in group) for group in groups)
    return BatchShape(
        len(groups), -(-longest // LENGTH_STEP) * LENGTH_STEP, any(len(group) > 1 for group in groups)
    )


def facts_of(report: CheckReport | None, count: int, config: TrainingConfig, model: str = "") -> RowFacts:
    """Gather what the check found.

    Args:
        report: Of the check; None if there was none.
        count: Rows of the data set.
        model: Reference of the base model whose tokenizer the job will use.
    """
    limit = config.data.max_length
    tokens = report.tokens if report else None
    if tokens is not None:
        same = not model or tokens.model == model
        factor = (1.0, 1.0) if same else OTHER_TOKENIZER
        lengths = tokens.lengths
        basis = "token lengths of the check" + ("" if same else f", counted for {tokens.model}")
        kept = _mean_cut_at(lengths, tokens.max_length).middle * count
        share = min(1.0, tokens.learned_tokens / kept) if kept else 1.0
        learned = Span(share * 0.9, min(1.0, share * 1.1))
        sure = count
    elif report is not None and report.characters is not None:
        lengths = report.characters
        factor = (1 / CHARACTERS_A_TOKEN.high, 1 / CHARACTERS_A_TOKEN.low)
        basis, learned, sure = "characters of the rows, 2.5 to 5 a token", Span(0.2, 1.0), count
    else:
        full = Span(limit * 0.1, float(limit))
        return RowFacts(count, full, (), Span(0.2, 1.0), None, "nothing is known of the rows' lengths")
    cut = (
        _mean_cut_at(lengths, limit / factor[1]).times(factor[1]),
        _mean_cut_at(lengths, limit / factor[0]).times(factor[0]),
    )
    mean = cut[0].joined(cut[1])
    longest = tuple(
        (low * factor[0], high * factor[1])
        for low, high in _longest(lengths, config.optimisation.micro_batch_size)
    )
    few = _few_longer(lengths, sure)
    few_longer = (math.ceil(few[0] * factor[1]), few[1]) if few else None
    if config.data.loss_on == "all":
        learned = Span.exactly(1.0)
    return RowFacts(count, mean, longest, learned, few_longer, basis)


def _mean_cut_at(lengths: LengthStats, limit: float) -> Span:
    """Mean of the rows cut at a length; exact where none is longer."""
    if lengths.maximum <= limit:
        return Span.exactly(lengths.mean)
    sums = [0.0, 0.0]
    for low, high, rows in _bins(lengths.histogram):
        sums[0] += min(low, limit) * rows
        sums[1] += min(high, limit) * rows
    count = sum(lengths.histogram.counts) or 1
    return Span(min(sums[0] / count, lengths.mean), min(sums[1] / count, lengths.mean))


def _longest(lengths: LengthStats, wanted: int) -> list[tuple[float, float]]:
    """The longest rows as (at least, at most), from the fullest knowledge there is: the maximum, then the histogram's bins."""
    found = [(lengths.maximum, lengths.maximum)]
    left = wanted - 1
    for low, high, rows in reversed(list(_bins(lengths.histogram))):
        rows -= 1 if len(found) == 1 and rows else 0
        taken = min(left, rows)
        found += [(low, min(high, lengths.maximum))] * taken
        left -= taken
        if not left:
            break
    return found[:wanted]


def _few_longer(lengths: LengthStats, count: int) -> tuple[float, float] | None:
    """The least edge of the histogram above which there are few rows, and their share."""
    total = sum(lengths.histogram.counts) or count
    above = 0
    best: tuple[float, float] | None = None
    for low, _, rows in reversed(list(_bins(lengths.histogram))):
        above += rows
        if above / total > FEW:
            break
        best = (low, above / total)
    return best


def _bins(histogram: Histogram) -> list[tuple[float, float, int]]:
    edges = histogram.edges
    return [(edges[place], edges[place + 1], rows) for place, rows in enumerate(histogram.counts)]
