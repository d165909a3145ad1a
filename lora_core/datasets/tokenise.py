"""Examples into token ids with a mask of what is learned. The audit and the trainer both call this and nothing else."""

from collections.abc import Sequence
from operator import itemgetter

import msgspec

from lora_core.datasets.example import Example
from lora_core.datasets.supervision import LossOn, Plan, plan
from lora_core.datasets.tokenizer import ChatTokenizer


class TokenisedRow(msgspec.Struct, frozen=True, gc=False):
    """One row as the model sees it.

    Args:
        input_ids: Token ids, at most `max_length`.
        learned: Same length; whether token i is a label. (The first token never is one: nothing comes before it.)
        truncated: Whether tokens were cut off at the end.
        length: Tokens before the cut.
    """

    input_ids: list[int]
    learned: list[bool]
    truncated: bool
    length: int

    @property
    def learned_tokens(self) -> int:
        """Tokens that the loss is computed on."""
        return sum(self.learned[1:])


def tokenise(example: Example, tokenizer: ChatTokenizer, *, loss_on: LossOn, max_length: int) -> TokenisedRow:
    """Tokenise one example.

    A conversation is rendered whole and encoded once, without adding tokens that the template does not write. A token
    is learned if any of its characters is. A text gets the model's first token, if it has one, and its end-of-text
    token, and is learned whole.

    Args:
        example: Conversation or text.
        tokenizer: Of the base model.
        loss_on: completion, last or all.
        max_length: Longest row in tokens.

    Raises:
        RowError: The template cannot render the conversation or tell its answers apart.
    """
    return encode_plans([plan(example, tokenizer, loss_on)], tokenizer, max_length)[0]


def encode_plans(plans: Sequence[Plan], tokenizer: ChatTokenizer, max_length: int) -> list[TokenisedRow]:
    """Tokenise many planned examples at once; the same result as one by one, in less time."""
    rows: list[TokenisedRow | None] = [None] * len(plans)
    for offsets in (False, True):
        chosen = [index for index, each in enumerate(plans) if (each.spans is not None) is offsets]
        encodings = (
            tokenizer.encode_batch([plans[index].text for index in chosen], offsets=offsets) if chosen else []
        )
        for index, encoding in zip(chosen, encodings, strict=True):
            spans = plans[index].spans
            ids = encoding.ids
            if spans is not None:
                learned = _overlaps(encoding.offsets, spans)
            else:
                ids = _framed(ids, tokenizer) if plans[index].bare else ids
                learned = [True] * len(ids)
            rows[index] = shortened(TokenisedRow(ids, learned, False, len(ids)), max_length)
    return [row for row in rows if row is not None]


def shortened(row: TokenisedRow, max_length: int) -> TokenisedRow:
    """Cut a row at the end, if it is longer than `max_length` tokens."""
    if row.length <= max_length:
        return row
    return TokenisedRow(row.input_ids[:max_length], row.learned[:max_length], True, row.length)


def shared_ids(row: TokenisedRow, table: Sequence[int]) -> TokenisedRow:
    """The same row with ids that are the objects in `table` (id i at place i): a quarter of the memory for many rows."""
    if len(row.input_ids) < 2:
        return row
    ids = list(itemgetter(*row.input_ids)(table))
    return TokenisedRow(ids, row.learned, row.truncated, row.length)


def _framed(ids: list[int], tokenizer: ChatTokenizer) -> list[int]:
    framed = [*tokenizer.prefix_ids, *ids]
    return framed if ids and ids[-1] == tokenizer.eos_token_id else [*framed, tokenizer.eos_token_id]


def _overlaps(offsets: Sequence[tuple[int, int]], spans: Sequence[tuple[int, int]]) -> list[bool]:
    """For each token whether it has a character in a span; a token of no width counts by its place."""
    learned = [False] * len(offsets)
    for first, last in spans:
        for index, (start, end) in enumerate(offsets):
            if start < last and (end > first or start == end == first):
                learned[index] = True
    return learned
