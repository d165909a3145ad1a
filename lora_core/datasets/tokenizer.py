"""A base model's tokenizer and chat template from the files beside its weights; without torch or transformers."""

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Encoding, Tokenizer

from lora_core.datasets.example import Example
from lora_core.datasets.faults import RowError
from lora_core.datasets.template import ChatTemplate, Rendered, TemplateFault
from lora_core.datasets.tool_text import calls_as_text, tools_as_system
from lora_core.errors import ModelError

PLAIN_TEMPLATE = """\
{%- for message in messages -%}
{%- if not loop.first %}{{ '\\n\\n' }}{% endif -%}
{%- if message.role == 'system' -%}{{ message.content }}
{%- elif message.role == 'user' -%}{{ '### User:\\n' + message.content }}
{%- elif message.role == 'tool' -%}{{ '### Tool:\\n' + message.content }}
{%- else -%}{{ '### Assistant:\\n' }}{% generation %}{{ message.content + eos_token }}{% endgeneration %}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt %}{{ '\\n\\n### Assistant:\\n' }}{% endif -%}
"""
"""Used where a base model has no chat template: headings in plain words, and each answer ends with the model's own
end-of-text token. It is no model's native form: whoever runs the adapter has to use it too (`chat_template`)."""

_SPECIAL_KEYS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_PROBE = "a"


class ChatTokenizer:
    """Text to ids and conversations to text, the same way for the audit, the trainer and the chat.

    Not shared between threads. Build it with `load`.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        templates: dict[str, str],
        special_tokens: dict[str, str],
        stop_ids: Sequence[int] = (),
        now: datetime | None = None,
    ) -> None:
        """Take a tokenizer apart.

        Args:
            tokenizer: Is changed: padding, truncation and post-processing are switched off.
            templates: Jinja sources by name; "default", and "tool_use" for rows with tools. May be empty.
            special_tokens: Such as eos_token, as templates read them.
            stop_ids: Ids that end an answer beside the end-of-text token.
            now: The time templates are told; it is part of the tokens of some models.

        Raises:
            ModelError: No end-of-text token, or a template that is not valid.
        """
        tokenizer.no_padding()
        tokenizer.no_truncation()
        with_special = tokenizer.encode(_PROBE).ids
        bare = tokenizer.encode(_PROBE, add_special_tokens=False).ids
        starts = [at for at in range(len(with_special)) if with_special[at : at + len(bare)] == bare]
        self.prefix_ids: list[int] = with_special[: starts[0]] if starts and bare else []
        # The post-processor would shorten offsets at white space, and adds tokens that templates write themselves.
        tokenizer.post_processor = None
        self._tokenizer = tokenizer
        self._special_tokens = special_tokens
        self.eos_token_id = self._eos_id(special_tokens, stop_ids)
        eos_token = special_tokens.setdefault("eos_token", tokenizer.id_to_token(self.eos_token_id) or "")
        pad = tokenizer.token_to_id(special_tokens.get("pad_token", eos_token))
        self.pad_token_id: int = self.eos_token_id if pad is None else pad
        self.stop_ids = tuple(dict.fromkeys((self.eos_token_id, *stop_ids)))
        self.has_own_template = bool(templates)
        sources = templates or {"default": self._plain_template(special_tokens)}
        at = now or datetime.now(UTC)
        self._templates = {name: ChatTemplate(source, at) for name, source in sources.items()}
        self._default = self._templates.get("default") or next(iter(self._templates.values()))
        added = tokenizer.get_added_tokens_decoder().values()
        stops = (tokenizer.id_to_token(stop) for stop in self.stop_ids)
        self.stop_tokens = tuple([token for token in stops if token])
        self.special_strings = tuple(
            {token.content for token in added if token.special} | set(self.stop_tokens)
        )
        self.vocabulary_size: int = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=0) + 1

    @classmethod
    def load(cls, model_folder: Path | str, *, now: datetime | None = None) -> "ChatTokenizer":
        """Read tokenizer.json, its config and the chat template of a model folder.

        Args:
            model_folder: As downloaded from the Hub.
            now: The time templates are told (some write the date into each conversation). Give the job's creation
                time where tokens have to be the same on another day; default: now.

        Raises:
            ModelError: A file is missing or damaged.
        """
        folder = Path(model_folder)
        path = folder / "tokenizer.json"
        if not path.is_file():
            raise ModelError(f"{folder.name} has no tokenizer.json.", "Fetch the model again.")
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises bare Exception for a damaged file
            raise ModelError(f"The tokenizer of {folder.name} cannot be read: {error}.") from error
        config = _json(folder / "tokenizer_config.json")
        _add_missing_tokens(tokenizer, config)
        specials = _special_tokens(_json(folder / "special_tokens_map.json")) | _special_tokens(config)
        stops = _ids(_json(folder / "generation_config.json").get("eos_token_id"))
        stops = stops or _ids(_json(folder / "config.json").get("eos_token_id"))
        return cls(tokenizer, _templates(folder, config), specials, stops, now)

    @property
    def chat_template(self) -> str:
        """Source of the template in use (the plain one where the model has none)."""
        return self._default.source

    @property
    def template_hash(self) -> str:
        """SHA-256 of all templates in use, in hex."""
        digest = hashlib.sha256()
        for name, template in sorted(self._templates.items()):
            digest.update(f"{name}\0{template.source}\0".encode())
        return digest.hexdigest()

    def template_for(self, example: Example) -> ChatTemplate:
        """The template for a conversation: some models have an own one for rows with tools."""
        return self._templates.get("tool_use", self._default) if example.tools else self._default

    def conversation(self, example: Example) -> tuple[list[dict[str, Any]], list[dict[str, Any]] | None]:
        """Messages and tools as the template reads them.

        A template that knows no tools gets them as text (Hermes form: `<tools>` in the system message, `<tool_call>` in
        the answer), so that nothing is lost and the model is not taught empty answers. There is one assistant message
        for each of the example's, in the same order.
        """
        source = self.template_for(example).source
        messages = [message.as_dict() for message in example.messages]
        tools: list[dict[str, Any]] | None = list(example.tools) or None
        if "tool_calls" not in source:
            messages = [calls_as_text(message) for message in messages]
        if tools is not None and "tools" not in source:
            messages, tools = tools_as_system(messages, tools), None
        return messages, tools

    def render(self, example: Example, add_generation_prompt: bool = False) -> str:
        """Render a conversation as text; a text example is its own text.

        Raises:
            RowError: The template refuses the conversation; in the template's own words.
        """
        if not example.messages:
            return example.text
        messages, tools = self.conversation(example)
        return self.render_messages(example, messages, tools, add_generation_prompt=add_generation_prompt)

    def render_messages(
        self,
        example: Example,
        messages: list[dict[str, Any]],
        tools: list[dict[str, Any]] | None,
        *,
        add_generation_prompt: bool = False,
    ) -> str:
        """Render some messages with the example's template.

        Raises:
            RowError: The template refuses them.
        """
        try:
            return self.template_for(example).render(
                messages, tools, self._special_tokens, add_generation_prompt=add_generation_prompt
            )
        except TemplateFault as error:
            raise _refused(error) from error

    def render_marked(
        self, example: Example, messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None
    ) -> Rendered:
        """Render messages, with what the template marks as generated.

        Raises:
            RowError: The template refuses them.
        """
        try:
            return self.template_for(example).render_marked(messages, tools, self._special_tokens)
        except TemplateFault as error:
            raise _refused(error) from error

    def encode(self, text: str) -> list[int]:
        """Ids of a text; special tokens written in it are recognised, none are added."""
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def encode_batch(self, texts: list[str], *, offsets: bool) -> list[Encoding]:
        """Encode texts in parallel; without offsets it takes two thirds of the time."""
        if offsets:
            return list(self._tokenizer.encode_batch(texts, add_special_tokens=False))
        return list(self._tokenizer.encode_batch_fast(texts, add_special_tokens=False))

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool = False) -> str:
        """Text of ids."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=skip_special_tokens))

    def _eos_id(self, special_tokens: dict[str, str], stop_ids: Sequence[int]) -> int:
        found = self._tokenizer.token_to_id(special_tokens.get("eos_token", ""))
        if found is None and not stop_ids:
            raise ModelError(
                "The model's tokenizer names no end-of-text token.", "Choose another base model."
            )
        return int(stop_ids[0] if found is None else found)

    def _plain_template(self, special_tokens: dict[str, str]) -> str:
        bos = self._tokenizer.token_to_id(special_tokens.get("bos_token", ""))
        begins_with_bos = bos is not None and bos in self.prefix_ids
        return ("{{ bos_token }}" if begins_with_bos else "") + PLAIN_TEMPLATE


