"""What is learned, token by token, with and without marks in the template."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lora_core.datasets.convert import to_example
from lora_core.datasets.example import Example, Message
from lora_core.datasets.faults import RowError
from lora_core.datasets.supervision import LossOn, plan
from lora_core.datasets.tokenise import TokenisedRow, encode_plans, shared_ids, tokenise
from lora_core.datasets.tokenizer import ChatTokenizer
from lora_core.errors import ModelError
from lora_core.schema.dataset import DatasetFormat

Folder = Callable[[str | None], Path]
TALK = Example(
    messages=(
        Message("system", "Be kind."),
        Message("user", "What is two plus two?"),
        Message("assistant", "It is four."),
        Message("user", "Hello there!"),
        Message("assistant", "Of course 😀é"),
    )
)


def row(
    example: Example, tokenizer: ChatTokenizer, loss_on: LossOn = "completion", length: int = 999
) -> TokenisedRow:
    return tokenise(example, tokenizer, loss_on=loss_on, max_length=length)


def runs(found: TokenisedRow, tokenizer: ChatTokenizer) -> list[str]:
    """Texts of the learned stretches."""
    texts: list[list[int]] = []
    before = False
    for token, learned in zip(found.input_ids, found.learned, strict=True):
        if learned and not before:
            texts.append([])
        if learned:
            texts[-1].append(token)
        before = learned
    return [tokenizer.decode(ids) for ids in texts]


@pytest.mark.parametrize("name", ["chatml", "chatml_marked"])
def test_answers_and_their_end_tokens_are_learned_and_nothing_else(
    name: str, request: pytest.FixtureRequest
) -> None:
    tokenizer: ChatTokenizer = request.getfixturevalue(name)
    found = row(TALK, tokenizer)
    assert runs(found, tokenizer) == ["It is four.<|im_end|>", "Of course 😀é<|im_end|>"]
    assert tokenizer.decode(found.input_ids) == tokenizer.render(TALK)
    assert found.learned_tokens == sum(found.learned)
    assert not found.truncated


def test_with_and_without_marks_the_tokens_are_the_same(
    chatml: ChatTokenizer, chatml_marked: ChatTokenizer
) -> None:
    for loss_on in ("completion", "last", "all"):
        assert row(TALK, chatml, loss_on) == row(TALK, chatml_marked, loss_on)


@pytest.mark.parametrize("name", ["chatml", "chatml_marked"])
def test_last_learns_the_last_answer_only(name: str, request: pytest.FixtureRequest) -> None:
    tokenizer: ChatTokenizer = request.getfixturevalue(name)
    assert runs(row(TALK, tokenizer, "last"), tokenizer) == ["Of course 😀é<|im_end|>"]


def test_all_learns_everything(chatml: ChatTokenizer) -> None:
    found = row(TALK, chatml, "all")
    assert all(found.learned)
    assert found.learned_tokens == len(found.input_ids) - 1


@pytest.mark.parametrize("name", ["chatml", "chatml_marked"])
def test_answers_of_weight_0_are_not_learned(name: str, request: pytest.FixtureRequest) -> None:
    tokenizer: ChatTokenizer = request.getfixturevalue(name)
    talk = Example(
        messages=(*TALK.messages[:2], Message("assistant", "No.", learned=False), *TALK.messages[3:])
    )
    assert runs(row(talk, tokenizer), tokenizer) == ["Of course 😀é<|im_end|>"]


def test_a_text_is_learned_whole_with_its_end(chatml: ChatTokenizer) -> None:
    found = row(Example(text="Hello there!"), chatml)
    assert chatml.decode(found.input_ids) == "Hello there!<|im_end|>"
    assert all(found.learned)


def test_a_long_row_is_cut_at_the_end(chatml: ChatTokenizer) -> None:
    whole = row(TALK, chatml)
    cut = row(TALK, chatml, length=10)
    assert (cut.input_ids, cut.truncated, cut.length) == (whole.input_ids[:10], True, len(whole.input_ids))
    assert cut.learned_tokens == 0


def test_a_base_model_gets_the_plain_template(model_folder: Folder) -> None:
    tokenizer = ChatTokenizer.load(model_folder(None))
    assert not tokenizer.has_own_template
    assert tokenizer.render(TALK) == (
        "Be kind.\n\n### User:\nWhat is two plus two?\n\n### Assistant:\nIt is four.<|im_end|>"
        "\n\n### User:\nHello there!\n\n### Assistant:\nOf course 😀é<|im_end|>"
    )
    prompt = Example(messages=TALK.messages[:2])
    assert tokenizer.render(prompt, add_generation_prompt=True).endswith("two?\n\n### Assistant:\n")
    assert tokenizer.render(TALK).startswith(tokenizer.render(prompt, add_generation_prompt=True))
    assert runs(row(TALK, tokenizer), tokenizer) == ["It is four.<|im_end|>", "Of course 😀é<|im_end|>"]


def test_marks_that_leave_out_the_end_token_still_learn_it(model_folder: Folder) -> None:
    template = (
        "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}{% if m.role == 'assistant' %}{% generation %}"
        "{{ m.content }}{% endgeneration %}{% else %}{{ m.content }}{% endif %}{{ '<|im_end|>\n' }}{% endfor %}"
    )
    tokenizer = ChatTokenizer.load(model_folder(template))
    assert runs(row(TALK, tokenizer), tokenizer) == ["It is four.<|im_end|>", "Of course 😀é<|im_end|>"]


THINKING = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}"
    "{% if m.role == 'assistant' and loop.last %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
    "{{ m.content + '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def test_a_template_that_thinks_in_the_last_answer_only_is_understood(model_folder: Folder) -> None:
    tokenizer = ChatTokenizer.load(model_folder(THINKING))
    assert runs(row(TALK, tokenizer), tokenizer) == [
        "It is four.<|im_end|>",
        "<think>\n\n</think>\n\nOf course 😀é<|im_end|>",
    ]


def test_a_template_that_rewrites_earlier_turns_is_refused(model_folder: Folder) -> None:
    template = "{{ messages | length }}{% for m in messages %}{{ m.role + ':' + m.content + '<|im_end|>' }}{% endfor %}"
    tokenizer = ChatTokenizer.load(model_folder(template))
    with pytest.raises(RowError, match="writes earlier turns differently") as caught:
        row(TALK, tokenizer)
    assert caught.value.code == "template_not_prefix_stable"
    assert all(row(TALK, tokenizer, "all").learned)


def test_a_template_may_refuse_a_conversation_in_its_own_words(model_folder: Folder) -> None:
    tokenizer = ChatTokenizer.load(model_folder("{{ raise_exception('No system role here') }}"))
    with pytest.raises(RowError, match="No system role here"):
        row(TALK, tokenizer)


@pytest.mark.parametrize(
    "template",
    ["{{ ''.__class__.__mro__ }}", "{{ messages.append(1) }}", "{{ 1 / 0 }}", "{{ messages[99].x.y }}"],
)
def test_a_hostile_or_broken_template_is_an_error_of_the_row(model_folder: Folder, template: str) -> None:
    tokenizer = ChatTokenizer.load(model_folder(template))
    with pytest.raises(RowError):
        row(TALK, tokenizer)


def test_a_template_that_is_not_jinja_is_an_error_of_the_model(model_folder: Folder) -> None:
    with pytest.raises(ModelError, match="not valid"):
        ChatTokenizer.load(model_folder("{% for %}"))


def test_templates_get_the_time_they_are_given(model_folder: Folder) -> None:
    folder = model_folder("{{ strftime_now('%d %b %Y') }}{{ messages[0].content }}")
    tokenizer = ChatTokenizer.load(folder, now=datetime(2024, 7, 26, tzinfo=UTC))
    assert tokenizer.render(TALK) == "26 Jul 2024Be kind."


def test_the_template_hash_follows_the_template(chatml: ChatTokenizer, chatml_marked: ChatTokenizer) -> None:
    assert chatml.template_hash != chatml_marked.template_hash


TOOLS: dict[str, Any] = {
    "messages": [
        {"role": "user", "content": "Hello there!"},
        {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": '{"a": 1}'}}]},
        {"role": "tool", "content": "22"},
        {"role": "assistant", "content": "It is 22."},
    ],
    "tools": [{"name": "f"}],
}


def test_tools_become_text_where_the_template_knows_none(chatml: ChatTokenizer) -> None:
    found = row(to_example(TOOLS, DatasetFormat.MESSAGES), chatml)
    assert runs(found, chatml) == [
        '<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call><|im_end|>',
        "It is 22.<|im_end|>",
    ]
    assert '<tools>\n{"type": "function", "function": {"name": "f"}}\n</tools>' in chatml.decode(
        found.input_ids
    )


def test_tools_go_to_the_template_that_knows_them(model_folder: Folder) -> None:
    template = (
        "{% if tools %}{{ tools | tojson }}{% endif %}{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}"
        "{% for c in m.tool_calls or [] %}{{ c.function.name + (c.function.arguments | tojson) }}{% endfor %}"
        "{{ m.content + '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    tokenizer = ChatTokenizer.load(model_folder(template))
    found = row(to_example(TOOLS, DatasetFormat.MESSAGES), tokenizer)
    assert runs(found, tokenizer) == ['f{"a": 1}<|im_end|>', "It is 22.<|im_end|>"]
    assert tokenizer.render(to_example(TOOLS, DatasetFormat.MESSAGES)).startswith('[{"type": "function"')


def test_many_at_once_are_the_same_as_one_by_one(chatml: ChatTokenizer) -> None:
    examples = [TALK, Example(text="Hello"), TALK]
    plans = [plan(example, chatml, "completion") for example in examples]
    together = encode_plans(plans, chatml, 30)
    assert together == [row(example, chatml, length=30) for example in examples]
    table = list(range(chatml.vocabulary_size))
    assert [shared_ids(each, table) for each in together] == together


def test_a_folder_without_tokenizer_or_end_token_is_an_error(tmp_path: Path, model_folder: Folder) -> None:
    with pytest.raises(ModelError, match=r"tokenizer\.json"):
        ChatTokenizer.load(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match="cannot be read"):
        ChatTokenizer.load(tmp_path)
    folder = model_folder(None)
    (folder / "tokenizer_config.json").unlink()
    with pytest.raises(ModelError, match="end-of-text"):
        ChatTokenizer.load(folder)
    (folder / "generation_config.json").write_text('{"eos_token_id": [301, 300]}')
    assert ChatTokenizer.load(folder).stop_ids == (301, 300)


@pytest.mark.slow
def test_ids_and_mask_are_those_of_transformers(chatml_marked: ChatTokenizer, model_folder: Folder) -> None:
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoTokenizer.from_pretrained(model_folder(chatml_marked.chat_template))
    messages = [message.as_dict() for message in TALK.messages]
    expected = theirs.apply_chat_template(
        messages, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
    )
    found = row(TALK, chatml_marked)
    assert found.input_ids == list(expected["input_ids"])
    assert found.learned == [bool(mark) for mark in expected["assistant_masks"]]


contents = st.text(min_size=1, max_size=40).filter(lambda text: bool(text.strip()))


@settings(deadline=None, max_examples=60)
@given(question=contents, answer=contents)
def test_any_answer_is_learned_whole(chatml: ChatTokenizer, question: str, answer: str) -> None:
    example = Example(messages=(Message("user", question), Message("assistant", answer)))
    found = row(example, chatml)
    learned = [token for token, flag in zip(found.input_ids, found.learned, strict=True) if flag]
    assert learned[-1] == chatml.eos_token_id
    assert answer in chatml.decode(learned)
    assert chatml.decode(found.input_ids) == chatml.render(example)
