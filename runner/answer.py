"""Answers conversations with a base model and an adapter, many at once, without sampling. Knows no job and no store.

`python -m runner.answer --model DIR [--adapter DIR] --prompts FILE.jsonl --output FILE.jsonl` measures what a model learned.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

import torch
from peft import PeftModel
from transformers import PreTrainedModel

from lora_core.datasets.example import Example, Message
from lora_core.datasets.tokenizer import ChatTokenizer
from lora_core.errors import DataError, ModelError, StudioError
from lora_core.schema.config import ModelConfig
from lora_core.schema.run import ExitCode
from runner.train.hardware import choose_hardware
from runner.train.model import load_base

Conversation = Sequence[dict[str, Any]]
"""Messages with `role` and `content`, the last one not the assistant's."""


def load(
    model: Path, adapter: Path | None, settings: ModelConfig | None = None
) -> PreTrainedModel | PeftModel:
    """Load a base model for answering, with an adapter if there is one.

    The adapter takes the number format of the base model: training multiplied it in that format too.

    Raises:
        ModelError: The model or the adapter cannot be loaded.
    """
    settings = settings or ModelConfig()
    base = load_base(model, settings, choose_hardware(settings))
    if adapter is None:
        return cast(PreTrainedModel, base.eval())
    try:
        with_adapter = PeftModel.from_pretrained(
            base, str(adapter), local_files_only=True, use_safetensors=True
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelError(f"The adapter in {adapter} cannot be put on this model: {error}") from error
    for name, parameter in with_adapter.named_parameters():
        if "lora_" in name:
            parameter.data = parameter.data.to(base.dtype)
    return with_adapter.eval()


def answer(
    model: PreTrainedModel | PeftModel,
    tokenizer: ChatTokenizer,
    conversations: Sequence[Conversation],
    *,
    max_new_tokens: int = 256,
    batch_size: int = 16,
    adapter: bool = True,
    progress: Callable[[int], None] = lambda done: None,
) -> list[str]:
    """Answer each conversation with the likeliest tokens, up to the end of the turn.

    Conversations of like length are computed together, since all of a batch are padded to the longest.

    Args:
        max_new_tokens: Longest answer in tokens.
        batch_size: Conversations at once.
        adapter: False for what the base model says, on a model that has an adapter.
        progress: Told how many are answered.

    Returns:
        Answers in the order of the conversations, without special tokens.

    Raises:
        DataError: The chat template refuses a conversation.
    """
    prompts = [_prompt_tokens(tokenizer, conversation) for conversation in conversations]
    answers = [""] * len(prompts)
    longest_first = sorted(range(len(prompts)), key=lambda number: -len(prompts[number]))
    alone = model.disable_adapter() if isinstance(model, PeftModel) and not adapter else nullcontext()
    with torch.no_grad(), alone:
        for start in range(0, len(prompts), batch_size):
            numbers = longest_first[start : start + batch_size]
            texts = _generate(model, tokenizer, [prompts[n] for n in numbers], max_new_tokens)
            for number, text in zip(numbers, texts, strict=True):
                answers[number] = text
            progress(start + len(numbers))
    return answers


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        0, or ExitCode.CONFIG_OR_DATA with the reason on stderr.
    """
    parser = argparse.ArgumentParser(prog="python -m runner.answer", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="folder of the base model")
    parser.add_argument("--adapter", type=Path, help="folder of the adapter")
    parser.add_argument(
        "--prompts", type=Path, required=True, help="JSON lines with `messages`; a last answer is left out"
    )
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        help="JSON lines with `answer`; with --both: `base` and `adapter`",
    )
    parser.add_argument("--max-new-tokens", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--both", action="store_true", help="answer with the base model alone too")
    parser.add_argument("--quantisation", choices=("none", "8bit", "4bit"), default="none")
    options = parser.parse_args(arguments)
    try:
        _answer_file(options)
    except StudioError as error:
        print(error, file=sys.stderr)
        return ExitCode.CONFIG_OR_DATA
    return 0


def read_conversations(file: Path) -> list[Conversation]:
    """Read conversations from JSON lines, each without the answer it may end with.

    Raises:
        DataError: A line is no conversation.
    """
    conversations: list[Conversation] = []
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                messages = [
                    {"role": m["role"], "content": m["content"]} for m in json.loads(line)["messages"]
                ]
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(
                    f"Line {number} of {file.name} has no list of messages.", line=number
                ) from error
            while messages and messages[-1]["role"] == "assistant":
                messages.pop()
            if not messages:
                raise DataError(f"Line {number} of {file.name} has no question.", line=number)
            conversations.append(messages)
    return conversations


def _answer_file(options: argparse.Namespace) -> None:
    conversations = read_conversations(options.prompts)
    tokenizer = ChatTokenizer.load(options.model)
    model = load(options.model, options.adapter, ModelConfig(quantisation=options.quantisation))
    columns = {"base": False, "adapter": True} if options.both else {"answer": True}
    found: dict[str, list[str]] = {}
    for column, adapter in columns.items():
        began = time.monotonic()

        def tell(done: int, column: str = column, began: float = began) -> None:
            took = time.monotonic() - began
            print(f"{column} {done}/{len(conversations)} {took:.0f}s", file=sys.stderr, flush=True)

        found[column] = answer(
            model,
            tokenizer,
            conversations,
            max_new_tokens=options.max_new_tokens,
            batch_size=options.batch_size,
            adapter=adapter,
            progress=tell,
        )
    with options.output.open("w", encoding="utf-8") as output:
        for row in zip(*found.values(), strict=True):
            output.write(json.dumps(dict(zip(found, row, strict=True)), ensure_ascii=False) + "\n")


def _prompt_tokens(tokenizer: ChatTokenizer, conversation: Conversation) -> list[int]:
    """Tokens up to where the answer begins, made as in training."""
    example = Example(messages=tuple(Message(role=m["role"], content=m["content"]) for m in conversation))
    return tokenizer.encode(tokenizer.render(example, add_generation_prompt=True))


def _generate(
    model: PreTrainedModel | PeftModel,
    tokenizer: ChatTokenizer,
    prompts: list[list[int]],
    max_new_tokens: int,
) -> list[str]:
    """Continue one batch; padding goes to the left, so that all answers begin at the same place."""
    width = max(len(prompt) for prompt in prompts)
    ids = torch.tensor(
        [[tokenizer.pad_token_id] * (width - len(prompt)) + prompt for prompt in prompts], device=model.device
    )
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts], device=model.device)
    output = cast(Any, model).generate(
        input_ids=ids,
        attention_mask=mask,
        max_new_tokens=max_new_tokens,
        do_sample=False,
        temperature=None,
        top_p=None,
        top_k=None,
        eos_token_id=list(tokenizer.stop_ids),
        pad_token_id=tokenizer.pad_token_id,
        use_cache=True,
    )
    answers: list[list[int]] = output[:, width:].tolist()
    return [tokenizer.decode(tokens, skip_special_tokens=True).strip() for tokens in answers]


if __name__ == "__main__":
    sys.exit(main())
