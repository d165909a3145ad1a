"""Scores answers to support tickets: how many are valid JSON with the right keys, and how many are exactly right."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

KEYS = ("category", "priority", "order", "refund")


@dataclass(frozen=True)
class Score:
    """Counts over the same rows; `fields` counts how often each key's value is right."""

    rows: int
    valid: int
    exact: int
    fields: dict[str, int]


def score(answers: Sequence[str], references: Sequence[str]) -> Score:
    """Compare answers with references, row by row.

    Valid: the whole answer is one JSON object with exactly the keys, in order. Exact: it says the same as the reference.

    >>> good = '{"category":"account","priority":"low","order":null,"refund":false}'
    >>> score([good, "Sure!"], [good, good])
    Score(rows=2, valid=1, exact=1, fields={'category': 1, 'priority': 1, 'order': 1, 'refund': 1})
    """
    valid = exact = 0
    fields = dict.fromkeys(KEYS, 0)
    for answer, reference in zip(answers, references, strict=True):
        said, meant = _label(answer), json.loads(reference)
        if said is None:
            continue
        valid += 1
        exact += said == meant
        for key in KEYS:
            fields[key] += said[key] == meant[key]
    return Score(len(answers), valid, exact, fields)


def _label(answer: str) -> dict[str, object] | None:
    try:
        said = json.loads(answer.strip())
    except (ValueError, RecursionError):
        return None
    return said if isinstance(said, dict) and tuple(said) == KEYS else None
