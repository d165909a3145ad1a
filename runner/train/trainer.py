"""TRL's SFTTrainer with this studio's data, loss, measurements, evaluation and checkpoints. Knows no run folder layout but paths.

What stays TRL's and transformers': the loop, accumulation, optimizer, schedule, mixed precision, distribution by accelerate, and
skipping to where a checkpoint stopped.
"""

import math
import shutil
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import peft
import torch
from torch.optim.lr_scheduler import LambdaLR, LRScheduler
from transformers import (
    DefaultFlowCallback,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from trl.trainer.sft_trainer import SFTTrainer

from lora_core.errors import DiskFull
from lora_core.schema.metrics import MetricKind
from runner.train import engine, saving
from runner.train.arguments import arguments_of
from runner.train.checkpoint_state import Best, CheckpointState
from runner.train.hardware import gpu_readings
from runner.train.loss import attach_loss
from runner.train.model import keep_adapter_precise
from runner.train.progress import perplexity
from runner.train.rows import IGNORED, Collator
from runner.train.run import Run
from runner.train.schedule import share_of_rate

PROGRESS_SECONDS = 2.0
"""Least time between two words on how far an evaluation is."""


class StudioTrainer(SFTTrainer):
    """Trains one adapter as a Run says.

    Args:
        model: PEFT model with one adapter named `default`.
        train: Rows as `rows.records` makes them.
        validation: The same, or None.
        tokenizer: For the ids of special tokens; no text is tokenised here.
        collator: Makes batches for training and evaluation.
    """

    loss_is_scaled_for_ga = True  # type: ignore[assignment]  # `compute_loss` divides by the targets of the whole update

    def __init__(
        self,
        run: Run,
        model: peft.PeftModel,
        train: datasets.Dataset,
        validation: datasets.Dataset | None,
        tokenizer: PreTrainedTokenizerBase,
        collator: Collator,
    ) -> None:
        self.run = run
        self.collate = collator
        self.validation = validation
        super().__init__(
            model=model,
            args=arguments_of(run),
            train_dataset=train,
            processing_class=tokenizer,
            data_collator=collator,
            callbacks=[_Schedule(run)],
        )
        for callback in (DefaultFlowCallback, PrinterCallback):
            self.remove_callback(callback)
        keep_adapter_precise(model)
        base = model.get_base_model()
        assert isinstance(base, PreTrainedModel)
        attach_loss(base)

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """Return the summed loss of the batch's targets / targets of the whole update."""
        loss = model(**inputs, items=num_items_in_batch).loss
        return loss * self.accelerator.num_processes if model.training else loss

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[dict[str, Any]], torch.Tensor | int | None]:
        """Take the batches of one update, and count what is in them."""
        self.run.meter.begin()
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        tokens = sum(int(batch.pop("real_tokens")) for batch in batches)
        rows = sum(int(batch.pop("rows")) for batch in batches)
        self.run.meter.got_batch(tokens, rows)
        items = sum(
            ((batch["targets"] != IGNORED).sum() for batch in batches), torch.zeros((), dtype=torch.long)
        )
        return batches, self.accelerator.gather(items.to(device)).sum().clamp(min=1)

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> LRScheduler:
        """Make the learning rate follow `schedule.share_of_rate`."""
        optimizer = optimizer or self.optimizer
        assert optimizer is not None
        self.lr_scheduler = LambdaLR(
            optimizer,
            partial(share_of_rate, self.run.config.optimisation, num_training_steps),
        )
        self._created_lr_scheduler = True
        return self.lr_scheduler

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """Take both from a checkpoint, but the settings from the config."""
        assert self.optimizer is not None
        settings = engine.settings_of(self.optimizer.param_groups)
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None:
            assert isinstance(self.lr_scheduler, LambdaLR)
            engine.apply_settings(self.optimizer.param_groups, self.lr_scheduler, settings)

    def _save_rng_state(self, output_dir: str) -> None:
        super()._save_rng_state(output_dir)
        engine.save_mps_randomness(Path(output_dir))

    def _load_rng_state(self, checkpoint: str | None) -> None:
        super()._load_rng_state(checkpoint)
        if checkpoint is not None:
            engine.load_mps_randomness(Path(checkpoint))

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """Skip transformers' estimate: it walks over all parameters at each micro-step."""
        return 0

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Write the metric point of the step that just ended."""
        if "loss" not in logs:  # the summary after the last step
            return
        step = self.state.global_step
        values: dict[str, Any] = {
            "loss": float(logs["loss"]),
            "learning_rate": float(logs["learning_rate"]),
            "grad_norm": float(logs["grad_norm"]),
            "epoch": self.state.epoch,
            **self.run.meter.end(step),
            **gpu_readings(self.run.hardware.device),
        }
        self.run.journal.metrics(MetricKind.TRAIN, step, **values)
        self.run.curve.add(MetricKind.TRAIN, step, values)
        self._heed(MetricKind.TRAIN, step, values)

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Measure the mean loss over all targets of the validation rows, keep the adapter if it is the best one.

        A pause or release that comes meanwhile ends it at once; the checkpoint then says that it is still to be done. Draws no
        random numbers, so training goes on as if there had been no evaluation.

        Returns:
            eval_loss, or nothing if it was ended.
        """
        run, step = self.run, self.state.global_step
        self.control.should_evaluate = False
        if self.validation is None:
            return {}
        run.journal.phase("evaluating", step=step)
        began = time.perf_counter()
        at_start = run.meter.steps == 0
        loss = self._validation_loss(may_stop=step < run.plan.total_steps)
        if loss is None:
            if at_start:
                run.watcher.check()
            run.evaluation_pending = True
            self.control.should_save = self.control.should_training_stop = True
            return {}
        run.evaluation_pending = False
        run.eval_loss = loss
        values = {"eval_loss": loss, "epoch": self.state.epoch or 0.0, "tokens_seen": run.meter.tokens_seen}
        run.journal.metrics(MetricKind.EVAL, step, **values, extra={"perplexity": perplexity(loss)})
        run.curve.add(MetricKind.EVAL, step, {**values, "perplexity": perplexity(loss)})
        self._heed(MetricKind.EVAL, step, values)
        run.meter.paused(time.perf_counter() - began, run.plan.evaluations_after(step))
        if step and math.isfinite(loss) and (run.best is None or loss < run.best.eval_loss):
            self._keep_as_best(Best(step=step, eval_loss=loss))
        run.journal.phase("training", start_step=run.start_step, total_steps=run.plan.total_steps)
        return {"eval_loss": loss}

    def load_state(self, checkpoint: Path, state: CheckpointState) -> None:
        """Take over from a checkpoint what transformers does not know of; `train` loads the rest if it is to take a step."""
        run = self.run
        if state.step >= run.plan.total_steps:
            self._load_from_checkpoint(str(checkpoint))
        run.start_step = state.step
        run.best, run.eval_loss, run.evaluation_pending = (
            state.best,
            state.eval_loss,
            state.evaluation_pending,
        )
        run.meter.tokens_seen = state.tokens_seen
        run.alerts.go_on_from(state.alerts)
        self.args.eval_on_start = state.evaluation_pending and self.validation is not None
        if state.best:
            same = state.best.step == state.step
            saving.copy_of(
                checkpoint / (saving.ADAPTER_WEIGHTS if same else saving.BEST_WEIGHTS), run.best_file
            )

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        """Write a checkpoint after the step, then drop old ones (called by transformers' loop where `should_save` is set)."""
        run, step = self.run, self.state.global_step
        target = saving.step_folder(run.folder.checkpoints, step)
        state = CheckpointState(
            step=step,
            total_steps=run.plan.total_steps,
            config=run.config,
            model_reference=run.reference,
            fingerprint=run.fingerprint,
            template_time=run.template_time,
            tokens_seen=run.meter.tokens_seen,
            eval_loss=run.eval_loss,
            evaluation_pending=run.evaluation_pending,
            best=run.best,
            alerts=run.alerts.state(),
            environment=run.environment,
        )
        best_is_older = run.best is not None and run.best.step != step
        run.journal.phase("saving", step=step)
        try:
            saving.write_checkpoint(
                target,
                self.adapter(),
                state,
                extra=self._write_engine_state,
                copies={saving.BEST_WEIGHTS: run.best_file} if best_is_older else {},
            )
        except DiskFull as error:
            if run.watcher.stopping:
                raise
            run.journal.alert("disk_full", f"No checkpoint of step {step}. {error}", step=step)
            return
        is_best = run.best is not None and run.best.step == step
        run.journal.checkpoint(
            step, str(target), eval_loss=run.best.eval_loss if run.best and is_best else None, best=is_best
        )
        best_step = run.best.step if run.best else None
        for dropped, folder in saving.rotate(run.folder.checkpoints, run.config.checkpoints.keep, best_step):
            run.journal.checkpoint(dropped, str(folder), best=False, dropped=True)
        if not self.control.should_training_stop:
            run.journal.phase("training", start_step=run.start_step, total_steps=run.plan.total_steps)

    def _heed(self, kind: MetricKind, step: int, values: dict[str, Any]) -> None:
        """Tell the alerts of a point and act on them: this comes after the update and before it is saved.

        Weights that a loss without a number has passed through are never saved: what came before stays the newest checkpoint.
        """
        run = self.run
        for alert in run.alerts.see(kind, step, values):
            run.journal.alert(
                alert.rule, alert.message, step=alert.step, action=alert.action, advice=alert.advice
            )
            too_late = step >= run.plan.total_steps and alert.rule != "nonfinite"
            if alert.action in ("pause", "stop") and run.halt is None and not too_late:
                run.halt = alert
                self.control.should_training_stop = True
                self.control.should_evaluate = False
                self.control.should_save = alert.action == "pause" and alert.rule != "nonfinite"

    def _keep_as_best(self, best: Best) -> None:
        try:
            saving.save_best(self.adapter(), self.run.best_file)
        except DiskFull as error:
            self.run.journal.alert(
                "disk_full", f"The best adapter so far is not kept. {error}", step=best.step
            )
        else:
            self.run.best = best

    def _write_engine_state(self, folder: Path) -> None:
        self._save_optimizer_and_scheduler(str(folder))
        self._save_scaler(str(folder))
        self._save_rng_state(str(folder))
        self.state.save_to_json(str(folder / "trainer_state.json"))
        shutil.copyfile(self.run.curve.file, folder / saving.METRICS_FILE)

    def _validation_loss(self, may_stop: bool) -> float | None:
        """Mean loss over the targets of the validation rows; None if a request to stop came meanwhile."""
        assert self.validation is not None
        model = self.model
        assert model is not None
        model.eval()
        total, targets, said = 0.0, 0, time.monotonic()
        one = torch.ones((), dtype=torch.long, device=self.args.device)
        size = self.args.per_device_train_batch_size
        with torch.no_grad(), self.compute_loss_context_manager():
            for start in range(0, len(self.validation), size):
                if may_stop and self.run.watcher.stopping:
                    return None
                batch = self.collate(_records(self.validation, start, start + size))
                inputs = {
                    name: batch[name].to(self.args.device)
                    for name in ("input_ids", "position_ids", "targets")
                }
                total += float(model(**inputs, items=one).loss)
                targets += int((batch["targets"] != IGNORED).sum())
                if time.monotonic() - said >= PROGRESS_SECONDS:
                    said = time.monotonic()
                    done = min(1.0, (start + size) / len(self.validation))
                    self.run.journal.phase("evaluating", step=self.state.global_step, progress=round(done, 3))
        return total / max(targets, 1)

    def adapter(self) -> peft.PeftModel:
        """The model that is trained, without what accelerate put around it."""
        model = self.accelerator.unwrap_model(self.model)
        assert isinstance(model, peft.PeftModel)
        return model


class _Schedule(TrainerCallback):
    """Says after each step whether to log, evaluate, save or stop, from the plan and from what the runner asks for."""

    def __init__(self, run: Run) -> None:
        self.run = run

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        plan, watcher, step = self.run.plan, self.run.watcher, state.global_step
        stopping = watcher.stopping is not None and step < plan.total_steps
        control.should_log = True
        control.should_evaluate = plan.evaluates(step) and not stopping
        control.should_save = watcher.take_save() or plan.saves(step) or stopping
        control.should_training_stop = stopping or step >= plan.total_steps
        self.run.evaluation_pending = plan.evaluates(step)
        return control


def _records(rows: datasets.Dataset, start: int, stop: int) -> Sequence[dict[str, Any]]:
    return [rows[number] for number in range(start, min(stop, len(rows)))]
