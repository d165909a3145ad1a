"""Training speed on 256 chat rows of spread length (40 to 500 tokens): real tokens a second, padding not counted.

Loss on every token for all. Ours takes eight rows an update, as TRL's default does, and lets them share sequences of at most 768
tokens; TRL's packing takes two sequences of 768 tokens. Tokens an update are in the notes.
Updates take turns; the first of each side is left out.
"""

from statistics import mean

from benchmarks.harness.line import Line, Options, compare
from benchmarks.harness.turns import Result, rounds, take_turns
from benchmarks.material.training_run import demo_model, make_run, tiny_model
from lora_core.schema.config import (
    AdapterConfig,
    CheckpointConfig,
    DataConfig,
    OptimisationConfig,
    TrainingConfig,
)

PACKAGES = ("torch", "transformers", "peft", "trl")
UPDATES_PER_ROUND = 2
ROUNDS = 4


def measure(options: Options) -> list[Line]:
    """Measure real tokens a second, and peak memory."""
    model = tiny_model(options) if options.quick else demo_model()
    updates = 1 + ROUNDS * UPDATES_PER_ROUND
    config = TrainingConfig(
        data=DataConfig(max_length=768, loss_on="all", validation_fraction=0.0),
        adapter=AdapterConfig(rank=16, alpha=32),
        optimisation=OptimisationConfig(micro_batch_size=8, accumulation_steps=1, max_steps=updates),
        checkpoints=CheckpointConfig(every_steps=updates),
    )
    run = str(make_run(options.folder / "run", model, config))
    sides = {
        "studio": ("benchmarks.sides.studio_trainer", run),
        "default": ("benchmarks.sides.bare_trainer", "default", run),
        "packed": ("benchmarks.sides.bare_trainer", "packed", run),
    }
    results = take_turns(sides, options.folder)
    done = rounds(results, skip=1, size=UPDATES_PER_ROUND)
    speed = {name: [piece.amount / piece.seconds for piece in pieces] for name, pieces in done.items()}
    thrift = {name: [piece.amount / piece.cpu_seconds for piece in pieces] for name, pieces in done.items()}
    peak = {name: [result.peak_mb] for name, result in results.items()}
    notes = {
        "default": "TRL's defaults",
        "packed": "TRL, bfloat16 throughout, packing, no recomputation",
    }
    own = _tokens_per_update(results["studio"])
    lines = []
    for peer, what in notes.items():
        note = f"{what}; tokens an update: ours {own:.0f}, theirs {_tokens_per_update(results[peer]):.0f}"
        goal = ">= 3" if peer == "default" and not options.quick else ""
        lines += [
            compare(f"speed, against {peer}", speed["studio"], speed[peer], "tokens/s", goal, note),
            compare(f"by CPU time, against {peer}", thrift["studio"], thrift[peer], "tokens/CPU s", "", what),
            compare(f"peak memory, against {peer}", peak["studio"], peak[peer], "MB", "<= 1", what),
        ]
    return lines


def _tokens_per_update(result: Result) -> float:
    return mean(piece.amount for piece in result.pieces[1:])
