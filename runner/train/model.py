"""Loads a base model from a local folder and puts a LoRA adapter on it. Knows no data and no training."""

from collections import Counter
from pathlib import Path
from typing import Any

from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    set_seed,
)

from lora_core.errors import ConfigError, ModelError
from lora_core.models.targets import lora_targets
from lora_core.schema.config import AdapterConfig, ModelConfig
from runner.train.hardware import Hardware


def load_base(folder: Path, model: ModelConfig, hardware: Hardware) -> PreTrainedModel:
    """Load the frozen base model from safetensors, quantised if the config says so.

    Args:
        folder: Holds config.json and `*.safetensors`. Weights in pickle formats are refused: reading them runs code.

    Raises:
        ModelError: The folder holds no model that can be loaded.
    """
    placement: dict[str, Any] = {} if hardware.device.type == "cpu" else {"device_map": {"": hardware.device}}
    try:
        base = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=hardware.dtype,
            quantization_config=_quantisation(model, hardware),
            use_safetensors=True,
            local_files_only=True,
            attn_implementation="sdpa",
            **placement,
        )
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"The base model in {folder} cannot be loaded: {error}",
            "Choose a causal language model with safetensors weights that this transformers version knows.",
        ) from error
    assert isinstance(base, PreTrainedModel)
    base.config.use_cache = False
    if model.quantisation == "4bit":
        _keep_weights_as_they_are(base)
    return base


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Load the tokenizer that lies beside the weights.

    Raises:
        ModelError: There is none.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"The tokenizer in {folder} cannot be loaded: {error}") from error
    assert isinstance(tokenizer, PreTrainedTokenizerBase)
    return tokenizer


def add_adapter(base: PreTrainedModel, adapter: AdapterConfig, *, seed: int, reference: str) -> PeftModel:
    """Put a new adapter on the base model: A random by the seed, B zero, so that it changes nothing yet. Weights are float32.

    Args:
        reference: Name of the base model that adapter_config.json shall hold, such as its Hub id.

    Raises:
        ConfigError: No layer has one of the wanted names; lists those there are.
    """
    targets = _targets(base, adapter)
    set_seed(seed)
    config = LoraConfig(
        r=adapter.rank,
        lora_alpha=adapter.alpha,
        lora_dropout=adapter.dropout,
        target_modules=targets,
        bias=adapter.bias,
        use_rslora=adapter.rslora,
        use_dora=adapter.dora,
        task_type="CAUSAL_LM",
    )
    model = get_peft_model(base, config)
    assert isinstance(model, PeftModel)
    model.peft_config["default"].base_model_name_or_path = reference or None
    return model


def keep_adapter_precise(model: PeftModel) -> None:
    """Hold adapter weights in float32: TRL casts them to bfloat16 on quantised models, where small updates are lost."""
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and "lora_" in name:
            parameter.data = parameter.data.float()


def trainable_parameters(model: nn.Module) -> int:
    """Count the numbers that training changes."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def linear_names(base: nn.Module) -> list[str]:
    """Last parts of the names of all layers that LoRA can go on, most frequent first; the output head is left out."""
    head = base.get_output_embeddings() if isinstance(base, PreTrainedModel) else None
    kinds = (nn.Linear, nn.Conv1d)
    found = Counter(
        name.rsplit(".", 1)[-1]
        for name, module in base.named_modules()
        if module is not head and (isinstance(module, kinds) or type(module).__name__ == "Conv1D")
    )
    return [name for name, _ in found.most_common()]


def _targets(base: PreTrainedModel, adapter: AdapterConfig) -> str | list[str]:
    if isinstance(adapter.targets, str):
        chosen = "all-linear" if adapter.targets == "all-linear" else lora_targets(base.config.model_type)
        return chosen if isinstance(chosen, str) else list(chosen)
    names = [name for name, _ in base.named_modules()]
    missing = [t for t in adapter.targets if not any(name == t or name.endswith(f".{t}") for name in names)]
    if missing:
        raise ConfigError(
            f"The model has no layers named {', '.join(missing)}.",
            f"adapter.targets may hold: {', '.join(linear_names(base))}; or take all-linear.",
        )
    if "lm_head" in adapter.targets:
        raise ConfigError(
            "The output head (lm_head) cannot get an adapter.", "Take it out of adapter.targets."
        )
    return list(adapter.targets)


def _keep_weights_as_they_are(base: PreTrainedModel) -> None:
    """Forbid bitsandbytes to repack 4-bit weights at the first evaluation on a CPU (0.50: `Linear4bit.forward`).

    That rounds their scales, so the model would not be the one that was trained a step before; and it fails where the width of
    a layer is no multiple of the block of 64.
    """
    module: Any
    for module in base.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def _quantisation(model: ModelConfig, hardware: Hardware) -> BitsAndBytesConfig | None:
    """NF4 with double quantisation as in QLoRA (Dettmers et al. 2023, arXiv:2305.14314), or LLM.int8()."""
    if model.quantisation == "none":
        return None
    if model.quantisation == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=hardware.dtype,
    )
