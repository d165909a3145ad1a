"""Supervised fine-tuning of one run folder, top to bottom: data, model, loop, adapter."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from lora_core.datasets.prepare import prepare
from lora_core.datasets.tokenise import TokenisedRow
from lora_core.datasets.tokenizer import ChatTokenizer
from lora_core.errors import ModelError, NotAllowed
from lora_core.estimate.plan import plan_run
from lora_core.monitor.alerts import Alert, AlertWatch
from lora_core.schema.base import utc_now
from lora_core.schema.run import ExitCode, RunSpec
from runner.run_folder import RunFolder
from runner.train import saving
from runner.train.curve import Curve
from runner.train.environment import environment_of
from runner.train.exactness import Promise, promise, require_same_rows
from runner.train.hardware import choose_hardware
from runner.train.isolation import rows_are_apart
from runner.train.journal import Journal
from runner.train.model import add_adapter, load_base, load_tokenizer, trainable_parameters
from runner.train.need import MemoryNeed
from runner.train.probe import longest_rows, probe_memory
from runner.train.progress import StepMeter
from runner.train.rows import Collator, records
from runner.train.run import Run
from runner.train.trainer import StudioTrainer
from runner.train.watcher import Watcher

FEW_STEPS = 20
"""Below this the person is told: an adapter hardly learns in so few updates."""


@dataclass(frozen=True)
class Rows:
    """What is learned from, and what is measured on.

    Args:
        template_time: The time that chat templates were told; some write the date into each conversation.
    """

    train: Sequence[TokenisedRow]
    validation: Sequence[TokenisedRow]
    fingerprint: str
    template_time: datetime
    tokenizer: ChatTokenizer


def train(
    folder: RunFolder, spec: RunSpec, journal: Journal, watcher: Watcher, need: MemoryNeed | None = None
) -> ExitCode:
    """Train the adapter that a spec describes, or go on from its checkpoint.

    Args:
        need: Told what memory depends on, so that it can explain a lack of it.

    Returns:
        DONE with `adapter/` written, or PAUSED or RELEASED with a checkpoint (none if it was asked for before the first step).

    Raises:
        StopRequested: Asked to stop before the first step.
        ConfigError, DataError, ModelError: The person's to mend.
        DiskFull: No room for what must be kept.
    """
    config, base_folder = spec.config, Path(spec.model_path)
    checkpoint = Path(spec.resume_from) if spec.resume_from else None
    earlier = saving.read_checkpoint(checkpoint) if checkpoint else None
    hardware = choose_hardware(config.model, spec.threads)
    need = need or MemoryNeed()
    need.hardware = hardware
    watcher.device = hardware.device
    journal.log(f"Computing on {hardware.describe()}.")

    if not (base_folder / "config.json").is_file():
        raise ModelError(f"There is no base model in {base_folder}.", "Fetch the model again.")

    journal.phase("preparing_data", progress=0.0)
    rows = _prepare_rows(spec, base_folder, earlier.template_time if earlier else utc_now(), journal)
    if earlier:
        require_same_rows(earlier, config, rows.fingerprint)
    need.lengths = [len(row.input_ids) for row in rows.train]
    watcher.check()

    journal.phase("loading_model")
    tokenizer = load_tokenizer(base_folder)
    base = load_base(base_folder, config.model, hardware)
    watcher.check()
    model = add_adapter(
        base,
        config.adapter,
        seed=config.optimisation.seed,
        reference=spec.model_reference or config.model.base,
    )
    journal.log(f"The adapter has {trainable_parameters(model):,} weights.")

    capacity = config.data.max_length if config.data.packing else None
    if capacity and not rows_are_apart(base, hardware.device):
        journal.log("This model lets packed rows see each other: going on without packing.", "warning")
        capacity = None
    train_records = records(rows.train)
    validation_records = records(rows.validation) if rows.validation else None
    plan = plan_run(config, len(train_records), can_evaluate=validation_records is not None)
    journal.log(
        f"{len(rows.train)} rows, {len(rows.validation)} validation rows; {plan.total_steps} updates, "
        f"{plan.steps_per_epoch} an epoch."
    )
    if plan.total_steps < FEW_STEPS:
        journal.log(
            f"Only {plan.total_steps} updates: take a smaller batch or more epochs to learn more.", "warning"
        )

    environment = environment_of(hardware, base_folder, capacity)
    promised = promise(earlier, environment, config, plan.total_steps) if earlier else None
    if promised:
        _going_on(promised, journal)
    run = Run(
        folder=folder,
        config=config,
        reference=spec.model_reference or config.model.base,
        plan=plan,
        hardware=hardware,
        journal=journal,
        watcher=watcher,
        meter=StepMeter(plan.total_steps),
        alerts=AlertWatch(config.alerts),
        curve=Curve(
            folder.root / saving.METRICS_FILE, checkpoint / saving.METRICS_FILE if checkpoint else None
        ),
        fingerprint=rows.fingerprint,
        template_time=rows.template_time,
        environment=environment,
        promise=promised,
    )
    collator = Collator(rows.tokenizer.pad_token_id, capacity)
    trainer = StudioTrainer(run, model, train_records, validation_records, tokenizer, collator)
    if checkpoint and earlier:
        trainer.load_state(checkpoint, earlier)
    journal.phase("checking_memory")
    probed = probe_memory(trainer, longest_rows(train_records, config.optimisation.micro_batch_size))
    journal.log(f"The largest micro-batch ({probed:,} tokens) fits into memory.")
    journal.phase("training", start_step=run.start_step, total_steps=plan.total_steps)
    watcher.check()
    if run.start_step < plan.total_steps:
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if run.halt:
        return _halted(run, run.halt)
    if watcher.stopping and max(run.start_step, trainer.state.global_step) < plan.total_steps:
        return ExitCode.PAUSED if watcher.stopping == "pause" else ExitCode.RELEASED
    _finish(run, trainer, base_folder, spec, rows.tokenizer)
    return ExitCode.DONE


def _halted(run: Run, alert: Alert) -> ExitCode:
    """End as the rule that fired says.

    Raises:
        NotAllowed: It says `stop`: the job fails, and its checkpoints stay.
    """
    if alert.action == "stop":
        raise NotAllowed(f"Stopped by an alert at step {alert.step}: {alert.message}", alert.advice)
    run.journal.log(f"Paused by an alert at step {alert.step}: {alert.message}", "warning")
    run.journal.result(reason=f"Paused by an alert: {alert.message}", step=alert.step, **_resumed(run))
    return ExitCode.PAUSED


def _prepare_rows(spec: RunSpec, base: Path, template_time: datetime, journal: Journal) -> Rows:
    """Turn the data set into tokens, the same way the audit page does."""
    data, seed = spec.config.data, spec.config.optimisation.seed
    tokenizer = ChatTokenizer.load(base, now=template_time)
    prepared = prepare(
        spec.train,
        spec.validation,
        data,
        seed=seed,
        tokenizer=tokenizer,
        progress=lambda share: journal.phase("preparing_data", progress=round(share, 3)),
    )
    if prepared.skipped:
        journal.log(
            f"{prepared.skipped} rows are left out: nothing of them is learned within {data.max_length} tokens.",
            "warning",
        )
    if prepared.truncated:
        journal.log(
            f"{prepared.truncated} rows are longer than {data.max_length} tokens and were cut at the end.",
            "warning",
        )
    if prepared.leaked:
        journal.log(
            f"{prepared.leaked} validation rows are also learned from: the validation loss looks better than it is.",
            "warning",
        )
    validation = _drawn(prepared.validation, spec.config.evaluation.max_rows, seed)
    return Rows(prepared.train, validation, prepared.fingerprint, template_time, tokenizer)


def _drawn(rows: Sequence[TokenisedRow], most: int | None, seed: int) -> Sequence[TokenisedRow]:
    """At most so many rows, by chance: files are often sorted. Their order is kept."""
    if most is None or most >= len(rows):
        return rows
    return [rows[number] for number in sorted(random.Random(seed).sample(range(len(rows)), most))]


def _going_on(promised: Promise, journal: Journal) -> None:
    """Say where training goes on and what that means for its losses."""
    journal.phase("resuming", step=promised.step, exact=promised.exact, message=promised.words)
    journal.log(promised.words)


def _resumed(run: Run) -> dict[str, Any]:
    """What a result says of the checkpoint it came from."""
    if run.promise is None:
        return {}
    exact = run.promise.exact
    return {
        "resumed_from": run.promise.step,
        "resumed_exactly": exact,
        "resumed_with": run.promise.differences,
    }


def _finish(run: Run, trainer: StudioTrainer, base: Path, spec: RunSpec, tokenizer: ChatTokenizer) -> None:
    """Write the adapter folder, from the best evaluation if the config says so, and the result."""
    run.journal.phase("saving")
    best = run.best if run.config.evaluation.keep_best else None
    step = best.step if best else run.plan.total_steps
    if run.best and run.eval_loss and run.best.step != run.plan.total_steps and best:
        run.journal.log(
            f"Step {step} was the best on the validation rows ({run.best.eval_loss:.4f}): its adapter is kept."
        )
    loss = best.eval_loss if best else run.eval_loss
    facts = {
        "job": spec.job_name,
        "data": spec.train.name or "-",
        "updates": f"{step} of {run.plan.total_steps}",
        "validation loss": f"{loss:.4f}" if loss is not None and math.isfinite(loss) else "-",
        "rank / alpha": f"{run.config.adapter.rank} / {run.config.adapter.alpha}",
        "learning rate": run.config.optimisation.learning_rate,
    }
    digest = saving.write_final_adapter(
        run.folder.adapter,
        trainer.adapter(),
        best=run.best_file if best else None,
        base=base,
        chat_template=tokenizer.chat_template,
        config=run.config,
        card={"base_model": run.reference, "title": spec.job_name, "facts": facts},
        metrics=run.curve.file,
    )
    run.journal.result(
        adapter=str(run.folder.adapter),
        adapter_sha256=digest,
        step=run.plan.total_steps,
        adapter_step=step,
        eval_loss=run.eval_loss,
        best_step=run.best.step if run.best else None,
        best_eval_loss=run.best.eval_loss if run.best else None,
        train_tokens=run.meter.tokens_seen,
        **_resumed(run),
    )
