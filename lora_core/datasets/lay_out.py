"""Examples as rows of another format: what a converted data set holds. Every target can be read again by `convert`."""

from collections.abc import Mapping, Sequence
from typing import Any

from lora_core.datasets.example import Example, Message
from lora_core.schema.dataset import DatasetFormat

_CHATS = (
    DatasetFormat.ALPACA,
    DatasetFormat.SHAREGPT,
    DatasetFormat.PROMPT_COMPLETION,
    DatasetFormat.PREFERENCE,
    DatasetFormat.UNPAIRED_PREFERENCE,
)
TARGETS: Mapping[DatasetFormat, tuple[DatasetFormat, ...]] = {
    **dict.fromkeys(_CHATS, (DatasetFormat.MESSAGES,)),
    DatasetFormat.PREFERENCE: (DatasetFormat.MESSAGES, DatasetFormat.UNPAIRED_PREFERENCE),
}
"""Into what a data set of each format can be converted without making anything up."""


def rows_as(example: Example, target: DatasetFormat) -> list[dict[str, Any]]:
    """Lay one example out in the target format.

    Args:
        example: Of a format that has `target` among its TARGETS.
        target: MESSAGES: the conversation with the good answer; an answer labelled bad gives no row.
            UNPAIRED_PREFERENCE: of a pair, one row for each answer.

    Example:
        >>> pair = Example((Message("user", "Hi"), Message("assistant", "Hello!")), rejected=(Message("assistant", "No."),))
        >>> [row["messages"][1]["content"] for row in rows_as(pair, DatasetFormat.MESSAGES)]
        ['Hello!']
    """
    tools: dict[str, Any] = {"tools": list(example.tools)} if example.tools else {}
    if target is DatasetFormat.MESSAGES:
        return [{"messages": _turns(example.messages), **tools}] if example.label is not False else []
    prompt = _turns(example.messages[: example.answer_from])
    sides = ((example.messages[example.answer_from :], True), (example.rejected, False))
    return [{"prompt": prompt, "completion": _turns(side), "label": label, **tools} for side, label in sides]


def _turns(messages: Sequence[Message]) -> list[dict[str, Any]]:
    return [_turn(message) for message in messages]


def _turn(message: Message) -> dict[str, Any]:
    """A message as OpenAI's fine-tuning files write it."""
    plain = message.as_dict()
    plain.pop("thinking", None)
    return plain if message.learned else plain | {"weight": 0}
