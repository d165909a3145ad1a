"""Conversations in OpenAI and ShareGPT spelling: roles, tool calls, and the order that turns have to be in."""

import json
from typing import Any

from lora_core.datasets.example import Message
from lora_core.datasets.faults import RowError
from lora_core.datasets.values import as_list, kind_of, text_of, whole
from lora_core.schema.dataset import ColumnMapping

CONVERSATION_COLUMNS = ("messages", "conversations", "conversation", "dialogue", "dialog", "chat")
"""Columns that mostly hold turns."""

ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bard": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "ai": "assistant",
    "function_call": "assistant",
    "tool_call": "assistant",
    "tool": "tool",
    "function": "tool",
    "function_response": "tool",
    "tool_response": "tool",
    "observation": "tool",
    "ipython": "tool",
}
"""Every spelling that is understood, to the role chat templates know."""

_CALL_ROLES = ("function_call", "tool_call")
_FOLLOWS = {
    "": ("user",),
    "user": ("assistant",),
    "assistant": ("user", "tool"),
    "tool": ("tool", "assistant"),
}


def messages_of(value: Any, column: str) -> tuple[Message, ...]:
    """Read a list of turns. Order is not checked here.

    Raises:
        RowError: Not a list of objects with a role and a content, or an unknown role.
    """
    turns = as_list(value, column)
    if not turns:
        raise RowError("no_messages", f"{column!r} is empty.", field=column)
    return tuple([_message(turn, f"{column}[{index}]") for index, turn in enumerate(turns)])


def check_conversation(messages: tuple[Message, ...], column: str) -> None:
    """Check order and content of turns.

    Raises:
        RowError: The system turn is not first, turns do not alternate, one is empty, or the last is not an answer.
    """
    previous = ""
    for index, message in enumerate(messages):
        field = f"{column}[{index}]"
        role = message.role
        if role == "system":
            if index:
                raise RowError(
                    "system_not_first", "A system message is only allowed as the first one.", field=field
                )
            continue
        if role not in _FOLLOWS[previous]:
            raise _out_of_order(previous, role, field)
        if not message.content.strip() and not message.tool_calls and role != "tool":
            code = "empty_answer" if role == "assistant" else "empty_message"
            raise RowError(code, f"The {role} message is empty.", field=field)
        previous = role
    if previous != "assistant":
        raise RowError(
            "no_answer_at_end",
            f"The last message is from {previous or 'the system'}, so there is no answer to learn.",
            field=column,
        )


def with_system(
    messages: tuple[Message, ...], value: dict[str, Any], mapping: ColumnMapping
) -> tuple[Message, ...]:
    """Put the text of the column `system` in front, where the turns bring no system message of their own."""
    if messages and messages[0].role == "system":
        return messages
    text = text_of(value, mapping.system or "system")
    return (Message("system", text), *messages) if text.strip() else messages


def tools_of(value: dict[str, Any], column: str | None = None) -> tuple[dict[str, Any], ...]:
    """Read the functions a conversation may call, as a list or as JSON text.

    Args:
        value: The row.
        column: Where they are; None for `tools`, or `functions` where that is empty.

    Raises:
        RowError: bad_tools.
    """
    column = column or ("tools" if value.get("tools") else "functions")
    try:
        found = as_list(value.get(column), column)
    except RowError as error:
        raise RowError("bad_tools", error.message, field=column) from error
    tools = []
    for tool in found:
        if not isinstance(tool, dict):
            raise RowError("bad_tools", f"{column!r} has to be a list of objects.", field=column)
        tool = _plain(tool, column)
        tools.append(
            {"type": "function", "function": tool} if "function" not in tool and "name" in tool else tool
        )
    return tuple(tools)


def _message(turn: Any, field: str) -> Message:
    if not isinstance(turn, dict):
        raise RowError("wrong_type", f"A message has to be an object, this is {kind_of(turn)}.", field=field)
    spelling = turn.get("role") if turn.get("role") is not None else turn.get("from")
    if not isinstance(spelling, str):
        raise RowError("missing_role", "The message has no role ('role' or 'from').", field=field)
    role = ROLES.get(spelling.strip().lower())
    if role is None:
        raise RowError("unknown_role", f"The role {spelling[:50]!r} is not known.", field=field)
    has_calls = role == "assistant" and bool(turn.get("tool_calls") or turn.get("function_call"))
    content = _content(turn, field, required=not has_calls)
    if spelling.strip().lower() in _CALL_ROLES:
        return Message("assistant", "", tool_calls=_calls_in_text(content, field))
    return Message(
        role,
        content,
        name=_optional_text(turn, "name", field),
        tool_calls=_tool_calls(turn, field) if has_calls else (),
        tool_call_id=_optional_text(turn, "tool_call_id", field),
        reasoning_content=_reasoning(turn, field),
        learned=_weight(turn, field),
    )


