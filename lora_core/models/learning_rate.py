"""A learning rate for LoRA that follows from a model's width. Knows no data: a suggestion, not a default."""

from lora_core.models.info import BaseModelInfo

FULL_FINE_TUNING = 5e-5
LORA_FACTOR = 10
REFERENCE_WIDTH = 2000
EXPONENTS = {"llama": 0.781, "qwen2": 0.0775, "qwen3": 0.0775}
"""How fast the best rate falls with the width, by architecture; measured for these families only."""


def suggest_learning_rate(info: BaseModelInfo) -> float | None:
    """Return the rate at which LoRA of this model is expected to learn best, or None where nobody has measured it.

    It holds for adapters on all linear layers and small batches, nearly whatever the rank. Widely used tools ship 1e-4 to 2e-4,
    which is slower and safer.

    Source: Thinking Machines, Tinker cookbook, `hyperparam_utils.py`: 5e-5 x 10 x (2000 / width) ** p.

    >>> from lora_core.models.catalogue import DEMO_MODEL
    >>> suggest_learning_rate(DEMO_MODEL)
    0.0013
    """
    exponent = EXPONENTS.get(info.model_type or "")
    if exponent is None or info.hidden_size is None:
        return None
    rate = FULL_FINE_TUNING * LORA_FACTOR * (REFERENCE_WIDTH / info.hidden_size) ** exponent
    return float(f"{rate:.1e}")
