"""What may be promised when training goes on from a checkpoint: equal to the last bit, near it, or refused. Pure words."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from lora_core.errors import ConfigError
from lora_core.schema.config import TrainingConfig
from lora_core.schema.continuing import broken_by
from runner.train.checkpoint_state import CheckpointState
from runner.train.environment import Environment

COMPUTING = ("torch", "transformers", "trl", "peft", "accelerate", "bitsandbytes", "cuda")
"""Libraries whose version may change a result. Tokenizers are not among them: the rows themselves are compared."""

STEERING = ("learning_rate", "scheduler", "warmup_ratio", "weight_decay", "max_grad_norm")
"""Fields of the optimisation that a person may change from a checkpoint on, and that change every later loss."""

MEASURED = (
    "Expect losses to agree to about 5 digits: on a small model other CPU instructions put them 3e-7 apart after 200 updates;"
    " other devices, libraries and large models were not measured."
)
NOT_MEASURED = "Half precision holds 2 to 3 digits of a number, so expect losses to agree to about 2; this was not measured."


class Weight(IntEnum):
    """How much a difference changes later losses, in rising order."""

    ROUNDING = 1
    DRAWS = 2
    STEERED = 3


@dataclass(frozen=True)
class Difference:
    """One fact that is not as it was when the checkpoint was saved."""

    weight: Weight
    words: str


@dataclass(frozen=True)
class Promise:
    """What later losses are, compared with a run that was never stopped.

    Attributes:
        step: Where training goes on.
        differences: What is not as it was, in words; empty where every bit is promised.
        words: All of it as a person reads it.
    """

    step: int
    differences: tuple[str, ...]
    words: str

    @property
    def exact(self) -> bool:
        """Whether every later loss equals that of a run that was never stopped, bit for bit."""
        return not self.differences


def require_same_rows(before: CheckpointState, config: TrainingConfig, fingerprint: str) -> None:
    """Refuse to go on with other data, model, adapter or batch.

    Args:
        fingerprint: Of the tokenised rows of this run.

    Raises:
        ConfigError: It would be another run.
    """
    if before.fingerprint != fingerprint:
        raise ConfigError(
            "The data set gives other rows than when the checkpoint was saved, so training cannot go on from it.",
            "Start a new job, or bring back the data set and its settings.",
        )
    if changed := broken_by(before.config, config):
        raise ConfigError(
            f"Training cannot go on from this checkpoint with another {', '.join(changed)}.",
            "Start a new job instead.",
        )


def promise(
    before: CheckpointState, environment: Environment, config: TrainingConfig, total_steps: int
) -> Promise:
    """Compare a checkpoint with the run that is to go on from it.

    Args:
        environment: Of this process.
        config: Of this run.
        total_steps: Updates that this run has.

    Raises:
        ConfigError: The base model's weights are others, or nothing is left to train.
    """
    then = before.environment
    if then.base_weights not in (None, environment.base_weights):
        raise ConfigError(
            "The base model has other weights than when the checkpoint was saved, so the adapter does not belong to it.",
            "Fetch the model's earlier revision again, or start a new job.",
        )
    if before.step > total_steps:
        raise ConfigError(
            f"The checkpoint is of step {before.step}, but this config ends after {total_steps} updates.",
            "Raise epochs or the limit of updates, or choose an earlier checkpoint.",
        )
    found = [
        *_steered(before, config, total_steps),
        *_drawn_otherwise(before, environment, config),
        *_rounded_otherwise(then, environment, before.config, config),
    ]
    return Promise(before.step, tuple(each.words for each in found), _words(before.step, found, environment))


def _steered(before: CheckpointState, config: TrainingConfig, total_steps: int) -> Iterator[Difference]:
    old, new = before.config.optimisation, config.optimisation
    for name in STEERING:
        if (was := getattr(old, name)) != (now := getattr(new, name)):
            yield Difference(Weight.STEERED, f"{name.replace('_', ' ')} {was} → {now}")
    if before.total_steps != total_steps and new.scheduler != "constant":
        yield Difference(
            Weight.STEERED, f"{before.total_steps} → {total_steps} updates, which the learning rate follows"
        )
    if before.config.evaluation.max_rows != config.evaluation.max_rows:
        yield Difference(Weight.STEERED, "other validation rows")


def _drawn_otherwise(
    before: CheckpointState, now: Environment, config: TrainingConfig
) -> Iterator[Difference]:
    """What lets dropout draw other numbers; without dropout the sums are only made in another order."""
    then, weight = before.environment, Weight.DRAWS if config.adapter.dropout else Weight.ROUNDING
    old, new = before.config.optimisation.micro_batch_size, config.optimisation.micro_batch_size
    if old != new:
        yield Difference(weight, f"micro-batch {old} → {new}")
    if (before.config.data.workers or 0) != (config.data.workers or 0):
        yield Difference(
            weight, f"data workers {before.config.data.workers or 0} → {config.data.workers or 0}"
        )
    yield from _changed(
        then,
        now,
        weight,
        packed_tokens=lambda tokens: f"packs of {tokens} tokens" if tokens else "no packing",
    )
    yield from _changed(then, now, weight, device=str)


def _rounded_otherwise(
    then: Environment, now: Environment, old: TrainingConfig, new: TrainingConfig
) -> Iterator[Difference]:
    rounding = Weight.ROUNDING
    yield from _changed(then, now, rounding, dtype=str, device_name=str, system=str)
    if now.device == "cpu":
        yield from _changed(
            then,
            now,
            rounding,
            threads=lambda threads: f"{threads} threads",
            cpu_capability=lambda name: f"{name} instructions",
        )
    else:
        yield from _changed(
            then, now, rounding, float32_precision=lambda name: f"{name} precision of float32"
        )
        yield Difference(rounding, f"on {now.device} sums are made in an order that no run repeats")
    yield from _changed(
        then, now, rounding, deterministic=lambda on: "deterministic algorithms" if on else "any algorithms"
    )
    if None not in (then.base_config, now.base_config) and then.base_config != now.base_config:
        yield Difference(Weight.STEERED, "another config.json of the base model")
    if old.optimisation.gradient_checkpointing != new.optimisation.gradient_checkpointing:
        yield Difference(rounding, "gradient checkpointing switched")
    for name in COMPUTING:
        was, is_now = then.libraries.get(name), now.libraries.get(name)
        if was and was != is_now:
            yield Difference(rounding, f"{name} {was} → {is_now or 'none'}")
    unknown = [name for name in type(then).model_fields if getattr(then, name) is None]
    if unknown:
        yield Difference(rounding, f"the checkpoint does not say its {', '.join(unknown).replace('_', ' ')}")


def _changed(
    then: Environment, now: Environment, weight: Weight, **facts: Callable[[Any], str]
) -> Iterator[Difference]:
    """Yield what differs between two environments, each fact said by its function; what is not known is passed over."""
    for name, say in facts.items():
        was, is_now = getattr(then, name), getattr(now, name)
        if was is not None and was != is_now:
            yield Difference(weight, f"{say(was)} → {say(is_now)}")


def _words(step: int, found: list[Difference], now: Environment) -> str:
    if not found:
        return (
            f"Going on from step {step} exactly: device, libraries, base weights, rows and settings are as they were, so every"
            " later loss equals that of a run that was never stopped, bit for bit."
        )
    return (
        f"Going on from step {step}, but not bit for bit: {'; '.join(each.words for each in found)}. "
        + _tolerance(max(each.weight for each in found), now)
    )


def _tolerance(weight: Weight, now: Environment) -> str:
    """Say how far later losses may be from those of a run that was never stopped, and how that is known."""
    if weight is Weight.STEERED:
        return "Later losses follow the new settings; there is no earlier run to compare them with."
    if weight is Weight.DRAWS:
        return "Dropout draws other numbers from here on, so losses differ as between two seeds: by noise, not in their course."
    return MEASURED if now.dtype == "float32" else NOT_MEASURED