def _content(turn: dict[str, Any], field: str, *, required: bool) -> str:
    key = next((key for key in ("content", "value", "text") if key in turn), "")
    value = turn.get(key)
    if value is None:
        if required:
            raise RowError(
                "missing_content", "The message has no content ('content' or 'value').", field=field
            )
        return ""
    if isinstance(value, list):
        value = "".join([_part(part, field) for part in value])
    if not isinstance(value, str):
        raise RowError("wrong_type", f"{key!r} has to be a text, it is {kind_of(value)}.", field=field)
    return whole(value, field)


def _part(part: Any, field: str) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str):
        return str(part["text"])
    kind = part.get("type") if isinstance(part, dict) else kind_of(part)
    raise RowError(
        "not_text",
        f"Only text can be learned, the message has a part of type {str(kind)[:50]!r}.",
        field=field,
    )


def _optional_text(turn: dict[str, Any], key: str, field: str) -> str | None:
    value = turn.get(key)
    return whole(value, field) if isinstance(value, str) else None


def _reasoning(turn: dict[str, Any], field: str) -> str | None:
    for key in ("reasoning_content", "thinking", "reasoning"):
        if isinstance(turn.get(key), str):
            return whole(turn[key], field)
    return None


def _weight(turn: dict[str, Any], field: str) -> bool:
    """OpenAI's fine-tuning files may mark an answer with weight 0: shown, not learned."""
    weight = turn.get("weight")
    if weight is None:
        return True
    if isinstance(weight, int | float) and weight in (0, 1):
        return bool(weight)
    raise RowError("bad_weight", "The weight of a message has to be 0 or 1.", field=field)


def _tool_calls(turn: dict[str, Any], field: str) -> tuple[dict[str, Any], ...]:
    if turn.get("tool_calls"):
        try:
            calls = as_list(turn["tool_calls"], "tool_calls")
        except RowError as error:
            raise RowError("bad_tool_call", error.message, field=field) from error
    else:
        calls = [turn["function_call"]]
    return tuple([_call(call, field) for call in calls])


def _calls_in_text(text: str, field: str) -> tuple[dict[str, Any], ...]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise RowError("bad_tool_call", "The function call is not valid JSON.", field=field) from None
    calls = found if isinstance(found, list) else [found]
    if not calls:
        raise RowError("bad_tool_call", "The function call is empty.", field=field)
    return tuple([_call(call, field) for call in calls])


def _call(call: Any, field: str) -> dict[str, Any]:
    """Bring one call into the form templates know; arguments become an object if they are JSON text."""
    if isinstance(call, dict):
        function = call.get("function", call)
        if isinstance(function, dict) and isinstance(function.get("name"), str):
            arguments = function.get("arguments")
            if isinstance(arguments, str):
                try:
                    arguments = json.loads(arguments) if arguments.strip() else {}
                except (ValueError, RecursionError):
                    raise RowError(
                        "bad_tool_call", "The arguments of the function call are not valid JSON.", field=field
                    ) from None
            plain: dict[str, Any] = {"type": "function"}
            if isinstance(call.get("id"), str):
                plain["id"] = call["id"]
            plain["function"] = {
                "name": function["name"],
                "arguments": {} if arguments is None else arguments,
            }
            return _plain(plain, field)
    raise RowError("bad_tool_call", "A function call needs a name and arguments.", field=field)


def _plain(value: dict[str, Any], field: str) -> dict[str, Any]:
    """The value as JSON has it: no dates, bytes or half surrogates, which templates and hashes could not take."""
    try:
        text = json.dumps(value, ensure_ascii=False)
        text.encode("utf-8")
        return dict(json.loads(text))
    except (TypeError, ValueError, RecursionError):
        raise RowError(
            "bad_tool_call", "The function or call holds values that are not JSON.", field=field
        ) from None


def _out_of_order(previous: str, role: str, field: str) -> RowError:
    if not previous:
        return RowError(
            "starts_wrong", f"A conversation has to start with the user, not with {role}.", field=field
        )
    if previous == role:
        return RowError("roles_do_not_alternate", f"Two {role} messages follow each other.", field=field)
    return RowError(
        "roles_do_not_alternate", f"A {role} message cannot follow one from {previous}.", field=field
    )
