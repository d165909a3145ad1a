"""Preference rows: a better and a worse answer to one prompt (DPO, ORPO), or an answer and whether it is good (KTO).

The forms are those of trl's dataset formats, https://huggingface.co/docs/trl/dataset_formats, and of LLaMA-Factory's.
"""

import re
from itertools import takewhile
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
from lora_core.datasets.values import as_list, kind_of, required_text, text_of
from lora_core.schema.dataset import ColumnMapping

PROMPT_COLUMNS = ("prompt", "question", "query", "instruction", "input")
LABEL_COLUMNS = ("label", "kto_tag")
ANSWER_COLUMNS = ("completion", "output", "response", "answer")

_MARKED = re.compile(r"(?:^|\n\n)(Human|Assistant): ?")
_SPEAKER = {"Human": "user", "Assistant": "assistant"}
_LABELS = {"true": True, "false": False, "1": True, "0": False}
_OPENING_ROLES = ("system", "user")


def preference_of(value: dict[str, Any], mapping: ColumnMapping) -> Example:
    """Read a paired row.

    The prompt stands in a column of its own, or both sides begin with it: as turns, as text with `Human:` and
    `Assistant:`, or as the words that both texts have in common.

    Raises:
        RowError: A side is missing or empty, both are the same, there is no prompt, or turns are out of order.
    """
    columns = mapping.chosen or "chosen", mapping.rejected or "rejected"
    chosen, rejected = _side(value, columns[0]), _side(value, columns[1])
    if _said(chosen) == _said(rejected):
        raise RowError(
            "chosen_equals_rejected",
            f"{columns[0]!r} and {columns[1]!r} say the same, so there is nothing to prefer.",
            field=columns[1],
        )
    if chosen[0].role in _OPENING_ROLES or rejected[0].role in _OPENING_ROLES:
        prompt = _shared_turns(chosen, rejected, columns)
        chosen, rejected = chosen[len(prompt) :], rejected[len(prompt) :]
    elif (column := prompt_column(value, mapping)) is not None:
        prompt = _prompt(value, column, mapping)
    else:
        prompt, chosen, rejected = _shared_words(chosen, rejected, columns)
    prompt = with_system(prompt, value, mapping)
    check_conversation((*prompt, *chosen), columns[0])
    check_conversation((*prompt, *rejected), columns[1])
    return Example(
        messages=(*prompt, *chosen),
        tools=tools_of(value, mapping.tools),
        rejected=rejected,
        answer_from=len(prompt),
    )


def unpaired_of(value: dict[str, Any], mapping: ColumnMapping) -> Example:
    """Read a row with one answer and its label.

    Raises:
        RowError: The label is no boolean, prompt or answer is missing or empty, or turns are out of order.
    """
    label = label_of(value, mapping.label or present(value, LABEL_COLUMNS) or LABEL_COLUMNS[0])
    column = prompt_column(value, mapping)
    if column is None:
        raise RowError("missing_field", "The row has no 'prompt'.", field="prompt")
    prompt = with_system(_prompt(value, column, mapping), value, mapping)
    answer = mapping.completion or present(value, ANSWER_COLUMNS)
    if answer is None:  # the last turn is what is judged
        check_conversation(prompt, column)
        answer_from, messages = len(prompt) - 1, prompt
    else:
        answer_from, messages = len(prompt), (*prompt, *_side(value, answer))
        check_conversation(messages, answer)
    tools = tools_of(value, mapping.tools)
    return Example(messages=messages, tools=tools, label=label, answer_from=answer_from)


def label_of(value: dict[str, Any], column: str) -> bool:
    """Read a verdict: true or false, 1 or 0, or one of these as text.

    Raises:
        RowError: missing_field or label_not_boolean.
    """
    found = value.get(column)
    if found is None:
        raise RowError("missing_field", f"The row has no {column!r}.", field=column)
    label = _LABELS.get(str(found).strip().lower()) if isinstance(found, bool | int | str) else None
    if label is None:
        shown = repr(found[:50]) if isinstance(found, str) else kind_of(found)
        raise RowError(
            "label_not_boolean", f"{column!r} has to be true or false, it is {shown}.", field=column
        )
    return label


