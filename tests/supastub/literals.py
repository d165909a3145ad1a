"""SQL text from strings: identifiers and untyped literals, as PostgREST writes them. It knows no table."""

from collections.abc import Iterable, Mapping


class ZeroByte(Exception):
    """No text of PostgreSQL can hold one."""


def identifier(name: str) -> str:
    """Return a quoted name."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return an untyped literal: PostgreSQL infers its type from where it stands, and its errors are its own.

    Raises: ZeroByte.
    """
    if "\0" in text:
        raise ZeroByte
    quoted = "'" + text.replace("'", "''") + "'"
    return " E" + quoted.replace("\\", "\\\\") if "\\" in text else quoted


def array(items: Iterable[str]) -> str:
    """Return the text of an array of strings, before it becomes a literal."""
    return "{" + ",".join('"' + item.replace("\\", "\\\\").replace('"', '\\"') + '"' for item in items) + "}"


def settings(values: Mapping[str, str]) -> str:
    """Return one select that sets these for the transaction."""
    return "select " + ", ".join(
        f"set_config({literal(name)}, {literal(value)}, true)" for name, value in values.items()
    )