def _refused(error: TemplateFault) -> RowError:
    return RowError("template_refuses", f"The model's chat template refuses this conversation: {error}.")


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ModelError(
            f"{path.name} of the model is damaged: {error}.", "Fetch the model again."
        ) from error
    return value if isinstance(value, dict) else {}


def _special_tokens(config: dict[str, Any]) -> dict[str, str]:
    found = {}
    for key in _SPECIAL_KEYS:
        value = config.get(key)
        content = value.get("content") if isinstance(value, dict) else value
        if isinstance(content, str) and content:
            found[key] = content
    return found


def _ids(value: Any) -> tuple[int, ...]:
    values = value if isinstance(value, list) else [value]
    return tuple([number for number in values if isinstance(number, int)])


def _templates(folder: Path, config: dict[str, Any]) -> dict[str, str]:
    """Sources in the order transformers looks for them."""
    found: dict[str, str] = {}
    listed = config.get("chat_template") or _json(folder / "chat_template.json").get("chat_template")
    if isinstance(listed, str):
        found["default"] = listed
    elif isinstance(listed, list):
        entries = [entry for entry in listed if isinstance(entry, dict)]
        found = {str(entry.get("name")): str(entry["template"]) for entry in entries if entry.get("template")}
    own = folder / "chat_template.jinja"
    if own.is_file():
        found["default"] = own.read_text("utf-8")
    for path in sorted((folder / "additional_chat_templates").glob("*.jinja")):
        found[path.stem] = path.read_text("utf-8")
    return found


def _add_missing_tokens(tokenizer: Tokenizer, config: dict[str, Any]) -> None:
    """Add tokens that older models only list in tokenizer_config.json."""
    listed = config.get("added_tokens_decoder")
    if not isinstance(listed, dict):
        return
    for _, entry in sorted(listed.items(), key=lambda item: int(item[0]) if str(item[0]).isdigit() else 0):
        if isinstance(entry, dict) and tokenizer.token_to_id(str(entry.get("content"))) is None:
            flags = {
                key: bool(entry.get(key))
                for key in ("single_word", "lstrip", "rstrip", "normalized", "special")
            }
            token = AddedToken(str(entry.get("content")), **flags)
            (tokenizer.add_special_tokens if flags["special"] else tokenizer.add_tokens)([token])
