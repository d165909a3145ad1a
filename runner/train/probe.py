"""Computes the largest micro-batch once before training begins, so that a lack of memory shows in the first minute.

Leaves no trace: gradients are dropped and the random state is put back, so losses are those of a run without it.
"""

from collections.abc import Sequence
from typing import Any

import datasets
import torch


def longest_rows(rows: datasets.Dataset, count: int) -> list[dict[str, Any]]:
    """Return the rows with most tokens, longest first: no micro-batch of that many rows needs more memory."""
    lengths = [len(tokens) for tokens in rows["input_ids"]]
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])[:count]
    return [rows[row] for row in order]


def probe_memory(trainer: Any, rows: Sequence[dict[str, Any]]) -> int:
    """Compute loss and gradients of these rows as one micro-batch.

    Args:
        trainer: A StudioTrainer whose model is on its device.

    Returns:
        Tokens of the batch, padding included.

    Raises:
        RuntimeError, MemoryError: It does not fit (`is_out_of_memory` tells).
    """
    batch = trainer.collate(rows)
    device, model = trainer.args.device, trainer.model
    inputs = {name: batch[name].to(device) for name in ("input_ids", "position_ids", "targets")}
    one = torch.ones((), dtype=torch.long, device=device)
    if trainer.args.activation_checkpointing:  # `train` would switch it on only afterwards
        model.activation_checkpointing_enable()
    was_training = model.training
    cards = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cards):
        model.train()
        with trainer.compute_loss_context_manager():
            loss = model(**inputs, items=one).loss
        loss.backward()
    model.zero_grad(set_to_none=True)
    model.train(was_training)
    return int(batch["input_ids"].numel())
