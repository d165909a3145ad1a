"""Chat templates: Jinja in a sandbox, as transformers runs them, with the parts a model generates marked.

Knows text only, no tokens. Templates come with a model and are not trusted; run this in a process with limits.
Source: https://huggingface.co/docs/transformers/chat_templating_writing
"""

import json
import re
import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Any, NoReturn

import jinja2
import msgspec
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from lora_core.errors import ModelError

_TAG = re.compile(r"\{%[-+]?\s*generation\s*[-+]?%\}")
_OPEN, _CLOSE = "generation_open__", "generation_close__"


class Rendered(msgspec.Struct, frozen=True):
    """A conversation as text.

    Args:
        text: What is tokenised.
        generated: Spans [start, end) in characters that the template marks as generated; None if it marks none.
    """

    text: str
    generated: tuple[tuple[int, int], ...] | None = None


class ChatTemplate:
    """One compiled template. Safe to use from one thread at a time.

    Args:
        source: The Jinja source.
        now: The time `strftime_now` tells. Fix it, so that tokens do not change with the day.

    Raises:
        ModelError: The template is not valid Jinja.
    """

    def __init__(self, source: str, now: datetime) -> None:
        self.source = source
        self.marks_generation = _TAG.search(source) is not None
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
        )
        environment.filters["tojson"] = _tojson
        environment.globals["raise_exception"] = _raise_exception
        environment.globals["strftime_now"] = now.strftime
        try:
            self._template = environment.from_string(source)
        except (jinja2.TemplateError, RecursionError) as error:
            raise ModelError(f"The model's chat template is not valid: {error}.") from error

    def render(
        self,
        messages: list[dict[str, Any]],
        tools: list[dict[str, Any]] | None,
        special_tokens: dict[str, str],
        *,
        add_generation_prompt: bool = False,
    ) -> str:
        """Render a conversation.

        Raises:
            TemplateFault: The template refuses it (`raise_exception`) or fails.
        """
        return self._render(messages, tools, special_tokens, {}, add_generation_prompt)

    def render_marked(
        self,
        messages: list[dict[str, Any]],
        tools: list[dict[str, Any]] | None,
        special_tokens: dict[str, str],
    ) -> Rendered:
        """Render a conversation and find what the template marks with `{% generation %}`.

        Raises:
            TemplateFault: The template refuses it or fails.
        """
        text = self.render(messages, tools, special_tokens)
        if not self.marks_generation:
            return Rendered(text)
        nonce = secrets.token_hex(8)
        marks = {_OPEN: f"\x02{nonce}<", _CLOSE: f"\x02{nonce}>"}
        marked = self._render(messages, tools, special_tokens, marks, False)
        rendered = _without_marks(marked, marks[_OPEN], marks[_CLOSE])
        # A template that measures or trims its own output can differ with marks inside; then they are of no use.
        return rendered if rendered.text == text else Rendered(text)

    def _render(
        self,
        messages: list[dict[str, Any]],
        tools: list[dict[str, Any]] | None,
        special_tokens: dict[str, str],
        marks: dict[str, str],
        add_generation_prompt: bool,
    ) -> str:
        try:
            return self._template.render(
                **special_tokens,
                messages=messages,
                tools=tools,
                documents=None,
                add_generation_prompt=add_generation_prompt,
                **marks,
            )
        except (
            jinja2.TemplateError,
            RecursionError,
            TypeError,
            ValueError,
            LookupError,
            AttributeError,
        ) as error:
            raise TemplateFault(str(error)) from error
        except ArithmeticError as error:
            raise TemplateFault(str(error)) from error


class TemplateFault(Exception):
    """The template refuses a conversation, or fails on it; the message is the template's own."""


class _Generation(Extension):
    """The `{% generation %} ... {% endgeneration %}` tag."""

    tags = {"generation"}  # noqa: RUF012 -- Jinja's own interface

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        call = self.call_method("_mark", [nodes.ContextReference()])
        return nodes.CallBlock(call, [], [], body).set_lineno(line)

    def _mark(self, context: jinja2.runtime.Context, caller: Callable[[], str]) -> str:
        return f"{context.get(_OPEN, '')}{caller()}{context.get(_CLOSE, '')}"


def _without_marks(marked: str, opening: str, closing: str) -> Rendered:
    parts: list[str] = []
    spans: list[tuple[int, int]] = []
    length = 0
    for index, piece in enumerate(marked.split(opening)):
        inside, closed, after = piece.partition(closing)
        if index and closed:
            spans.append((length, length + len(inside)))
        parts += (inside, after)
        length += len(inside) + len(after)
    return Rendered("".join(parts), tuple(spans))


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _raise_exception(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)
