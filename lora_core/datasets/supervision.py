"""Which characters of a rendered conversation are learned: the answers, each with the token that ends it."""

from typing import Any, Literal

import msgspec

from lora_core.datasets.example import Example
from lora_core.datasets.faults import RowError
from lora_core.datasets.template import Rendered
from lora_core.datasets.tokenizer import ChatTokenizer

LossOn = Literal["completion", "all", "last"]
_SPACE = " \t\r\n"


class Plan(msgspec.Struct, frozen=True):
    """A text to tokenise and what of it is learned.

    Args:
        text: All of it.
        spans: Learned spans [start, end) in characters, ascending; None for everything.
        bare: A text row: gets the model's first token in front and its end-of-text token behind.
    """

    text: str
    spans: tuple[tuple[int, int], ...] | None
    bare: bool = False


def plan(example: Example, tokenizer: ChatTokenizer, loss_on: LossOn) -> Plan:
    """Render an example and decide what is learned.

    Where the template marks what it generates (`{% generation %}`), that is learned. Elsewhere an answer is what comes
    between the conversation before it with the generation prompt and the conversation up to it.

    Args:
        example: Conversation or text.
        tokenizer: Of the base model.
        loss_on: completion: every answer; last: the last one; all: everything. Texts are always learned whole.

    Raises:
        RowError: The template refuses the conversation, or changes earlier turns when later ones are added.
    """
    if not example.messages:
        return Plan(example.text, None, bare=True)
    messages, tools = tokenizer.conversation(example)
    if loss_on == "all":
        return Plan(tokenizer.render_messages(example, messages, tools), None)
    rendered = tokenizer.render_marked(example, messages, tools)
    if rendered.generated:
        spans = _marked_spans(rendered, example, loss_on)
        return Plan(
            rendered.text, tuple([_to_the_end_token(rendered.text, span, tokenizer) for span in spans])
        )
    answers = [index for index, message in enumerate(messages) if message["role"] == "assistant"]
    learned = [index for index, flag in zip(answers, _learned_answers(example), strict=True) if flag]
    if loss_on == "last":
        learned = [index for index in learned if index == answers[-1]]
    found = [_answer_span(rendered.text, example, tokenizer, messages, tools, index) for index in learned]
    return Plan(rendered.text, tuple(found))


def ends_every_answer(made: Plan, tokenizer: ChatTokenizer) -> bool:
    """Whether the last token of each learned span is one that ends a turn: else nobody teaches the model to stop."""
    if made.bare:
        return True
    spans = made.spans if made.spans is not None else ((0, len(made.text)),)
    return all(
        made.text[start:end].rstrip(_SPACE).endswith(tokenizer.special_strings) for start, end in spans
    )


def _learned_answers(example: Example) -> list[bool]:
    return [message.learned for message in example.messages if message.role == "assistant"]


def _marked_spans(rendered: Rendered, example: Example, loss_on: LossOn) -> list[tuple[int, int]]:
    spans = list(rendered.generated or ())
    flags = _learned_answers(example)
    if len(flags) != len(spans):
        if not all(flags):
            raise RowError(
                "marks_unclear", "The template's generation marks do not match the answers one to one."
            )
        flags = [True] * len(spans)
    if loss_on == "last":
        flags = [False] * (len(flags) - 1) + flags[-1:]
    return [span for span, flag in zip(spans, flags, strict=True) if flag]


def _answer_span(
    full: str,
    example: Example,
    tokenizer: ChatTokenizer,
    messages: list[dict[str, Any]],
    tools: list[dict[str, Any]] | None,
    index: int,
) -> tuple[int, int]:
    """Find one answer by rendering the conversation before it and up to it."""
    before = tokenizer.render_messages(example, messages[:index], tools, add_generation_prompt=True)
    if full.startswith(before):
        start = len(before)
        is_last = index == len(messages) - 1
        upto = full if is_last else tokenizer.render_messages(example, messages[: index + 1], tools)
        if full.startswith(upto) and len(upto) > start:
            return _to_the_end_token(full, (start, len(upto)), tokenizer)
        # Templates that show thinking in the last answer only: the answer still stands there as it is in the data.
        content = str(messages[index]["content"]).strip()
        end = start + len(content)
        if content and full.startswith(content, start) and full.startswith(tokenizer.stop_tokens, end):
            return _to_the_end_token(full, (start, end), tokenizer)
    raise RowError(
        "template_not_prefix_stable",
        "The model's chat template writes earlier turns differently once later ones follow, so its answers cannot be "
        f"told apart (message {index + 1}).",
        next_step="Learn from all tokens, or choose a model with {% generation %} marks in its template.",
    )


def _to_the_end_token(text: str, span: tuple[int, int], tokenizer: ChatTokenizer) -> tuple[int, int]:
    """Let a span end with the token that ends the turn: without white space behind it, and not just before it."""
    start, end = span
    inside = text[start:end].rstrip(_SPACE)
    if inside.endswith(tokenizer.special_strings):
        return start, start + len(inside)
    for token in tokenizer.stop_tokens:
        if text.startswith(token, end):
            return start, end + len(token)
    return span
