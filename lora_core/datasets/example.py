"""One thing to learn from, whatever format it came in: a conversation, a text, or answers with a verdict on them."""

import json
from typing import Any

import msgspec

SEPARATOR = "\0"
"""Between the turns of a conversation where they are hashed as one text."""


class Message(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One turn of a conversation, as chat templates know it.

    Args:
        role: system, user, assistant or tool.
        content: The text; may be empty where there are tool calls.
        name: Of the tool or speaker, if the data has one.
        tool_calls: `{"type": "function", "function": {"name", "arguments": {...}}}` each.
        tool_call_id: Which call a tool message answers.
        reasoning_content: The thinking before the answer, for models that have it.
        learned: False for an answer that the data marks with weight 0: context only.
    """

    role: str
    content: str
    name: str | None = None
    tool_calls: tuple[dict[str, Any], ...] = ()
    tool_call_id: str | None = None
    reasoning_content: str | None = None
    learned: bool = True

    def as_dict(self) -> dict[str, Any]:
        """The message as chat templates read it: plain values, and no key that has no value."""
        plain: dict[str, Any] = {"role": self.role, "content": self.content}
        if self.reasoning_content is not None:
            plain["reasoning_content"] = self.reasoning_content
            plain["thinking"] = self.reasoning_content
        if self.tool_calls:
            plain["tool_calls"] = list(self.tool_calls)
        if self.tool_call_id is not None:
            plain["tool_call_id"] = self.tool_call_id
        if self.name is not None:
            plain["name"] = self.name
        return plain


class Example(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A checked row: either `messages` or `text` is filled.

    Args:
        messages: The conversation. Of a preference row: the prompt and the better answer.
        text: A text without turns.
        tools: JSON schemas of functions the model may call.
        rejected: The worse answer to the same prompt (paired preference), one turn or more.
        label: Whether the answer is a good one (unpaired preference); None elsewhere.
        answer_from: Of a preference row: place in `messages` where the answer begins; before it is the prompt.
    """

    messages: tuple[Message, ...] = ()
    text: str = ""
    tools: tuple[dict[str, Any], ...] = ()
    rejected: tuple[Message, ...] = ()
    label: bool | None = None
    answer_from: int = 0

    def characters(self) -> int:
        """Length of all content in characters."""
        return len(self.text) + sum([len(message.content) for message in (*self.messages, *self.rejected)])

    def texts(self) -> list[str]:
        """Every content, in order."""
        return [message.content for message in (*self.messages, *self.rejected)] or [self.text]


def fingerprint(example: Example) -> int:
    """Hash an example's content, so that exact duplicates are found whatever their layout in the file.

    Returns:
        64 bits; equal only within one process (Python's own keyed hash, which is the fastest there is for this).
    """
    if not example.messages:
        return hash((example.text,))
    extras = [
        json.dumps([index, message.tool_calls, message.reasoning_content], sort_keys=True)
        for index, message in enumerate(example.messages)
        if message.tool_calls or message.reasoning_content
    ]
    if example.tools:
        extras.append(json.dumps(example.tools, sort_keys=True))
    if example.rejected:
        extras.append(json.dumps([message.as_dict() for message in example.rejected], sort_keys=True))
    if example.label is not None:
        extras.append(f"label {example.label}")
    roles = tuple([message.role for message in example.messages])
    content = SEPARATOR.join([message.content for message in example.messages])
    return hash((content, *extras)) ^ hash(roles) if extras else hash(content) ^ hash(roles)
