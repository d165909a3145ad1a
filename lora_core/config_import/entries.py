"""A YAML file as a list of lines with key and value. Knows no tool."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from lora_core.plain_yaml import plain_value, read_mapping


@dataclass(frozen=True)
class Entry:
    """One key of the file.

    Attributes:
        line: Where it stands, from 1.
        key: Its name at the top level.
        value: As YAML reads it: a plain value, a list or a mapping.
    """

    line: int
    key: str
    value: Any


def read_entries(text: str) -> Sequence[Entry]:
    """Return the keys at the top level in their order. A key that stands twice is there twice.

    Raises:
        ConfigError: This is no plain YAML mapping; names the line.

    >>> read_entries("stage: sft")
    [Entry(line=1, key='stage', value='sft')]
    """
    return list(_entries(read_mapping(text)))


def _entries(tree: yaml.MappingNode) -> Iterator[Entry]:
    for key, value in tree.value:
        yield Entry(key.start_mark.line + 1, str(plain_value(key)), plain_value(value))
