"""Tokenised rows as the sequences and batches a model computes. Knows neither text nor the model.

A sequence holds one row, or several (a pack). Rows of a pack do not see each other: positions start again at 0 with each row,
and from that transformers' mask builder (`masking_utils.find_packed_sequence_indices`) makes a block-diagonal causal mask.
Padding comes last, goes on with the last row's positions and is no target, so under a causal mask it changes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import datasets
import torch

from lora_core.estimate.packing import best_fit

IGNORED = -100
"""Target of a position that is not learned (torch's cross entropy takes the same number)."""

LENGTH_STEP = 32
"""Batches are padded to a multiple of this: oneDNN prepares kernels anew for every new length (8 times the time of a step)."""


class Row(Protocol):
    """A tokenised row, as `lora_core.datasets.prepare` makes them."""

    @property
    def input_ids(self) -> Sequence[int]:
        """Token ids."""

    @property
    def learned(self) -> Sequence[bool]:
        """For each token, whether the model shall learn to say it."""


def records(rows: Sequence[Row]) -> datasets.Dataset:
    """Lay rows out for training, one row a record.

    Args:
        rows: Rows of at least one token.

    Returns:
        Columns input_ids and targets (the token that each position shall foretell, or IGNORED), of one length within a record.
    """
    return datasets.Dataset.from_dict(
        {"input_ids": [list(row.input_ids) for row in rows], "targets": [_targets(row) for row in rows]}
    )


@dataclass(frozen=True)
class Collator:
    """Makes a micro-batch of rows into as few sequences as they fit, padded to one length.

    A micro-batch holds the same rows with packing and without (docs/decisions/0002), so the two learn the same.

    Args:
        pad_token: Id that fills up; it is never a target and never seen by a real token.
        capacity: Most tokens of a sequence that several rows share; None for one row a sequence.
    """

    pad_token: int
    capacity: int | None = None

    def __call__(self, batch: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Return input_ids, targets, position_ids of shape (sequences, tokens); rows and real_tokens as one number."""
        lengths = [len(record["input_ids"]) for record in batch]
        groups = best_fit(lengths, self.capacity) if self.capacity else [[row] for row in range(len(batch))]
        longest = max(sum(lengths[row] for row in group) for group in groups)
        length = -(-longest // LENGTH_STEP) * LENGTH_STEP
        input_ids = torch.full((len(groups), length), self.pad_token)
        targets = torch.full((len(groups), length), IGNORED)
        positions = torch.zeros((len(groups), length), dtype=torch.long)
        for number, group in enumerate(groups):
            start = 0
            for row in group:
                end = start + lengths[row]
                input_ids[number, start:end] = torch.tensor(batch[row]["input_ids"])
                targets[number, start:end] = torch.tensor(batch[row]["targets"])
                positions[number, start:] = torch.arange(length - start)
                start = end
        return {
            "input_ids": input_ids,
            "targets": targets,
            "position_ids": positions,
            "rows": torch.tensor(len(batch)),
            "real_tokens": torch.tensor(sum(lengths)),
        }


def _targets(row: Row) -> list[int]:
    """Shift a row: position i foretells token i + 1 if that one is learned; the last foretells nothing."""
    following = zip(row.input_ids[1:], row.learned[1:], strict=True)
    return [token if learned else IGNORED for token, learned in following] + [IGNORED]
