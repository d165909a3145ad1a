"""Rows of the supervision audit: a few of each kind, token by token, with the ids and the mask that the trainer gets."""

from collections import Counter

from lora_core.datasets.tokenise import TokenisedRow
from lora_core.datasets.tokenizer import ChatTokenizer
from lora_core.schema.dataset import AuditKind, AuditRow

KEPT = {AuditKind.USUAL: 4}
KEPT_OTHERS = 3
SHOWN_TOKENS = 400
_BEFORE = 100
"""Tokens shown before the first learned one, where that comes late."""


class Audit:
    """Collects the first rows of each kind.

    Args:
        tokenizer: Of the base model.
    """

    def __init__(self, tokenizer: ChatTokenizer) -> None:
        self._tokenizer = tokenizer
        self._kept: Counter[AuditKind] = Counter()
        self.rows: list[AuditRow] = []

    def add(self, line: int, row: int, tokenised: TokenisedRow, kind: AuditKind) -> None:
        """Offer a row; it is kept if there is room for its kind."""
        if not self._room(kind):
            return
        start = 0
        learned = [place for place, flag in enumerate(tokenised.learned) if flag]
        if len(tokenised.input_ids) > SHOWN_TOKENS and learned and learned[0] > SHOWN_TOKENS - _BEFORE:
            start = learned[0] - _BEFORE
        shown = slice(start, start + SHOWN_TOKENS)
        ids = tokenised.input_ids[shown]
        self.rows.append(
            AuditRow(
                line=line,
                row=row,
                kind=kind,
                tokens=len(tokenised.input_ids),
                learned=tokenised.learned_tokens,
                start=start,
                ids=tuple(ids),
                pieces=pieces(ids, self._tokenizer),
                mask="".join(["1" if flag else "0" for flag in tokenised.learned[shown]]),
            )
        )

    def refuse(self, line: int, row: int, message: str) -> None:
        """Offer a row that the chat template refuses."""
        if self._room(AuditKind.REFUSED):
            self.rows.append(
                AuditRow(line=line, row=row, kind=AuditKind.REFUSED, tokens=0, learned=0, message=message)
            )

    def _room(self, kind: AuditKind) -> bool:
        self._kept[kind] += 1
        return self._kept[kind] <= KEPT.get(kind, KEPT_OTHERS)


def pieces(ids: list[int], tokenizer: ChatTokenizer) -> tuple[str, ...]:
    """Text of each id, as it stands among the others; a character of several tokens belongs to the last of them.

    Returns:
        Joined, they are the decoded ids, wherever the decoder does not rewrite earlier text.
    """
    found: list[str] = []
    before = ""
    for count in range(1, len(ids) + 1):
        text = tokenizer.decode(ids[:count])
        if text.endswith("\ufffd") and count < len(ids):
            found.append("")
        elif text.startswith(before):
            found.append(text[len(before) :])
            before = text
        else:
            found.append(tokenizer.decode(ids[count - 1 : count]))
            before = text
    return tuple(found)
