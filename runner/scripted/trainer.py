"""The scripted trainer: obeys the whole run-folder contract and computes nothing. Knows no torch, store or network."""

import errno
import json
import math
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Never

from lora_core.errors import Conflict
from lora_core.schema.run import EventKind, ExitCode
from runner.run_folder import EventWriter, RunFolder, write_atomically
from runner.scripted.script import Script

TERMINATED = 128 + signal.SIGTERM
TOKENS_PER_STEP = 512


def main(root: Path) -> int:
    """Train as the folder's spec says.

    Returns:
        The exit code (`ExitCode`, or 143 after SIGTERM).
    """
    folder = RunFolder(root)
    try:
        with folder.locked(), EventWriter(folder.events_file) as events:
            return _Training(folder, events).run()
    except Conflict as error:
        print(error, file=sys.stderr)
        return 1


class _Stop(Exception):
    """Ends the run with an exit code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class _Training:
    """One run from its start step to its end. All that a checkpoint must hold is in `state`."""

    def __init__(self, folder: RunFolder, events: EventWriter) -> None:
        self.folder = folder
        self.events = events
        self.spec = folder.spec()
        script = Script.model_validate(self.spec.script or {})
        spared = script.only_first_attempt and self.spec.attempt > 1
        self.script = script.without_faults() if spared else script
        self.random = random.Random(self.spec.config.optimisation.seed)
        self.step = 0
        self.best_step: int | None = None
        self.best_eval_loss: float | None = None
        self.last_eval_loss: float | None = None
        self.last_evaluated = -1
        self.seen_request = ""
        self.terminated = False
        self.started = time.monotonic()

    def run(self) -> int:
        if self.script.ignore_sigterm:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        else:
            signal.signal(signal.SIGTERM, self._on_sigterm)
        try:
            self._load()
            while self.step < self.script.steps:
                self._obey()
                self._train_one_step()
            self._finish()
            return ExitCode.DONE
        except _Stop as stop:
            return stop.code

    def _on_sigterm(self, *_: object) -> None:
        self.terminated = True

    def _load(self) -> None:
        self.events.write(EventKind.PHASE, name="loading", message="Scripted: nothing to load.")
        if self.script.helper_process:
            subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
        for number in range(self.script.print_lines):
            print(f"scripted line {number}", flush=True)
        self._wait(self.script.loading_seconds)
        self._hold("loading")
        if self.spec.resume_from:
            state = json.loads((Path(self.spec.resume_from) / "trainer_state.json").read_bytes())
            self.step = state["step"]
            self.best_step, self.best_eval_loss = state["best_step"], state["best_eval_loss"]
            version, internal, gauss = state["random"]
            self.random.setstate((version, tuple(internal), gauss))
        self.events.write(
            EventKind.PHASE, name="training", start_step=self.step, total_steps=self.script.steps
        )

    def _obey(self) -> None:
        """Do what the runner asks between two steps."""
        if self.terminated:
            raise _Stop(TERMINATED)
        request = None if self.script.ignore_requests else self.folder.read_request()
        if request is None or request.id == self.seen_request:
            return
        self.seen_request = request.id
        self.events.write(EventKind.PHASE, name="request", id=request.id, action=request.action)
        if request.action == "cancel":
            raise _Stop(TERMINATED)
        self._save_checkpoint()
        if request.action == "pause":
            raise _Stop(ExitCode.PAUSED)
        if request.action == "release":
            raise _Stop(ExitCode.RELEASED)

    def _train_one_step(self) -> None:
        script = self.script
        step = self.step + 1
        self._wait(script.step_seconds)
        self._hold(f"step {step}", hears=True)
        if self.terminated:
            raise _Stop(TERMINATED)
        self._go_wrong(step)
        self.step = step
        loss = 0.5 + 2.0 * math.exp(-step / 40) + self.random.gauss(0.0, 0.02)
        elapsed = time.monotonic() - self.started
        self.events.write(
            EventKind.METRICS,
            kind="train",
            step=step,
            epoch=self._epoch(),
            tokens_seen=step * TOKENS_PER_STEP,
            loss=math.nan if step == script.nan_at else loss,
            learning_rate=2e-4 * (1 - step / (script.steps + 1)),
            grad_norm=1.0 + self.random.random() / 10,
            tokens_per_second=TOKENS_PER_STEP / max(script.step_seconds, 1e-3),
            elapsed_seconds=elapsed,
            remaining_seconds=(script.steps - step) * script.step_seconds,
        )
        if step % script.eval_every == 0 or step == script.steps:
            self._evaluate()
        if step % script.checkpoint_every == 0 or step == script.steps:
            self._save_checkpoint()

    def _go_wrong(self, step: int) -> None:
        script = self.script
        most = script.needs_micro_batch
        if (
            most
            and self.spec.config.optimisation.micro_batch_size > most
            and step > script.out_of_memory_after
        ):
            self.events.write(EventKind.RESULT, error=f"Out of memory: only {most} rows fit.")
            raise _Stop(ExitCode.OUT_OF_MEMORY)
        if step == script.fail_at:
            self.events.write(EventKind.RESULT, error=script.message or "Scripted fault.")
            raise _Stop(script.exit_code)
        if step == script.raise_at:
            raise RuntimeError(script.message or f"scripted exception at step {step}")
        if step == script.crash_at:
            _die()
        if step == script.torn_line_at:
            with self.folder.events_file.open("ab") as file:
                file.write(b'{"seq": 9999, "at": "20')
            _die()
        while step == script.hang_at:
            time.sleep(0.05)

    def _wait(self, seconds: float) -> None:
        """Sleep in slices, so that SIGTERM is heard within 50 ms."""
        end = time.monotonic() + seconds
        while not self.terminated and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, 0.05))

    def _hold(self, place: str, *, hears: bool = False) -> None:
        """Wait where the script says so, for whoever wants to break something just there; SIGTERM is heard.

        Args:
            hears: Whether requests are heard here too.
        """
        if place != self.script.hold:
            return
        (self.folder.root / "held").touch()
        while not self.terminated and not (self.folder.root / "go").exists():
            time.sleep(0.02)
            if hears:
                self._obey()

    def _epoch(self) -> float:
        return self.spec.config.optimisation.epochs * self.step / self.script.steps

    def _evaluate(self) -> None:
        eval_loss = 0.6 + 2.0 * math.exp(-self.step / 40) + self.random.gauss(0.0, 0.01)
        self.last_eval_loss, self.last_evaluated = eval_loss, self.step
        if self.best_eval_loss is None or eval_loss < self.best_eval_loss:
            self.best_step, self.best_eval_loss = self.step, eval_loss
        self.events.write(
            EventKind.METRICS, kind="eval", step=self.step, epoch=self._epoch(), eval_loss=eval_loss
        )

    def _save_checkpoint(self) -> None:
        """Write a checkpoint whole or not at all, then rotate: the newest `keep` and the best stay."""
        target = self.folder.checkpoints / f"step-{self.step:06d}"
        if self.step == 0 or target.exists():
            return
        state = {
            "step": self.step,
            "best_step": self.best_step,
            "best_eval_loss": self.best_eval_loss,
            "random": self.random.getstate(),
        }
        half = target.with_name(target.name + ".tmp")
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir(parents=True)
        _write_adapter(half, self.step)
        self._hold(f"saving {self.step}")
        if self.step == self.script.disk_full_at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(half))
        (half / "trainer_state.json").write_text(json.dumps(state), encoding="utf-8")
        half.rename(target)
        self._hold(f"saved {self.step}")
        evaluated = self.last_evaluated == self.step
        self.events.write(
            EventKind.CHECKPOINT,
            step=self.step,
            path=f"checkpoints/{target.name}",
            eval_loss=self.last_eval_loss if evaluated else None,
            best=evaluated and self.best_step == self.step,
        )
        self._rotate()

    def _rotate(self) -> None:
        saved = sorted(path for path in self.folder.checkpoints.iterdir() if path.suffix != ".tmp")
        best = f"step-{self.best_step or 0:06d}"
        for path in saved[: -self.spec.config.checkpoints.keep]:
            if path.name != best:
                shutil.rmtree(path)
                step = int(path.name.removeprefix("step-"))
                self.events.write(
                    EventKind.CHECKPOINT, step=step, path=f"checkpoints/{path.name}", dropped=True
                )

    def _finish(self) -> None:
        self.folder.adapter.mkdir(exist_ok=True)
        _write_adapter(self.folder.adapter, self.best_step or self.step)
        config = {
            "peft_type": "LORA",
            "r": self.spec.config.adapter.rank,
            "base_model_name_or_path": "scripted",
        }
        (self.folder.adapter / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
        self._hold("finishing")
        self.events.write(
            EventKind.RESULT,
            adapter="adapter",
            step=self.step,
            best_step=self.best_step,
            best_eval_loss=self.best_eval_loss,
        )
        self._hold("finished")


def _write_adapter(folder: Path, step: int) -> None:
    write_atomically(folder / "adapter_model.safetensors", tiny_safetensors([float(step), 1.0]))


def tiny_safetensors(values: list[float]) -> bytes:
    """A valid safetensors file with one float32 tensor `lora`.

    Source: https://github.com/huggingface/safetensors#format (u64 header length, JSON header, data).
    """
    data = struct.pack(f"<{len(values)}f", *values)
    header: dict[str, Any] = {
        "lora": {"dtype": "F32", "shape": [len(values)], "data_offsets": [0, len(data)]}
    }
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def _die() -> Never:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")
