"""What transformers' own state of a checkpoint gets wrong or leaves out. Knows optimizers and random numbers, no run."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch.optim.lr_scheduler import LambdaLR

MPS_RANDOMNESS = "rng_mps.pth"
"""Random state of Apple's GPUs, which transformers does not keep."""

Group = dict[str, Any]


def settings_of(groups: Iterable[Group]) -> list[Group]:
    """Return what a config says of each parameter group of an optimizer: rate, weight decay, betas and the like."""
    return [{name: value for name, value in group.items() if name != "params"} for group in groups]


def apply_settings(groups: Iterable[Group], scheduler: LambdaLR, settings: Iterable[Group]) -> None:
    """Let a loaded optimizer and schedule go on under the settings of this run, not under those that were saved with them.

    Without this a fork with another learning rate would go on with the old one.
    """
    rates = []
    for group, wanted, share in zip(groups, settings, scheduler.lr_lambdas, strict=True):
        rate = wanted["initial_lr"]
        group.update(wanted, lr=rate * share(scheduler.last_epoch))
        rates.append(rate)
    scheduler.base_lrs = rates
    scheduler._last_lr = [
        rate * share(scheduler.last_epoch) for rate, share in zip(rates, scheduler.lr_lambdas, strict=True)
    ]


def save_mps_randomness(folder: Path) -> None:
    """Keep the random state of an Apple GPU, if there is one."""
    if torch.backends.mps.is_available():
        torch.save(torch.mps.get_rng_state(), folder / MPS_RANDOMNESS)


def load_mps_randomness(folder: Path) -> None:
    """Put it back."""
    if torch.backends.mps.is_available() and (folder / MPS_RANDOMNESS).exists():
        torch.mps.set_rng_state(torch.load(folder / MPS_RANDOMNESS, weights_only=True))
