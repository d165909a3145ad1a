"""The estimate's formulas against torch itself: what is kept for the backward pass, tensor by tensor."""

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

from lora_core.estimate.architecture import Architecture
from lora_core.estimate.memory import HEAD_CHUNK, layer_bytes
from lora_core.estimate.rows import LENGTH_STEP, BatchShape
from lora_core.schema.config import TrainingConfig
from runner.train import loss, rows

TOKENS = 128
SIZES = Architecture(
    parameters=1, layers=1, hidden=64, intermediate=176, heads=4, key_value_heads=2, head_size=16, vocabulary=128, tied=True,
)  # fmt: skip


def kept_bytes(config: TrainingConfig, layers: int, dtype: torch.dtype, *, packed: bool) -> int:
    """Bytes of all distinct tensors that a forward pass keeps, weights left out."""
    adapter = config.adapter
    base = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=SIZES.vocabulary, hidden_size=SIZES.hidden, intermediate_size=SIZES.intermediate,
            num_hidden_layers=layers, num_attention_heads=SIZES.heads, num_key_value_heads=SIZES.key_value_heads,
            tie_word_embeddings=True, use_cache=False,
        )
    ).to(dtype)  # fmt: skip
    targets = adapter.targets if isinstance(adapter.targets, str) else list(adapter.targets)
    model: Any = get_peft_model(
        base,
        LoraConfig(
            r=adapter.rank, lora_dropout=adapter.dropout, target_modules=targets, task_type="CAUSAL_LM"
        ),
    )
    loss.attach_loss(base)
    model.train()
    positions = torch.arange(TOKENS // 2).repeat(2) if packed else torch.arange(TOKENS)
    ids = torch.arange(TOKENS)[None] % SIZES.vocabulary
    own = {each.untyped_storage().data_ptr() for each in (*model.parameters(), *model.buffers())}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    autocast = torch.autocast("cpu", dtype=dtype) if dtype is torch.bfloat16 else nullcontext()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), autocast:
        model(input_ids=ids, position_ids=positions[None], targets=ids)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


@pytest.mark.parametrize("packed", [False, True], ids=["apart", "packed"])
@pytest.mark.parametrize(
    "adapter",
    [{"rank": 4}, {"rank": 4, "targets": ["q_proj", "v_proj"]}, {"rank": 4, "dropout": 0.1}],
    ids=["all-linear", "attention", "dropout"],
)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=["bfloat16", "float32"])
def test_a_block_keeps_what_the_formula_counts(
    dtype: torch.dtype, adapter: dict[str, Any], packed: bool
) -> None:
    config = TrainingConfig.model_validate({"adapter": adapter})
    two, three = (kept_bytes(config, layers, dtype, packed=packed) for layers in (2, 3))
    counted = layer_bytes(SIZES, config, BatchShape(1, TOKENS, packed), dtype.itemsize)
    copies_of_weights = 2 * SIZES.adapter_weights(config.adapter) if dtype is torch.bfloat16 else 0
    assert three - two == pytest.approx(counted + copies_of_weights, rel=0.02)


def test_the_numbers_that_stand_twice_are_the_same() -> None:
    assert (HEAD_CHUNK, LENGTH_STEP) == (loss.CHUNK_ROWS, rows.LENGTH_STEP)
