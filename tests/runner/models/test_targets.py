"""The lists of layer names hold on real architectures, built tiny and without memory; and so do the catalogue's numbers."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import LoraLayer
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    PreTrainedModel,
)

from lora_core.models.catalogue import CATALOGUE
from lora_core.models.info import BaseModelInfo
from lora_core.models.targets import known_architectures, lora_targets

AUTO_CLASSES = {
    "bert": AutoModelForMaskedLM,
    "roberta": AutoModelForMaskedLM,
    "t5": AutoModelForSeq2SeqLM,
    "mt5": AutoModelForSeq2SeqLM,
}
SMALL = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 64, "max_position_embeddings": 32, "pad_token_id": 0,
    "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
OTHER_NAMES = {
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4},
    "bloom": {"n_layer": 2, "n_head": 4},
    "opt": {"ffn_dim": 64, "word_embed_proj_dim": 32},
    "t5": {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4},
    "mt5": {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4},
}


def build(model_type: str) -> PreTrainedModel:
    config = AutoConfig.for_model(model_type, **{**SMALL, **OTHER_NAMES.get(model_type, {})})
    with torch.device("meta"):
        return AUTO_CLASSES.get(model_type, AutoModelForCausalLM).from_config(config)


def adapted(model_type: str, targets: object) -> set[str]:
    """Names of the layers that PEFT puts LoRA on."""
    config = LoraConfig(r=2, target_modules=targets, fan_in_fan_out=model_type == "gpt2")
    with torch.device("meta"):
        model = get_peft_model(build(model_type), config)
    return {name for name, module in model.named_modules() if isinstance(module, LoraLayer)}


@pytest.mark.parametrize("model_type", known_architectures())
def test_all_means_every_linear_layer_but_the_head(model_type: str) -> None:
    ours = adapted(model_type, list(lora_targets(model_type)))
    theirs = adapted(model_type, "all-linear")
    heads = {name for name in theirs if any(part in name for part in ("lm_head", "cls.", "embed_out"))}
    assert ours - heads == theirs - heads


@pytest.mark.parametrize("model_type", known_architectures())
def test_attention_finds_layers_in_every_block(model_type: str) -> None:
    names = adapted(model_type, list(lora_targets(model_type, "attention")))
    assert {block for block in ("0", "1") if any(f".{block}." in name for name in names)} == {"0", "1"}


@pytest.mark.parametrize("info", CATALOGUE, ids=lambda info: info.id)
def test_numbers_of_the_catalogue_add_up(info: BaseModelInfo) -> None:
    config = AutoConfig.for_model(
        info.model_type,
        num_hidden_layers=info.layers,
        hidden_size=info.hidden_size,
        intermediate_size=info.intermediate_size,
        num_attention_heads=info.heads,
        num_key_value_heads=info.key_value_heads,
        head_dim=info.head_size,
        vocab_size=info.vocabulary,
        tie_word_embeddings=info.tied_embeddings,
        max_position_embeddings=info.context_tokens,
        pad_token_id=0,
    )
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    assert model.num_parameters() == info.parameters
