"""What a JSON document may hold so that PostgreSQL takes it. Knows no call and no table."""

import math
from collections.abc import Mapping
from typing import Any

import msgspec


def encode(document: Mapping[str, Any]) -> bytes:
    r"""Write a document as JSON that PostgreSQL takes; see `storable`.

    >>> encode({"text": "a\0b", "loss": float("nan")}).decode()
    '{"text":"a�b","loss":null}'
    """
    try:
        content = msgspec.json.encode(document)
    except UnicodeEncodeError:
        return msgspec.json.encode(storable(document))
    return msgspec.json.encode(storable(document)) if b"\\u0000" in content else content


def storable(value: Any) -> Any:
    r"""Return a value without what PostgreSQL refuses: no NUL, no half of a surrogate pair, None for what is not finite.

    >>> storable(["a\0b", float("inf")])
    ['a�b', None]
    """
    if isinstance(value, str):
        return value.replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()
    if isinstance(value, Mapping):
        return {storable(key): storable(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [storable(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
