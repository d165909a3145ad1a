"""Random Llama-like models of a wanted size, with the tiny tokenizer: what they cost does not depend on what they know."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Sizes:
    """Sizes of a model, as LlamaConfig names them."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    vocab_size: int


SMALL = Sizes(256, 704, 8, 8, 4, 8192)
MEDIUM = Sizes(512, 1408, 10, 8, 4, 24_576)
LARGE = Sizes(576, 1536, 30, 9, 3, 49_152)
"""About 9, 43 and 135 million weights; the last has SmolLM2-135M's sizes."""


def build_sized_model(folder: Path, sizes: Sizes) -> Path:
    """Save a random model of these sizes in bfloat16, embeddings tied."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from runner.models.tiny import build_tiny_tokenizer

    tokenizer = build_tiny_tokenizer()
    special = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    config = LlamaConfig(**sizes.__dict__, max_position_embeddings=4096, tie_word_embeddings=True, **special)
    model = LlamaForCausalLM(config).to(torch.bfloat16)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
