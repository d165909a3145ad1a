"""Tools and tool calls as text, for models whose chat template knows neither.

Source: the Hermes function-calling form, https://github.com/NousResearch/Hermes-Function-Calling
"""

import json
from typing import Any

_INTRODUCTION = (
    "You may call functions. Their signatures are within <tools></tools>. For each call answer with a JSON object "
    "with name and arguments within <tool_call></tool_call>."
)


def calls_as_text(message: dict[str, Any]) -> dict[str, Any]:
    """Move the tool calls of a message into its content.

    Example:
        >>> call = {"type": "function", "function": {"name": "now", "arguments": {}}}
        >>> print(calls_as_text({"role": "assistant", "content": "", "tool_calls": [call]})["content"])
        <tool_call>
        {"name": "now", "arguments": {}}
        </tool_call>
    """
    calls = message.get("tool_calls")
    if not calls:
        return message
    parts = [str(message["content"])] if message["content"] else []
    parts += [f"<tool_call>\n{_json(call['function'])}\n</tool_call>" for call in calls]
    return {key: value for key, value in message.items() if key != "tool_calls"} | {
        "content": "\n".join(parts)
    }


def tools_as_system(messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Write the functions into the system message, which is added where there is none."""
    listed = "\n".join([_json(tool) for tool in tools])
    text = f"{_INTRODUCTION}\n<tools>\n{listed}\n</tools>"
    if messages and messages[0]["role"] == "system":
        first = messages[0] | {"content": f"{messages[0]['content']}\n\n{text}".strip()}
        return [first, *messages[1:]]
    return [{"role": "system", "content": text}, *messages]


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