def prompt_column(value: dict[str, Any], mapping: ColumnMapping) -> str | None:
    """Name the column with the prompt of a preference row; None if it has none."""
    by_hand = mapping.prompt or mapping.instruction or mapping.messages
    return by_hand or present(value, (PROMPT_COLUMNS[0], *CONVERSATION_COLUMNS, *PROMPT_COLUMNS[1:]))


def present(value: dict[str, Any], columns: tuple[str, ...]) -> str | None:
    """Name the first of these columns that a row has."""
    return next((column for column in columns if value.get(column) is not None), None)


def _prompt(value: dict[str, Any], column: str, mapping: ColumnMapping) -> tuple[Message, ...]:
    turns = _turns(value.get(column), column)
    if turns is not None:
        return turns
    text = required_text(value, column, "empty_prompt")
    extra = (
        text_of(value, mapping.input or "input") if column == (mapping.instruction or "instruction") else ""
    )
    return (Message("user", f"{text}\n\n{extra}" if extra.strip() else text),)


def _side(value: dict[str, Any], column: str) -> tuple[Message, ...]:
    """One answer: a text, one message, or turns; a text with `Human:` in front is a whole conversation."""
    turns = _turns(value.get(column), column)
    if turns is not None:
        return turns
    text = required_text(value, column, "empty_answer")
    if text.lstrip().startswith("Human:"):
        parts = _MARKED.split(text.strip())
        return tuple(
            [Message(_SPEAKER[who], said.strip()) for who, said in zip(parts[1::2], parts[2::2], strict=True)]
        )
    return (Message("assistant", text),)


def _turns(found: Any, column: str) -> tuple[Message, ...] | None:
    if isinstance(found, dict):
        return messages_of([found], column)
    if isinstance(found, list | tuple):
        return messages_of(list(found), column)
    if isinstance(found, str) and found.lstrip().startswith("[{"):
        try:
            listed = as_list(found, column)
        except RowError:
            return None  # an answer may well look like JSON
        if all(isinstance(turn, dict) and _is_turn(turn) for turn in listed):
            return messages_of(listed, column)
    return None


def _is_turn(turn: dict[str, Any]) -> bool:
    return turn.keys() >= {"role", "content"} or turn.keys() >= {"from", "value"}


def _said(turns: tuple[Message, ...]) -> list[tuple[str, str, tuple[dict[str, Any], ...]]]:
    return [(turn.role, turn.content.strip(), turn.tool_calls) for turn in turns]


def _shared_turns(
    chosen: tuple[Message, ...], rejected: tuple[Message, ...], columns: tuple[str, str]
) -> tuple[Message, ...]:
    pairs = zip(chosen[:-1], rejected[:-1], strict=False)
    shared = [left for left, _ in takewhile(lambda pair: pair[0] == pair[1], pairs)]
    while shared and shared[-1].role == "assistant" and not shared[-1].tool_calls:
        shared.pop()
    if not shared:
        raise RowError(
            "no_shared_prompt",
            f"{columns[0]!r} and {columns[1]!r} do not begin with the same turns, so they answer no common prompt.",
            field=columns[1],
        )
    return tuple(shared)


def _shared_words(
    chosen: tuple[Message, ...], rejected: tuple[Message, ...], columns: tuple[str, str]
) -> tuple[tuple[Message, ...], tuple[Message, ...], tuple[Message, ...]]:
    """Take the words that both answers begin with as the prompt, as trl does."""
    left, right = chosen[0].content, rejected[0].content
    shared = len(list(takewhile(lambda pair: pair[0] == pair[1], zip(left, right, strict=False))))
    while shared and not left[shared - 1].isspace():
        shared -= 1
    prompt, answers = left[:shared].strip(), (left[shared:].strip(), right[shared:].strip())
    if not prompt or not all(answers):
        raise RowError(
            "no_shared_prompt",
            f"The row has no prompt, and {columns[0]!r} and {columns[1]!r} do not begin with the same words.",
            field=columns[0],
            next_step="Choose the column of the prompt by hand.",
        )
    better, worse = (
        (Message("assistant", answer), *turns[1:])
        for answer, turns in zip(answers, (chosen, rejected), strict=True)
    )
    return (Message("user", prompt),), better, worse
