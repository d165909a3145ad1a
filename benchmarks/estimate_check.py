"""The estimate of memory beside what runs then took: three sizes of model, several micro-batches, lengths and settings.

Ours is the middle of the estimate without the process itself, theirs the measured peak above a trainer that has loaded its
libraries only. Random weights; on a GPU, where there is one, the peak is what torch reserved.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from benchmarks.harness.line import Line, Options
from benchmarks.harness.memory import MEGABYTE
from benchmarks.harness.turns import Result, take_turns
from benchmarks.material.chat_rows import WORDS
from benchmarks.material.sized_model import LARGE, MEDIUM, SMALL, Sizes, build_sized_model
from benchmarks.material.training_run import make_run
from lora_core.estimate.architecture import architecture_of
from lora_core.estimate.cpu import cpu_has_bf16
from lora_core.estimate.memory import PROCESS, estimate_memory
from lora_core.estimate.rows import shape_of
from lora_core.models.local_folder import describe_folder
from lora_core.schema.config import TrainingConfig

PACKAGES = ("torch", "transformers", "peft", "trl", "bitsandbytes")
UPDATES = 2
ROWS_A_BATCH_TOKENS = 1.02
"""Rows are made a little longer than the limit, so that the cut makes them exactly that long."""


@dataclass(frozen=True)
class Case:
    """One run. `row_tokens` shorter than `max_length` lets rows share sequences."""

    name: str
    sizes: Sizes
    micro_batch: int
    max_length: int
    row_tokens: int = 0
    changes: dict[str, dict[str, Any]] = field(default_factory=dict)

    def config(self) -> TrainingConfig:
        """Return the config of the run."""
        sections: dict[str, dict[str, Any]] = {
            "data": {"max_length": self.max_length, "loss_on": "all", "validation_fraction": 0.0},
            "adapter": {"rank": 16, "alpha": 16},
            "optimisation": {
                "micro_batch_size": self.micro_batch,
                "accumulation_steps": 1,
                "max_steps": UPDATES,
                "epochs": 99,
            },
            "checkpoints": {"every_steps": UPDATES},
        }
        for section, values in self.changes.items():
            sections[section] = {**sections.get(section, {}), **values}
        return TrainingConfig.model_validate(sections)


CHECKPOINTING: dict[str, dict[str, Any]] = {"optimisation": {"gradient_checkpointing": True}}
CASES = (
    Case("9M, 8 x 512", SMALL, 8, 512),
    Case("9M, 8 x 512, float32", SMALL, 8, 512, changes={"model": {"dtype": "float32"}}),
    Case("9M, 16 x 256, rows packed in pairs", SMALL, 16, 256, row_tokens=120),
    Case("43M, 4 x 512", MEDIUM, 4, 512),
    Case("43M, 4 x 512, recomputed", MEDIUM, 4, 512, changes=CHECKPOINTING),
    Case("43M, 4 x 512, 4 bits", MEDIUM, 4, 512, changes={"model": {"quantisation": "4bit"}}),
    Case(
        "43M, 2 x 1024, queries and values only",
        MEDIUM,
        2,
        1024,
        changes={"adapter": {"targets": ["q_proj", "v_proj"]}},
    ),
    Case("135M, 1 x 512", LARGE, 1, 512),
    Case("135M, 4 x 512", LARGE, 4, 512),
    Case("135M, 4 x 512, recomputed", LARGE, 4, 512, changes=CHECKPOINTING),
    Case("135M, 2 x 512, float32", LARGE, 2, 512, changes={"model": {"dtype": "float32"}}),
)


def measure(options: Options) -> list[Line]:
    """Measure megabytes."""
    cases = CASES[:1] if options.quick else CASES
    return [_check(case, options) for case in cases]


def _check(case: Case, options: Options) -> Line:
    model = options.folder / f"model-{case.sizes.hidden_size}"
    if not model.exists():
        build_sized_model(model, case.sizes)
    config, name = case.config(), "".join(filter(str.isalnum, case.name))
    rows = partial(
        _rows,
        tokens=case.row_tokens or round(case.max_length * ROWS_A_BATCH_TOKENS),
        count=2 * case.micro_batch,
    )
    run = make_run(options.folder / name, model, config, rows)
    result = take_turns({case.name: ("benchmarks.sides.measured_trainer", str(run))}, options.folder)[
        case.name
    ]
    return _line(case, config, result, model)


def _line(case: Case, config: TrainingConfig, result: Result, model: Any) -> Line:
    facts = result.facts
    architecture = architecture_of(describe_folder(model))
    assert architecture is not None
    lengths = [float(case.row_tokens or case.max_length)] * case.micro_batch
    shape = shape_of(lengths, case.micro_batch, case.max_length, packing=config.data.packing)
    two = config.model.dtype == "auto" and (facts["device"] == "gpu" or cpu_has_bf16())
    estimate = estimate_memory(
        architecture, config, [shape], device=facts["device"], number_bytes=2 if two else 4
    )
    span, measured = estimate.without(PROCESS).times(1 / MEGABYTE), facts["peak_mb"]
    inside = "inside" if span.low <= measured <= span.high else "outside"
    note = (
        f"estimate {span.low:,.0f} to {span.high:,.0f}, measured {inside}; process alone {facts['base_mb']:,.0f}, "
        f"loaded +{facts['loaded_mb']:,.0f}"
    )
    return Line(case.name, span.middle, measured, span.middle / measured, "MB", "", note)


def _rows(
    count_tokens: Callable[[list[dict[str, str]]], int], *, tokens: int, count: int
) -> Iterator[dict[str, Any]]:
    """Chat rows of at least so many tokens, all alike in length."""

    def chat(words: int) -> list[dict[str, str]]:
        return [
            {"role": "user", "content": "go on"},
            {"role": "assistant", "content": " ".join(WORDS[n % len(WORDS)] for n in range(words))},
        ]

    words = 1
    while count_tokens(chat(words)) < tokens:
        words += max(1, (tokens - count_tokens(chat(words))) // 4)
    for _ in range(count):
        yield {"messages": chat(words)}
