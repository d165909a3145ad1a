"""The tiny model is a real one: it loads, trains, chats, and is the same every time."""

import hashlib
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from lora_core.models.catalogue import find_model
from lora_core.models.weights import is_present
from runner.models.tiny import CONTEXT_TOKENS, VOCABULARY, build_tiny_model


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_same_seed_gives_the_same_bytes(tiny: Path, tmp_path: Path) -> None:
    assert digests(build_tiny_model(tmp_path / "again")) == digests(tiny)


def test_other_seed_changes_only_the_weights(tiny: Path, tmp_path: Path) -> None:
    other = digests(build_tiny_model(tmp_path / "other", seed=1))
    assert {name for name, digest in digests(tiny).items() if other[name] != digest} == {"model.safetensors"}


def test_global_random_state_is_left_alone(tmp_path: Path) -> None:
    before = torch.get_rng_state()
    build_tiny_model(tmp_path / "tiny")
    assert torch.equal(before, torch.get_rng_state())


def test_folder_is_whole_and_small(tiny: Path) -> None:
    assert is_present(tiny)
    assert sum(path.stat().st_size for path in tiny.iterdir()) < 2_000_000
    info = find_model(str(tiny), local_roots=[tiny.parent])
    assert (info.vocabulary, info.context_tokens, info.chat_template) == (VOCABULARY, CONTEXT_TOKENS, True)


@pytest.mark.parametrize(
    "text", ["Hello, Paris!", "  two  blanks\n\tand tabs ", "Grüße, 東京 😀", "\x00\ufeff"]
)
def test_any_text_comes_back(tiny: Path, text: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False).input_ids) == text


def test_template_is_chatml_with_whole_special_tokens(tiny: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    chat = [{"role": "user", "content": "Hello"}]
    text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    assert text == "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n"
    ids = tokenizer(text, add_special_tokens=False).input_ids
    assert ids.count(tokenizer.convert_tokens_to_ids("<|im_start|>")) == 2
    assert ids.count(tokenizer.eos_token_id) == 1


def test_a_few_steps_lower_the_loss(tiny: Path) -> None:
    tokenizer, model = AutoTokenizer.from_pretrained(tiny), AutoModelForCausalLM.from_pretrained(tiny)
    ids = tokenizer("The capital of France is Paris.", return_tensors="pt").input_ids
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(10):
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2
