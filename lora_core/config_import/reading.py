"""Tells whose config a file is and reads it line by line. Knows no training config: what a line changes is not yet checked."""

import difflib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lora_core.config_import.axolotl import AXOLOTL
from lora_core.config_import.entries import Entry, read_entries
from lora_core.config_import.llama_factory import LLAMA_FACTORY
from lora_core.config_import.rules import Document, Fate, Reading, Tool
from lora_core.errors import ConfigError

TOOLS = (LLAMA_FACTORY, AXOLOTL)


@dataclass(frozen=True)
class Line:
    """One key of the file, or a default of the tool for a key that the file leaves out (`entry.line` 0)."""

    entry: Entry
    reading: Reading


def read_lines(text: str) -> tuple[Tool, Sequence[Line]]:
    """Return the tool a config belongs to, and what becomes of its defaults and of each key, in this order.

    Raises:
        ConfigError: Not plain YAML, or a config of no tool that is known here.
    """
    entries = read_entries(text)
    document = {entry.key: entry.value for entry in entries}
    tool = _tool_of(document)
    return tool, [
        *_left_out(tool, document),
        *(Line(entry, _read(tool, entry, document)) for entry in entries),
    ]


def is_foreign(text: str) -> bool:
    """Say whether a file is the config of a tool that is known here.

    >>> is_foreign("model_name_or_path: a/b"), is_foreign("adapter: {rank: 8}")
    (True, False)
    """
    try:
        _tool_of({entry.key: entry.value for entry in read_entries(text)})
    except ConfigError:
        return False
    return True


def _tool_of(document: Document) -> Tool:
    found = [tool for tool in TOOLS if tool.marks & document.keys()]
    if not found:
        known = " or ".join(tool.name for tool in TOOLS)
        raise ConfigError(
            f"This is no config of {known}.",
            "Such a file names a base model: model_name_or_path, or base_model.",
        )
    return max(found, key=lambda tool: len(tool.rules.keys() & document.keys()))


def _left_out(tool: Tool, document: Document) -> Iterator[Line]:
    derived = {key: _derive(value, document) for key, value in tool.derived.items()}
    for key, value in {**tool.defaults, **derived}.items():
        if key not in document and value is not None:
            entry = Entry(0, key, value)
            yield Line(entry, _read(tool, entry, document))


def _derive(value: Callable[[Document], Any], document: Document) -> Any:
    """A default that follows from other keys; None where those cannot be read."""
    try:
        return value(document)
    except (ValueError, TypeError, OverflowError):
        return None


def _read(tool: Tool, entry: Entry, document: Document) -> Reading:
    rule = tool.rules.get(entry.key)
    if rule is None:
        near = difflib.get_close_matches(entry.key, tool.rules, n=1, cutoff=0.8)
        meant = f" Did you mean {near[0]}?" if near else ""
        return Reading(Fate.UNKNOWN, f"Not known here.{meant}")
    if entry.value is None:
        return Reading(Fate.SAME, "Empty: the default is taken.")
    try:
        return rule(entry.value, document)
    except (ValueError, TypeError, OverflowError) as error:
        return Reading(Fate.DROPPED, f"The value cannot be read: {error}.")
