"""YAML as people exchange configs: plain values, lists and mappings. No tags, no aliases, no file too long."""

from typing import Any

import yaml

from lora_core.errors import ConfigError

MAX_BYTES = 64 * 1024


class PlainLoader(yaml.SafeLoader):
    """SafeLoader that refuses aliases, so a few lines cannot unfold into gigabytes."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Make the next part of the tree."""
        if self.check_event(yaml.events.AliasEvent):
            mark = self.get_mark()
            raise yaml.composer.ComposerError(None, None, "aliases are not allowed", mark)
        return super().compose_node(parent, index)


def read_value(text: str) -> Any:
    """Read one value by YAML's rules; what is no YAML is taken as it stands.

    >>> read_value("8"), read_value("[q_proj, v_proj]"), read_value("a: b: c")
    (8, ['q_proj', 'v_proj'], 'a: b: c')
    """
    try:
        return yaml.load(text, Loader=PlainLoader)  # noqa: S506 - a SafeLoader without aliases
    except (yaml.YAMLError, ValueError, RecursionError):
        return text


def read_mapping(text: str) -> yaml.MappingNode:
    """Read a config's YAML as a tree that knows its lines.

    Raises:
        ConfigError: Not YAML, too long, an alias, or no mapping; names the line.
    """
    if len(text.encode()) > MAX_BYTES:
        raise ConfigError(
            "This file is too long for a training config.", f"The limit is {MAX_BYTES // 1024} kB."
        )
    try:
        tree = yaml.compose(text, Loader=PlainLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}" if mark else "the file"
        raise ConfigError(
            f"This is not valid YAML: {getattr(error, 'problem', None) or error} in {where}."
        ) from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"This YAML cannot be read: {error}.") from error
    if not isinstance(tree, yaml.MappingNode):
        raise ConfigError("A training config is a list of `key: value` pairs.", "Export one to see the form.")
    return tree


def plain_value(node: yaml.Node) -> Any:
    """Return what a part of the tree stands for.

    Raises:
        ConfigError: A tag, a date out of range, or a key that is no plain value; names the line.
    """
    try:
        return _Values().construct_document(node)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        problem = getattr(error, "problem", None) or error
        raise ConfigError(
            f"This is not valid YAML for a config: {problem} in line {node.start_mark.line + 1}."
        ) from error


class _Values(yaml.constructor.SafeConstructor):
    """Makes values of nodes that were composed before."""
