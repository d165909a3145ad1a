"""Reads what a folder with a model says about itself: config.json and the headers of its safetensors. Loads no weights."""

import json
import math
from pathlib import Path
from typing import Any

from lora_core.errors import ModelError
from lora_core.models.info import BaseModelInfo

MAX_JSON_BYTES = 64 * 2**20
"""Most bytes of one JSON file or header that are read: a real header of 100 000 tensors has about 15 MB."""

UNPACKED = frozenset({"F64", "F32", "F16", "BF16"})
"""Element types with one weight per element; packed 4- and 8-bit files have other counts."""


def describe_folder(folder: Path) -> BaseModelInfo:
    """Describe the model in a folder.

    Args:
        folder: Folder with config.json and *.safetensors, as `save_pretrained` writes it.

    Returns:
        Its entry; what config.json does not say stays None.

    Raises:
        ModelError: No such folder, no usable config.json, or no safetensors (pickled weights are never loaded).
    """
    if not folder.is_dir():
        raise ModelError(f"There is no folder {str(folder)!r}.")
    config = _read_json(folder / "config.json")
    if not any(folder.glob("*.safetensors")):
        raise ModelError(
            f"{str(folder)!r} has no *.safetensors.",
            "Save the model again with save_pretrained: other formats can run code when they are opened.",
        )
    inner = config.get("text_config")
    text = inner if isinstance(inner, dict) else config
    tied = text.get("tie_word_embeddings", config.get("tie_word_embeddings"))
    return BaseModelInfo(
        id=str(folder),
        title=folder.name,
        folder=folder,
        model_type=config["model_type"] if isinstance(config.get("model_type"), str) else None,
        parameters=count_parameters(folder),
        layers=_size(text, "num_hidden_layers", "n_layer", "num_layers"),
        hidden_size=_size(text, "hidden_size", "n_embd", "d_model"),
        intermediate_size=_size(text, "intermediate_size", "n_inner", "d_ff"),
        heads=_size(text, "num_attention_heads", "n_head", "num_heads"),
        key_value_heads=_size(text, "num_key_value_heads", "num_attention_heads", "n_head", "num_heads"),
        head_size=_head_size(text),
        vocabulary=_size(text, "vocab_size"),
        tied_embeddings=tied if isinstance(tied, bool) else None,
        context_tokens=_size(text, "max_position_embeddings", "n_positions"),
        chat_template=_has_chat_template(folder),
    )


def count_parameters(folder: Path) -> int | None:
    """Count the weights in a folder's safetensors by their headers.

    Returns:
        Number of weights, or None if a file cannot be read so or holds packed (quantised) weights.

    Source: the safetensors format: 8 bytes little-endian header length, then that many bytes of JSON.
    """
    total = 0
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with path.open("rb") as file:
                length = int.from_bytes(file.read(8), "little")
                header = json.loads(file.read(length)) if length <= MAX_JSON_BYTES else None
            for name, tensor in header.items() if isinstance(header, dict) else ():
                if name == "__metadata__":
                    continue
                if tensor["dtype"] not in UNPACKED:
                    return None
                total += math.prod(tensor["shape"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None
    return total or None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise ModelError(f"{path.name} of {str(path.parent)!r} is too large to be a model's.")
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(
            f"{str(path.parent)!r} has no readable {path.name}.", "Give the folder that holds it."
        ) from error
    if not isinstance(content, dict):
        raise ModelError(f"{path.name} of {str(path.parent)!r} is not a JSON object.")
    return content


def _size(config: dict[str, Any], *names: str) -> int | None:
    """The first of these keys that holds a positive whole number: families name the same size differently."""
    values = (config.get(name) for name in names)
    return next((value for value in values if type(value) is int and value > 0), None)


def _head_size(config: dict[str, Any]) -> int | None:
    given = _size(config, "head_dim", "d_kv")
    hidden, heads = _size(config, "hidden_size", "n_embd"), _size(config, "num_attention_heads", "n_head")
    return given or (hidden // heads or None if hidden and heads else None)


def _has_chat_template(folder: Path) -> bool:
    if (folder / "chat_template.jinja").is_file():
        return True
    try:
        return bool(_read_json(folder / "tokenizer_config.json").get("chat_template"))
    except ModelError:
        return False
