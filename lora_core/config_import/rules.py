"""What one key of another tool means here: building blocks of which each tool's table is made. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

Document = Mapping[str, Any]
"""The whole file, for keys that mean something only together with others."""


class Fate(StrEnum):
    """What becomes of a key."""

    SAME = "same"
    CHANGED = "changed"
    DROPPED = "dropped"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Reading:
    """What a key with its value becomes.

    Attributes:
        said: For a person: what changes, or why nothing comes of it.
        changes: Fields of the training config by dotted name.
    """

    fate: Fate
    said: str = ""
    changes: Mapping[str, Any] = field(default_factory=dict)


Rule = Callable[[Any, Document], Reading]
"""Reads a value. May raise ValueError or TypeError where the value is of no use."""


@dataclass(frozen=True)
class Tool:
    """A tool whose configs can be read.

    Attributes:
        marks: Keys of which a file of this tool has at least one, and no other tool's file.
        rules: What each key means.
        defaults: What the tool takes where a file leaves a key out, as key and value of its own; only where ours differs.
        derived: The same where the value follows from other keys.
    """

    name: str
    marks: frozenset[str]
    rules: Mapping[str, Rule]
    defaults: Mapping[str, Any]
    derived: Mapping[str, Callable[[Document], Any]] = field(default_factory=dict)


def same(name: str, convert: Callable[[Any], Any] = lambda value: value) -> Rule:
    """The key means what our field of this name means; None leaves ours as it is."""

    def rule(value: Any, _: Document) -> Reading:
        return Reading(Fate.SAME, changes={} if value is None else {name: convert(value)})

    return rule


def changed(name: str, said: str, convert: Callable[[Any], Any] = lambda value: value) -> Rule:
    """The key comes nearest to our field of this name."""

    def rule(value: Any, _: Document) -> Reading:
        return Reading(Fate.CHANGED, said, {} if value is None else {name: convert(value)})

    return rule


def choice(name: str, known: Mapping[Any, Any], otherwise: str) -> Rule:
    """The key has values of its own; those without a counterpart leave our field as it is.

    Args:
        known: Their value to ours.
        otherwise: What to say of any other value.
    """

    def rule(value: Any, _: Document) -> Reading:
        if isinstance(value, str | int | bool) and value in known:
            return Reading(Fate.SAME, changes={name: known[value]})
        return Reading(Fate.DROPPED, otherwise)

    return rule


def dropped(said: str) -> Rule:
    """The key has no counterpart, for this reason."""
    return lambda _value, _document: Reading(Fate.DROPPED, said)


def differs(said: str) -> Rule:
    """What the key asks for is done here in another way."""
    return lambda _value, _document: Reading(Fate.CHANGED, said)


def only_if_set(rule: Rule) -> Rule:
    """Where the value is empty or false the key asks for nothing."""

    def checked(value: Any, document: Document) -> Reading:
        return rule(value, document) if value else Reading(Fate.SAME)

    return checked


def number(value: Any) -> float:
    """Read a number; YAML takes 1e-4 for a word.

    >>> number("1e-4")
    0.0001
    """
    if isinstance(value, bool):
        raise TypeError("true and false are no numbers")
    return float(value)


def whole(value: Any) -> int:
    """Read a whole number.

    >>> whole("16"), whole(2.0)
    (16, 2)
    """
    read = number(value)
    if read != int(read):
        raise ValueError(f"{value} is not a whole number")
    return int(read)


def names(value: Any) -> tuple[str, ...]:
    """Read names from a list, or from a text with commas.

    >>> names("q_proj, v_proj")
    ('q_proj', 'v_proj')
    """
    parts = value.split(",") if isinstance(value, str) else value
    return tuple(str(part).strip() for part in parts if str(part).strip())


def truth(value: Any) -> bool:
    """Read true or false."""
    if isinstance(value, bool):
        return value
    if str(value).lower() in ("true", "false"):
        return str(value).lower() == "true"
    raise ValueError(f"{value} is neither true nor false")


def validation_share(field_name: str, rows_word: str) -> Rule:
    """A share below 1, or a number of rows, which the studio does not have."""

    def rule(value: Any, _: Document) -> Reading:
        size = number(value)
        if size < 1:
            return Reading(Fate.SAME, changes={field_name: size})
        return Reading(
            Fate.DROPPED,
            f"{rows_word} counts rows; the studio keeps back a share. The default share stays: set the one you want.",
        )

    return rule
