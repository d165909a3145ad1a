"""Changes to a config that save memory, in words, and the smallest of them that makes a run fit. Knows no formula of memory."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from lora_core.schema.config import TrainingConfig

LENGTH_UNIT = 64
LEAST_LENGTH = 128

Fits = Callable[[TrainingConfig], bool]


@dataclass(frozen=True)
class Change:
    """A config that needs less, and what is different in it, one phrase a setting."""

    config: TrainingConfig
    words: tuple[str, ...]

    @property
    def text(self) -> str:
        """All of it in one phrase."""
        return "; ".join(self.words)


def halved(config: TrainingConfig) -> TrainingConfig | None:
    """Return a config that needs about half the memory for activations and updates with as many rows as before.

    Rows stay in the same order; an odd micro-batch cannot be halved without changing the batch, so it becomes 1 with as much
    accumulation as is needed.

    Returns:
        None if there is nothing to halve.

    >>> tried = halved(TrainingConfig())
    >>> tried.optimisation.micro_batch_size, tried.optimisation.accumulation_steps
    (2, 8)
    """
    micro, accumulation = config.optimisation.micro_batch_size, config.optimisation.accumulation_steps
    if micro == 1:
        return None
    half = micro // 2 if micro % 2 == 0 else 1
    return _with(
        config, "optimisation", micro_batch_size=half, accumulation_steps=accumulation * micro // half
    )


def difference(before: TrainingConfig, after: TrainingConfig) -> str:
    """Say how the batch is cut differently, for a person.

    >>> difference(TrainingConfig(), halved(TrainingConfig()))
    'micro-batch 4 → 2, accumulation 4 → 8, still 16 rows an update'
    """
    old, new = before.optimisation, after.optimisation
    return (
        f"micro-batch {old.micro_batch_size} → {new.micro_batch_size}, "
        f"accumulation {old.accumulation_steps} → {new.accumulation_steps}, "
        f"still {new.micro_batch_size * new.accumulation_steps} rows an update"
    )


def smallest_change(
    config: TrainingConfig, fits: Fits, few_longer: tuple[int, float] | None = None
) -> Change | None:
    """Return the first change with which a run fits: one setting, else two, else all.

    In this order, by what they cost: recompute activations (a third more time, same result), halve the micro-batch once or more
    (same batch), cut the few longest rows, 8-bit optimizer state, 4-bit base weights.

    Args:
        fits: Judges a config.
        few_longer: A length that only few rows exceed, and the share of rows that do; None for no advice on length.

    Returns:
        None where not even all of them together are enough.
    """
    single = list(_singles(config, few_longer))
    steps = [step for step, _ in single]
    for names in [(step,) for step in steps] + list(combinations(steps, 2)) + [tuple(steps)]:
        found = _applied(config, names, few_longer, fits)
        if found is not None:
            return found
    return None


def _applied(
    config: TrainingConfig, names: tuple[str, ...], few_longer: tuple[int, float] | None, fits: Fits
) -> Change | None:
    """Make these changes; the micro-batch is halved as often as it takes."""
    changed, words = config, []
    for step, (after, said) in ((s, c) for s, c in _singles(config, few_longer) if s in names):
        changed = _merged(changed, after, config)
        if step != "micro-batch":
            words.append(said)
    while True:
        cut = changed.optimisation.micro_batch_size != config.optimisation.micro_batch_size
        if fits(changed):
            return Change(changed, (*words, difference(config, changed)) if cut else tuple(words))
        smaller = halved(changed) if "micro-batch" in names else None
        if smaller is None:
            return None
        changed = smaller


def _singles(
    config: TrainingConfig, few_longer: tuple[int, float] | None
) -> Iterator[tuple[str, tuple[TrainingConfig, str]]]:
    """Each change that can be made at all: its name, the config with it alone, and what it says."""
    wanted = config.optimisation
    if not wanted.gradient_checkpointing:
        after = _with(config, "optimisation", gradient_checkpointing=True)
        yield "checkpointing", (after, "gradient checkpointing off → on")
    smaller = halved(config)
    if smaller is not None:
        yield "micro-batch", (smaller, difference(config, smaller))
    if few_longer is not None:
        length, share = max(LEAST_LENGTH, -(-few_longer[0] // LENGTH_UNIT) * LENGTH_UNIT), few_longer[1]
        if length < config.data.max_length:
            cut = f"longest row {config.data.max_length:,} → {length:,} tokens ({share:.1%} of the rows are longer)"
            yield "length", (_with(config, "data", max_length=length), cut)
    if "8bit" not in wanted.optimizer:
        after = _with(config, "optimisation", optimizer="adamw_8bit")
        yield "optimizer", (after, f"optimizer {wanted.optimizer} → adamw_8bit")
    if config.model.quantisation != "4bit":
        after = _with(config, "model", quantisation="4bit")
        yield "4 bits", (after, f"quantisation {config.model.quantisation} → 4bit")


def _merged(changed: TrainingConfig, after: TrainingConfig, before: TrainingConfig) -> TrainingConfig:
    """Put what differs between `before` and `after` into `changed`."""
    for section in ("model", "data", "optimisation"):
        old, new = getattr(before, section), getattr(after, section)
        different = {
            name: getattr(new, name)
            for name in type(new).model_fields
            if getattr(new, name) != getattr(old, name)
        }
        if different:
            changed = _with(changed, section, **different)
    return changed


def _with(config: TrainingConfig, section: str, **values: Any) -> TrainingConfig:
    return config.model_copy(update={section: getattr(config, section).model_copy(update=values)})
