"""What the studio's trainer adds to a step: measuring, a metric point, watching for requests. One row a step, no evaluation.

`plain` is transformers' Trainer around the same model, batches and loss; `SFTTrainer` is TRL with the same model, rows, batches
and number format, and its own loss. The steps of all sides take turns. What is added does not grow with the model, so the last
line sets it, measured on a tiny model where it can be told from noise, against a step of the 135M model.
"""

from pathlib import Path
from statistics import median

from benchmarks.harness.line import Line, Options, compare
from benchmarks.harness.turns import Piece, rounds, take_turns
from benchmarks.material.training_run import demo_model, make_run, tiny_model
from lora_core.schema.config import (
    AdapterConfig,
    CheckpointConfig,
    DataConfig,
    OptimisationConfig,
    TrainingConfig,
)

PACKAGES = ("torch", "transformers", "peft", "trl")
WARM_UP_STEPS = 4
GOAL = "<= 1.01"


def measure(options: Options) -> list[Line]:
    """Measure milliseconds a step."""
    tiny = _steps_of(options, tiny_model(options), options.pick(300, 40))
    lines = _lines("tiny model", tiny, goal="")
    if options.quick:
        return lines
    large = _steps_of(options, demo_model(), 30)
    added = median(_ms(ours) - _ms(plain) for ours, plain in zip(tiny["studio"], tiny["plain"], strict=True))
    step = median(map(_ms, large["plain"]))
    arithmetic = Line(
        "135M: step of `plain` and what is added on the tiny model",
        step + added,
        step,
        1 + added / step,
        "ms",
        GOAL,
        f"{added:.2f} ms added a step",
    )
    return [*lines, *_lines("135M", large, GOAL), arithmetic]


def _steps_of(options: Options, model: Path, steps: int) -> dict[str, list[Piece]]:
    config = TrainingConfig(
        data=DataConfig(packing=False, loss_on="all", validation_fraction=0.0),
        adapter=AdapterConfig(rank=16, alpha=32),
        optimisation=OptimisationConfig(
            micro_batch_size=1, accumulation_steps=1, epochs=100, max_steps=steps
        ),
        checkpoints=CheckpointConfig(every_steps=steps),
    )
    run = str(make_run(options.folder / f"run-{model.name}", model, config))
    sides = {
        "studio": ("benchmarks.sides.studio_trainer", run),
        "plain": ("benchmarks.sides.bare_trainer", "plain", run),
        "SFTTrainer": ("benchmarks.sides.bare_trainer", "recipe", run),
    }
    return rounds(take_turns(sides, options.folder), skip=WARM_UP_STEPS, size=1)


def _lines(what: str, steps: dict[str, list[Piece]], goal: str) -> list[Line]:
    ours, plain, sft = steps["studio"], steps["plain"], steps["SFTTrainer"]
    cpu = [[step.cpu_seconds * 1000 for step in side] for side in (ours, plain)]
    return [
        compare(f"{what}: a step", [*map(_ms, ours)], [*map(_ms, plain)], "ms", goal, "plain"),
        compare(f"{what}: CPU time of a step", *cpu, "ms", goal, "plain"),
        compare(
            f"{what}: a step, against TRL", [*map(_ms, ours)], [*map(_ms, sft)], "ms", goal, "SFTTrainer"
        ),
    ]


def _ms(step: Piece) -> float:
    return step.seconds * 1000
