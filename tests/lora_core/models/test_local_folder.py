"""What a model's folder says about itself, and how it may lie."""

import json
import struct
from pathlib import Path

import pytest

from lora_core.errors import ModelError
from lora_core.models.local_folder import count_parameters, describe_folder


def test_numbers_come_from_config_and_headers(tiny_model: Path) -> None:
    info = describe_folder(tiny_model)
    assert (info.model_type, info.layers, info.hidden_size, info.head_size) == ("llama", 2, 8, 2)
    assert (info.vocabulary, info.context_tokens, info.tied_embeddings) == (10, 64, True)
    assert (info.parameters, info.chat_template) == (88, True)


def test_other_families_name_sizes_differently(tiny_model: Path) -> None:
    (tiny_model / "config.json").write_text(
        json.dumps({"model_type": "gpt2", "n_layer": 3, "n_embd": 12, "n_head": 4, "n_positions": 32})
    )
    info = describe_folder(tiny_model)
    assert (info.layers, info.hidden_size, info.head_size, info.context_tokens) == (3, 12, 3, 32)


def test_text_part_of_a_larger_model_is_described(tiny_model: Path) -> None:
    (tiny_model / "config.json").write_text(
        json.dumps({"model_type": "gemma3", "text_config": {"num_hidden_layers": 7, "hidden_size": "x"}})
    )
    info = describe_folder(tiny_model)
    assert (info.model_type, info.layers, info.hidden_size) == ("gemma3", 7, None)


def test_pickled_weights_are_no_model(tiny_model: Path) -> None:
    (tiny_model / "model.safetensors").rename(tiny_model / "pytorch_model.bin")
    with pytest.raises(ModelError, match="safetensors"):
        describe_folder(tiny_model)


@pytest.mark.parametrize("content", ["", "[1]", "{", "[" * 100_000, "\x00"])
def test_broken_config_is_a_model_error(tiny_model: Path, content: str) -> None:
    (tiny_model / "config.json").write_text(content)
    with pytest.raises(ModelError, match=r"config\.json"):
        describe_folder(tiny_model)


def test_missing_folder_is_a_model_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no folder"):
        describe_folder(tmp_path / "none")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        struct.pack("<Q", 2**60),
        struct.pack("<Q", 4) + b"nope",
        struct.pack("<Q", 9) + b'{"a": []}',
        struct.pack("<Q", 28) + b'{"a":{"dtype":"U8","shape":[',
    ],
)
def test_unreadable_or_packed_weights_have_no_count(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    assert count_parameters(tmp_path) is None
