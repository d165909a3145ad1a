"""Which linear layers LoRA goes on, by architecture. Knows names of layers, not the model.

Source of the names: PEFT's TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING (`peft.utils.constants`), which lists only query
and value projections; here they are widened to all linear layers of a block, since attention alone learns less at equal size
(Schulman & Thinking Machines, "LoRA Without Regret", 2025). A test compares each family with what PEFT's `all-linear` picks.
"""

from typing import Final, Literal

ALL_LINEAR: Final = "all-linear"
"""PEFT's own word: every linear layer but the output head."""

Scope = Literal["all", "attention"]

_LLAMA_ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
_LLAMA_MLP = ("gate_proj", "up_proj", "down_proj")
_LLAMA_LIKE = (
    "llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "smollm3", "olmo2", "granite", "stablelm",
)  # fmt: skip
_NEOX = (("query_key_value", "dense"), ("dense_h_to_4h", "dense_4h_to_h"))
_BERT = (("query", "key", "value"), ("dense",))

_FAMILIES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    **dict.fromkeys(_LLAMA_LIKE, (_LLAMA_ATTENTION, _LLAMA_MLP)),
    "phi": (("q_proj", "k_proj", "v_proj", "dense"), ("fc1", "fc2")),
    "phi3": (("qkv_proj", "o_proj"), ("gate_up_proj", "down_proj")),
    "gpt2": (("c_attn",), ("c_fc", "c_proj")),
    "gpt_neox": _NEOX,
    "falcon": _NEOX,
    "bloom": _NEOX,
    "opt": (("q_proj", "k_proj", "v_proj", "out_proj"), ("fc1", "fc2")),
    "bert": _BERT,
    "roberta": _BERT,
    "t5": (("q", "k", "v", "o"), ("wi", "wi_0", "wi_1", "wo")),
    "mt5": (("q", "k", "v", "o"), ("wi", "wi_0", "wi_1", "wo")),
}
"""model_type -> (names in attention, further ones in the MLP). Where both use a name (GPT-2, BERT), it is with the MLP."""


def lora_targets(model_type: str | None, scope: Scope = "all") -> tuple[str, ...] | Literal["all-linear"]:
    """Name the layers that LoRA goes on, as PEFT's `target_modules` takes them.

    Args:
        model_type: `model_type` of config.json; None or an unknown one gives `all-linear`, which works for any architecture.
        scope: `all` linear layers of a block, or those of `attention` only (fewer weights to train, learns less).

    Returns:
        Last parts of layer names, attention first; or `all-linear`.

    >>> lora_targets("phi3")
    ('qkv_proj', 'o_proj', 'gate_up_proj', 'down_proj')
    >>> lora_targets("an-architecture-of-next-year", "attention")
    'all-linear'
    """
    family = _FAMILIES.get(model_type or "")
    if family is None:
        return ALL_LINEAR
    attention, mlp = family
    return attention if scope == "attention" else attention + mlp


def known_architectures() -> tuple[str, ...]:
    """The `model_type`s with a list of their own, sorted."""
    return tuple(sorted(_FAMILIES))
