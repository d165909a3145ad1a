"""Rows into examples: every format, every fault by name, and nothing but DataError for anything JSON can hold."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_core.datasets.convert import to_example
from lora_core.datasets.example import fingerprint
from lora_core.datasets.faults import RowError
from lora_core.errors import DataError
from lora_core.schema.dataset import ColumnMapping, DatasetFormat

U, A, S = ({"role": role, "content": role} for role in ("user", "assistant", "system"))
T = {"role": "tool", "content": "22"}
CALL = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{}"}}],
}


def turns(value: dict[str, Any] | str, format: DatasetFormat, **mapping: str) -> list[tuple[str, str]]:
    example = to_example(value, format, ColumnMapping(**mapping))
    return [(message.role, message.content) for message in example.messages]


def fault(value: Any, format: DatasetFormat = DatasetFormat.MESSAGES) -> tuple[str, str]:
    with pytest.raises(RowError) as caught:
        to_example(value, format)
    return caught.value.code, caught.value.field


def test_alpaca_joins_instruction_and_input() -> None:
    row = {
        "instruction": "Add.",
        "input": "1 2",
        "output": "3",
        "system": "Be brief.",
        "history": [["q", "a"]],
    }
    assert turns(row, DatasetFormat.ALPACA) == [
        ("system", "Be brief."),
        ("user", "q"),
        ("assistant", "a"),
        ("user", "Add.\n\n1 2"),
        ("assistant", "3"),
    ]


def test_alpaca_without_input_is_the_instruction_alone() -> None:
    row = {"instruction": "Hi", "input": None, "output": "Ho"}
    assert turns(row, DatasetFormat.ALPACA) == [("user", "Hi"), ("assistant", "Ho")]


def test_sharegpt_roles_are_translated() -> None:
    row = {
        "system": "s",
        "conversations": [
            {"from": "human", "value": "weather?"},
            {"from": "function_call", "value": '{"name": "weather", "arguments": {"city": "Rome"}}'},
            {"from": "observation", "value": "22"},
            {"from": "gpt", "value": "22 degrees"},
        ],
        "tools": '[{"name": "weather", "parameters": {}}]',
    }
    example = to_example(row, DatasetFormat.SHAREGPT)
    assert [message.role for message in example.messages] == [
        "system",
        "user",
        "assistant",
        "tool",
        "assistant",
    ]
    call = {"type": "function", "function": {"name": "weather", "arguments": {"city": "Rome"}}}
    assert example.messages[2].tool_calls == (call,)
    assert example.tools == ({"type": "function", "function": {"name": "weather", "parameters": {}}},)


def test_openai_tool_calls_become_objects() -> None:
    example = to_example({"messages": [U, CALL, T, A]}, DatasetFormat.MESSAGES)
    assert example.messages[1].tool_calls == (
        {"type": "function", "id": "1", "function": {"name": "f", "arguments": {}}},
    )


def test_parallel_calls_and_their_results_are_kept_with_their_ids() -> None:
    calls = [
        {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x": {"deep": [1]}}'}},
        {"id": "b", "type": "function", "function": {"name": "g", "arguments": {"y": None}}},
    ]
    results = [
        {"role": "tool", "content": "1", "tool_call_id": "a"},
        {"role": "tool", "content": "", "tool_call_id": "b"},
    ]
    row = {
        "messages": [U, {"role": "assistant", "content": None, "tool_calls": calls}, *results, A],
        "tools": [{"name": "f"}],
    }
    example = to_example(row, DatasetFormat.MESSAGES)
    assert [call["function"]["arguments"] for call in example.messages[1].tool_calls] == [
        {"x": {"deep": [1]}},
        {"y": None},
    ]
    assert [call["id"] for call in example.messages[1].tool_calls] == ["a", "b"]
    assert [(message.role, message.tool_call_id) for message in example.messages[2:4]] == [
        ("tool", "a"),
        ("tool", "b"),
    ]


def test_functions_are_read_from_a_mapped_column() -> None:
    example = to_example(
        {"messages": [U, A], "api": '[{"name": "f"}]'}, DatasetFormat.MESSAGES, ColumnMapping(tools="api")
    )
    assert [tool["function"]["name"] for tool in example.tools] == ["f"]


def test_parts_of_text_are_joined() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    row = {"messages": [{"role": "user", "content": parts}, A]}
    assert turns(row, DatasetFormat.MESSAGES)[0] == ("user", "ab")


def test_messages_may_be_json_text() -> None:
    row = {"messages": '[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]'}
    assert turns(row, DatasetFormat.MESSAGES) == [("user", "a"), ("assistant", "b")]


def test_prompt_and_completion_may_be_conversations() -> None:
    assert turns({"prompt": [S, U], "completion": [A]}, DatasetFormat.PROMPT_COMPLETION)[0][0] == "system"
    row = {"prompt": "a", "completion": "b"}
    assert turns(row, DatasetFormat.PROMPT_COMPLETION) == [("user", "a"), ("assistant", "b")]


def test_mapped_columns_are_read() -> None:
    row = {"q": "a", "r": "b", "s": "c"}
    found = turns(row, DatasetFormat.PROMPT_COMPLETION, prompt="q", completion="r", system="s")
    assert found == [("system", "c"), ("user", "a"), ("assistant", "b")]
    assert to_example({"body": "x"}, DatasetFormat.TEXT, ColumnMapping(text="body")).text == "x"


def test_an_answer_of_weight_0_is_context() -> None:
    example = to_example({"messages": [U, A | {"weight": 0}, U, A]}, DatasetFormat.MESSAGES)
    assert [message.learned for message in example.messages] == [True, False, True, True]


@pytest.mark.parametrize(
    ("messages", "code", "field"),
    [
        ([], "no_messages", "messages"),
        ("x", "wrong_type", "messages"),
        ({"a": 1}, "wrong_type", "messages"),
        ([1], "wrong_type", "messages[0]"),
        ([{"content": "x"}], "missing_role", "messages[0]"),
        ([{"role": "king", "content": "x"}], "unknown_role", "messages[0]"),
        ([{"role": "user"}], "missing_content", "messages[0]"),
        ([{"role": "user", "content": 5}], "wrong_type", "messages[0]"),
        ([{"role": "user", "content": [{"type": "image_url"}]}], "not_text", "messages[0]"),
        ([{"role": "user", "content": "\ud800"}], "broken_text", "messages[0]"),
        ([U, S, A], "system_not_first", "messages[1]"),
        ([A, U, A], "starts_wrong", "messages[0]"),
        ([U, U, A], "roles_do_not_alternate", "messages[1]"),
        ([U, A, A], "roles_do_not_alternate", "messages[2]"),
        ([U, T, A], "roles_do_not_alternate", "messages[1]"),
        ([U, A, U], "no_answer_at_end", "messages"),
        ([S], "no_answer_at_end", "messages"),
        ([U, {"role": "assistant", "content": " "}], "empty_answer", "messages[1]"),
        ([{"role": "user", "content": ""}, A], "empty_message", "messages[0]"),
        ([U, A | {"weight": 2}], "bad_weight", "messages[1]"),
        ([U, {"role": "assistant", "tool_calls": [{"x": 1}]}], "bad_tool_call", "messages[1]"),
        ([U, {"from": "function_call", "value": "{"}], "bad_tool_call", "messages[1]"),
    ],
)
def test_faults_of_conversations_have_a_name_and_a_place(messages: Any, code: str, field: str) -> None:
    assert fault({"messages": messages}) == (code, field)


@pytest.mark.parametrize(
    ("row", "format", "code", "field"),
    [
        ({"instruction": "a"}, DatasetFormat.ALPACA, "missing_field", "output"),
        ({"instruction": "a", "output": " "}, DatasetFormat.ALPACA, "empty_answer", "output"),
        ({"instruction": "", "output": "b"}, DatasetFormat.ALPACA, "empty_prompt", "instruction"),
        ({"instruction": "a", "output": 3}, DatasetFormat.ALPACA, "wrong_type", "output"),
        ({"instruction": "a", "output": "b", "history": [1]}, DatasetFormat.ALPACA, "bad_history", "history"),
        ({"prompt": "a"}, DatasetFormat.PROMPT_COMPLETION, "missing_field", "completion"),
        ({"text": "\n"}, DatasetFormat.TEXT, "empty_text", "text"),
        ("bare", DatasetFormat.ALPACA, "not_an_object", ""),
        ({}, DatasetFormat.MESSAGES, "missing_field", "messages"),
        ({"a": 1}, DatasetFormat.UNKNOWN, "unknown_format", ""),
    ],
)
def test_faults_of_columns_have_a_name_and_a_place(
    row: Any, format: DatasetFormat, code: str, field: str
) -> None:
    assert fault(row, format) == (code, field)


def test_bad_tools_are_a_fault() -> None:
    assert fault({"messages": [U, A], "tools": "nonsense"}) == ("bad_tools", "tools")
    assert fault({"messages": [U, A], "tools": [1]}) == ("bad_tools", "tools")


def test_the_fingerprint_ignores_layout_and_sees_content() -> None:
    def of(row: dict[str, Any], format: DatasetFormat) -> int:
        return fingerprint(to_example(row, format))

    chat = of(
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
        DatasetFormat.MESSAGES,
    )
    assert chat == of({"prompt": "a", "completion": "b"}, DatasetFormat.PROMPT_COMPLETION)
    assert chat != of({"prompt": "a", "completion": "c"}, DatasetFormat.PROMPT_COMPLETION)
    assert of({"messages": [U, CALL, T, A]}, DatasetFormat.MESSAGES) != of(
        {"messages": [U, A]}, DatasetFormat.MESSAGES
    )


words = st.sampled_from(
    [
        "role",
        "content",
        "from",
        "value",
        "messages",
        "user",
        "assistant",
        "tool",
        "tool_calls",
        "function",
        "name",
    ]
)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)) | words
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words | st.text(), inner, max_size=5)
)
columns = st.sampled_from(
    [
        "messages",
        "conversations",
        "instruction",
        "input",
        "output",
        "prompt",
        "completion",
        "text",
        "system",
        "history",
        "tools",
    ]
)
turn = st.dictionaries(words, scalars | anything, max_size=4) | anything


@given(
    row=st.dictionaries(columns, anything | st.lists(turn, max_size=4), max_size=5)
    | st.text(st.characters(codec=None)),
    format=st.sampled_from(list(DatasetFormat)),
)
def test_no_json_value_raises_anything_but_a_data_error(row: Any, format: DatasetFormat) -> None:
    try:
        example = to_example(row, format)
    except DataError:
        return
    fingerprint(example)
    assert example.characters() > 0 or any(message.tool_calls for message in example.messages)
