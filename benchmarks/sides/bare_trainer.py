"""Trainers as one would write them without the studio, a piece a step. `python -m benchmarks.sides.bare_trainer KIND RUN_DIR`.

default: TRL's SFTTrainer with all its defaults. packed: what its documentation offers for speed, switched on by hand.
recipe: SFTTrainer with the spec's own recipe. plain: transformers' Trainer around the studio's model, batches and loss, no more.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import torch
import transformers
from peft import LoraConfig
from trl import SFTConfig, SFTTrainer

from benchmarks.harness.turns import Side
from lora_core.datasets.prepare import prepare
from lora_core.datasets.tokenizer import ChatTokenizer
from lora_core.schema.run import RunSpec
from runner.run_folder import RunFolder
from runner.train.hardware import choose_hardware
from runner.train.loss import attach_loss
from runner.train.model import add_adapter, load_base, load_tokenizer
from runner.train.rows import IGNORED, LENGTH_STEP, Collator, records

QUIET = {"report_to": "none", "disable_tqdm": True, "save_strategy": "no"}


class Turns(transformers.TrainerCallback):
    """Ends a piece behind each optimizer step."""

    def __init__(self, side: Side) -> None:
        self.tokens_so_far: Callable[[], int] = lambda: 0
        self._side = side
        self._tokens = 0

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Let the others have their turn."""
        seen = self.tokens_so_far()
        tokens, self._tokens = seen - self._tokens, seen
        self._side.mark(tokens)


class PlainTrainer(transformers.Trainer):
    """The studio's model and loss in transformers' own loop."""

    def compute_loss(
        self, model: torch.nn.Module, inputs: dict[str, Any], *_: Any, **__: Any
    ) -> torch.Tensor:
        """Return the mean loss over the batch's targets."""
        kept = {name: inputs[name] for name in ("input_ids", "targets", "position_ids")}
        return model(**kept, items=(inputs["targets"] != IGNORED).sum()).loss


def main() -> None:
    """Build the trainer and let it run."""
    kind, root = sys.argv[1], Path(sys.argv[2])
    side = Side()
    spec = RunFolder(root).spec()
    torch.set_num_threads(spec.threads or 1)
    turns = Turns(side)
    KINDS[kind](spec, root, turns).train()
    side.finish()


def default(spec: RunSpec, root: Path, turns: Turns) -> transformers.Trainer:
    """All defaults of TRL; only the adapter's rank, its layers and the number of steps are given."""
    arguments = SFTConfig(str(root / "default"), max_steps=_steps(spec), use_cpu=_on_cpu(), **QUIET)
    return _sft(spec, arguments, turns)


def packed(spec: RunSpec, root: Path, turns: Turns) -> transformers.Trainer:
    """Packing, weights in bfloat16, no recomputation. Without flash attention TRL lets packed rows see each other."""
    hardware = choose_hardware(spec.config.model, spec.threads)
    batch = {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 2}  # sequences, not rows
    arguments = SFTConfig(
        str(root / "packed"),
        packing=True,
        max_length=spec.config.data.max_length,
        **{**_recipe(spec, hardware.dtype), **batch},
        **QUIET,
    )
    return _sft(spec, arguments, turns)


def recipe(spec: RunSpec, root: Path, turns: Turns) -> transformers.Trainer:
    """The spec's model, number format, batches and optimizer, in TRL's trainer."""
    hardware = choose_hardware(spec.config.model, spec.threads)
    arguments = SFTConfig(
        str(root / "recipe"),
        max_length=spec.config.data.max_length,
        pad_to_multiple_of=LENGTH_STEP,
        **_recipe(spec, hardware.dtype),
        **QUIET,
    )
    return _sft(spec, arguments, turns)


def plain(spec: RunSpec, root: Path, turns: Turns) -> transformers.Trainer:
    """The studio's computation without its measuring, logging, watching, evaluating and saving."""
    config, folder = spec.config, Path(spec.model_path)
    hardware = choose_hardware(config.model, spec.threads)
    rows = prepare(
        spec.train, None, config.data, seed=config.optimisation.seed, tokenizer=ChatTokenizer.load(folder)
    ).train
    model = add_adapter(
        load_base(folder, config.model, hardware), config.adapter, seed=config.optimisation.seed, reference=""
    )
    attach_loss(model.get_base_model())
    options = _recipe(spec, hardware.dtype)
    del options["model_init_kwargs"]
    arguments = transformers.TrainingArguments(
        str(root / "plain"), remove_unused_columns=False, logging_steps=10, **options, **QUIET
    )
    tokenizer = load_tokenizer(folder)
    return PlainTrainer(
        model, arguments, Collator(tokenizer.pad_token_id or 0), records(rows), callbacks=[turns]
    )


def _sft(spec: RunSpec, arguments: SFTConfig, turns: Turns) -> SFTTrainer:
    adapter = spec.config.adapter
    trainer = SFTTrainer(
        spec.model_path,
        arguments,
        train_dataset=datasets.Dataset.from_json(
            spec.train.path, cache_dir=str(Path(arguments.output_dir) / "cache")
        ),
        peft_config=LoraConfig(
            r=adapter.rank, lora_alpha=adapter.alpha, target_modules="all-linear", task_type="CAUSAL_LM"
        ),
        callbacks=[turns],
    )
    turns.tokens_so_far = lambda: int(trainer._total_train_tokens)
    return trainer


def _recipe(spec: RunSpec, dtype: torch.dtype) -> dict[str, Any]:
    wanted = spec.config.optimisation
    return {
        "model_init_kwargs": {"dtype": dtype},
        "bf16": False,
        "gradient_checkpointing": False,
        "per_device_train_batch_size": wanted.micro_batch_size,
        "gradient_accumulation_steps": wanted.accumulation_steps,
        "learning_rate": wanted.learning_rate,
        "lr_scheduler_type": "cosine",
        "optim": wanted.optimizer,
        "max_steps": _steps(spec),
        "seed": wanted.seed,
        "data_seed": wanted.seed,
        "dataloader_pin_memory": False,
        "use_cpu": _on_cpu(),
    }


def _steps(spec: RunSpec) -> int:
    steps = spec.config.optimisation.max_steps
    assert steps is not None
    return steps


def _on_cpu() -> bool:
    return not torch.cuda.is_available()


KINDS = {"default": default, "packed": packed, "recipe": recipe, "plain": plain}

if __name__ == "__main__":
    main()
