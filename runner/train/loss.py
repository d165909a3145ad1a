"""The loss of learned positions only: head and cross entropy are not computed where nothing is learned. Knows no training.

Prompts are often most of a sequence, and the head is the largest matrix of a small model: on the CPU, TRL's head and loss, which
compute every position and also entropy and accuracy, took 45 % of a step (docs: PERFORMANCE, profile).
"""

import functools
import types
from typing import Any

import torch
import torch.nn.functional as F
from transformers import PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput

from runner.train.rows import IGNORED

CHUNK_ROWS = 256
"""Positions whose logits exist at a time: 256 x 150,000 tokens in float32 are 150 MB."""

SCALED_HEADS = (
    "final_logit_softcapping",
    "logit_scale",
    "logits_scaling",
    "output_multiplier",
    "lm_head_multiplier",
)
"""Config fields of models that change logits after the head (Gemma, Cohere, Granite, Falcon-H1 ...): their own head is run."""


def attach_loss(model: PreTrainedModel) -> None:
    """Let `model(..., targets=..., items=...)` return the loss: summed cross entropy of the targets / items.

    Without `targets` the model computes what it did before. The call goes through `forward`, so that wrappers around the model
    (PEFT, DDP) see it.
    """
    before = model.forward
    own_head = all(
        getattr(model.config.get_text_config(), field, None) in (None, 1.0) for field in SCALED_HEADS
    )

    @functools.wraps(type(model).forward)
    def forward(
        self: PreTrainedModel,
        *args: Any,
        targets: torch.Tensor | None = None,
        items: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        if targets is None:
            return before(*args, **kwargs)
        learned = targets != IGNORED
        items = learned.sum().clamp(min=1) if items is None else items
        if own_head:
            hidden = self.base_model(*args, use_cache=False, **kwargs).last_hidden_state[learned]
            head = self.get_output_embeddings()
            loss = _HeadLoss.apply(  # type: ignore[no-untyped-call]
                hidden.to(head.weight.dtype), head.weight, head.bias, targets[learned], items
            )
        else:
            logits = before(*args, use_cache=False, **kwargs).logits[learned].float()
            loss = F.cross_entropy(logits, targets[learned], reduction="sum") / items
        return CausalLMOutput(loss=loss)

    model.forward = types.MethodType(forward, model)


class _HeadLoss(torch.autograd.Function):
    """Frozen head and cross entropy in chunks of rows, the gradient formed on the way forward: logits never exist as a whole.

    The idea is that of Liger's fused linear cross entropy (Hsu et al. 2024, arXiv:2410.10989), in plain torch.
    """

    @staticmethod
    def forward(
        context: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        targets: torch.Tensor,
        items: torch.Tensor,
    ) -> torch.Tensor:
        """Return sum over rows of -log p(target) / items, in float32."""
        total = hidden.new_zeros((), dtype=torch.float32)
        gradient = torch.empty_like(hidden) if context.needs_input_grad[0] else None
        for start in range(0, len(hidden), CHUNK_ROWS):
            rows = slice(start, start + CHUNK_ROWS)
            logits = F.linear(hidden[rows], weight, bias).float()
            wanted = targets[rows, None]
            log_sum = logits.logsumexp(dim=1, keepdim=True)
            total += (log_sum - logits.gather(1, wanted)).sum()
            if gradient is not None:
                logits.sub_(log_sum).exp_()
                logits.scatter_add_(1, wanted, -torch.ones_like(wanted, dtype=logits.dtype))
                gradient[rows] = logits.to(weight.dtype) @ weight
        context.save_for_backward(gradient, items)
        return total / items

    @staticmethod
    def backward(context: Any, *upstream: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Scale what the forward pass kept."""
        gradient, items = context.saved_tensors
        return (gradient.float() * (upstream[0] / items)).to(gradient.dtype), None, None, None, None
