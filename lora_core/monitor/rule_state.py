"""What a rule has seen, as plain values that a checkpoint can hold, and back. Knows attributes, not rules."""

import math
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

RuleState = dict[str, bool | int | float | list[float] | None]
"""Attributes by name, those of parts behind a dot. None is infinity, which JSON cannot hold."""

SETTINGS = frozenset({"_rule", "patience", "calm", "weight"})
"""Attributes that follow from a config and are not remembered: a resumed job may have other thresholds."""


def state_of(rule: object) -> RuleState:
    """Return what a rule has seen so far."""
    return {name: _plain(getattr(owner, attribute)) for name, owner, attribute in _memory(rule)}


def restore(rule: object, state: Mapping[str, Any]) -> None:
    """Let a new rule go on from a state. What is missing there, or is of another kind, begins anew."""
    for name, owner, attribute in list(_memory(rule)):
        if name in state and (kept := _kept(getattr(owner, attribute), state[name])) is not None:
            setattr(owner, attribute, kept)


def _memory(owner: object, prefix: str = "") -> Iterator[tuple[str, object, str]]:
    """Yield (name, whose it is, attribute) of all that is remembered."""
    for attribute, value in vars(owner).items():
        name = prefix + attribute.lstrip("_")
        if attribute in SETTINGS:
            continue
        if isinstance(value, bool | int | float | deque):
            yield name, owner, attribute
        else:
            yield from _memory(value, f"{name}.")


def _plain(value: Any) -> bool | int | float | list[float] | None:
    if isinstance(value, deque):
        return list(value)
    return None if value == math.inf else value


def _kept(now: Any, state: Any) -> Any:
    """The value to remember in the kind of the present one, or None."""
    if isinstance(now, deque):
        return deque(state, maxlen=now.maxlen) if isinstance(state, list) else None
    if isinstance(now, float) and state is None:
        return math.inf
    return type(now)(state) if isinstance(state, bool | int | float) else None
