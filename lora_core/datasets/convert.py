"""Rows of any known format into examples. Says what is wrong with a row; decides nothing about the file as a whole."""

from typing import Any

from lora_core.datasets.conversation import (
    CONVERSATION_COLUMNS,
    check_conversation,
    messages_of,
    tools_of,
    with_system,
)
from lora_core.datasets.example import Example, Message
from lora_core.datasets.faults import RowError
from lora_core.datasets.preference import preference_of, unpaired_of
from lora_core.datasets.values import as_list, required_text, text_of
from lora_core.schema.dataset import ColumnMapping, DatasetFormat


def to_example(
    value: dict[str, Any] | str, format: DatasetFormat, mapping: ColumnMapping | None = None
) -> Example:
    """Turn one row into what is learned from it.

    Args:
        value: Columns by name, or a text.
        format: Layout of the row.
        mapping: Columns chosen by hand; the format's own names where empty.

    Raises:
        RowError: A DataError with `field` and `code`: what is missing, empty, of the wrong type or out of order.

    Example:
        >>> row = {"instruction": "Say hi.", "input": "", "output": "Hi!"}
        >>> [m.role for m in to_example(row, DatasetFormat.ALPACA).messages]
        ['user', 'assistant']
    """
    mapping = mapping or _NO_MAPPING
    if format is DatasetFormat.TEXT:
        return _text(value, mapping)
    if isinstance(value, str):
        raise RowError("not_an_object", f"A {format.value} row has to have columns, this one is a bare text.")
    if format is DatasetFormat.ALPACA:
        return _alpaca(value, mapping)
    if format in (DatasetFormat.MESSAGES, DatasetFormat.SHAREGPT):
        return _conversation(value, mapping)
    if format is DatasetFormat.PROMPT_COMPLETION:
        return _prompt_completion(value, mapping)
    if format is DatasetFormat.PREFERENCE:
        return preference_of(value, mapping)
    if format is DatasetFormat.UNPAIRED_PREFERENCE:
        return unpaired_of(value, mapping)
    raise RowError(
        "unknown_format", "The format of the rows is not known.", next_step="Choose the columns by hand."
    )


_NO_MAPPING = ColumnMapping()


def _text(value: dict[str, Any] | str, mapping: ColumnMapping) -> Example:
    if isinstance(value, str):
        return Example(text=required_text({"text": value}, "text", "empty_text"))
    return Example(text=required_text(value, mapping.text or "text", "empty_text"))


def _alpaca(value: dict[str, Any], mapping: ColumnMapping) -> Example:
    instruction = required_text(value, mapping.instruction or "instruction", "empty_prompt")
    extra = text_of(value, mapping.input or "input")
    answer = required_text(value, mapping.output or "output", "empty_answer")
    messages: list[Message] = []
    for pair in as_list(value.get("history"), "history"):
        if not (isinstance(pair, list | tuple) and len(pair) == 2):
            raise RowError(
                "bad_history", "Each entry of history has to be a pair [question, answer].", field="history"
            )
        turns = {"question": pair[0], "answer": pair[1]}
        messages.append(Message("user", required_text(turns, "question", "empty_prompt")))
        messages.append(Message("assistant", required_text(turns, "answer", "empty_answer")))
    question = f"{instruction}\n\n{extra}" if extra.strip() else instruction
    turns_in_order = (*messages, Message("user", question), Message("assistant", answer))
    return Example(messages=with_system(turns_in_order, value, mapping))


def _conversation(value: dict[str, Any], mapping: ColumnMapping) -> Example:
    column = mapping.messages or next((name for name in CONVERSATION_COLUMNS if name in value), "messages")
    if value.get(column) is None:
        raise RowError("missing_field", f"The row has no {column!r}.", field=column)
    messages = with_system(messages_of(value[column], column), value, mapping)
    check_conversation(messages, column)
    return Example(messages=messages, tools=tools_of(value, mapping.tools))


def _prompt_completion(value: dict[str, Any], mapping: ColumnMapping) -> Example:
    prompt_column, completion_column = mapping.prompt or "prompt", mapping.completion or "completion"
    prompt, completion = value.get(prompt_column), value.get(completion_column)
    if isinstance(prompt, list) or isinstance(completion, list):
        before = _turns(value, prompt_column, "user", "empty_prompt")
        after = _turns(value, completion_column, "assistant", "empty_answer")
        messages = with_system((*before, *after), value, mapping)
        check_conversation(messages, completion_column)
        return Example(messages=messages, tools=tools_of(value, mapping.tools))
    question = required_text(value, prompt_column, "empty_prompt")
    answer = required_text(value, completion_column, "empty_answer")
    return Example(
        messages=with_system((Message("user", question), Message("assistant", answer)), value, mapping)
    )


def _turns(value: dict[str, Any], column: str, role: str, code: str) -> tuple[Message, ...]:
    if isinstance(value.get(column), list):
        return messages_of(value[column], column)
    return (Message(role, required_text(value, column, code)),)
