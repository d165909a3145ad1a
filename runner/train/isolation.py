"""Finds out by trying whether rows packed into one sequence are hidden from each other in a model. Knows no data."""

import torch
from transformers import PreTrainedModel

ROW_TOKENS = 16
TOLERANCE = 1e-3
"""Share of the largest logit by which rounding may move a result; a row that sees another moves by far more."""


def rows_are_apart(base: PreTrainedModel, device: torch.device) -> bool:
    """Say whether the second row of a pack stays the same when the first one changes.

    Attention models pass. Models that carry a state along the sequence (Mamba and other linear attention) may not: they do not
    read where a row begins from `position_ids`.
    """
    highest = min(base.config.get_text_config().vocab_size, 200)
    second = torch.arange(ROW_TOKENS) % highest
    positions = torch.arange(ROW_TOKENS).repeat(2)[None].to(device)
    was_training = base.training
    base.eval()
    with torch.no_grad():
        logits = [
            base(
                input_ids=torch.cat([(torch.arange(ROW_TOKENS) * factor + 1) % highest, second])[None].to(
                    device
                ),
                position_ids=positions,
                use_cache=False,
            ).logits[0, ROW_TOKENS:]
            for factor in (3, 7)
        ]
    base.train(was_training)
    change = (logits[0] - logits[1]).abs().max()
    return bool(change <= TOLERANCE * logits[0].abs().max())
