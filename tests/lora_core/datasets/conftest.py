"""A tiny tokenizer made on the spot, so that nothing is downloaded, and a way to write data files."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from lora_core.datasets.tokenizer import ChatTokenizer

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
CHATML_MARKED = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}"
    "{% else %}{{ message['content'] + '<|im_end|>' }}{% endif %}{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
CORPUS = [
    "What is two plus two?",
    "It is four, of course.",
    "system user assistant",
    "Hello there!\n\n### Tool:",
] * 3


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str | None], Path]:
    """Write a model folder with a tokenizer and this chat template (None for a base model)."""

    def write(template: str | None) -> Path:
        folder = tmp_path_factory.mktemp("model")
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=400, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
        )
        tokenizer.train_from_iterator(CORPUS, trainer)
        names = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
        tokenizer.add_special_tokens([AddedToken(name, special=True) for name in names])
        tokenizer.save(str(folder / "tokenizer.json"))
        config = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": "<|im_start|>",
            "eos_token": "<|im_end|>",
            "pad_token": "<|endoftext|>",
        }
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
        if template is not None:
            (folder / "chat_template.jinja").write_text(template)
        return folder

    return write


@pytest.fixture(scope="session")
def chatml(model_folder: Callable[[str | None], Path]) -> ChatTokenizer:
    return ChatTokenizer.load(model_folder(CHATML))


@pytest.fixture(scope="session")
def chatml_marked(model_folder: Callable[[str | None], Path]) -> ChatTokenizer:
    return ChatTokenizer.load(model_folder(CHATML_MARKED))


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, bytes | str], Path]:
    """Write a file of this name and content."""

    def write_file(name: str, content: bytes | str) -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write_file
