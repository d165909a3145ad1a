"""Single values of a row, with an error that names the column where one is missing, empty or of the wrong type."""

import json
from typing import Any

from lora_core.datasets.faults import RowError


def required_text(value: dict[str, Any], field: str, empty_code: str) -> str:
    """A text that has to be there and to hold more than white space.

    Raises:
        RowError: missing_field, wrong_type, broken_text or `empty_code`.
    """
    if field not in value:
        raise RowError("missing_field", f"The row has no {field!r}.", field=field)
    text = text_of(value, field)
    if not text.strip():
        raise RowError(empty_code, f"{field!r} is empty.", field=field)
    return text


def text_of(value: dict[str, Any], field: str) -> str:
    """A text that may be missing or null, then "".

    Raises:
        RowError: wrong_type or broken_text.
    """
    found = value.get(field)
    if found is None:
        return ""
    if not isinstance(found, str):
        raise RowError("wrong_type", f"{field!r} has to be a text, it is {kind_of(found)}.", field=field)
    return whole(found, field)


def whole(text: str, field: str) -> str:
    """The text itself, if it can be written as UTF-8.

    Raises:
        RowError: broken_text: half of a surrogate pair, which no tokenizer can read.
    """
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            message = f"{field!r} has half of a surrogate pair at character {error.start + 1}."
            raise RowError("broken_text", message, field=field) from error
    return text


def as_list(value: Any, field: str) -> list[Any]:
    """A list, or one written as JSON text (as CSV and Parquet files have them); null and "" are an empty list.

    Raises:
        RowError: wrong_type.
    """
    if value is None or value == "":
        return []
    if isinstance(value, str):
        try:
            value = json.loads(whole(value, field))
        except (ValueError, RecursionError):
            raise RowError(
                "wrong_type", f"{field!r} is a text that is not a JSON list.", field=field
            ) from None
    if isinstance(value, tuple):
        return list(value)
    if not isinstance(value, list):
        raise RowError("wrong_type", f"{field!r} has to be a list, it is {kind_of(value)}.", field=field)
    return value


def kind_of(value: Any) -> str:
    """Name a value's type in words."""
    names = {
        dict: "an object",
        list: "a list",
        bool: "true or false",
        int: "a number",
        float: "a number",
        str: "a text",
    }
    return names.get(type(value), "null" if value is None else type(value).__name__)
