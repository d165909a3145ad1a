"""Makes run folders for the real trainer and reads what it says. Runs it in this process, or as the child it is in life."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from lora_core.schema.config import TrainingConfig
from lora_core.schema.dataset import DatasetFormat
from lora_core.schema.run import DataFile, ExitCode, Request, RunSpec
from runner.run_folder import EventTail, EventWriter, RunFolder
from runner.train.__main__ import run
from runner.train.journal import Journal
from runner.train.trainer import StudioTrainer
from tests.faults.fuse import Fuse, to_environment

ROOT = Path(__file__).parents[3]
DEADLINE_SECONDS = 300

THINGS = ("order", "card", "address", "mail", "number", "message", "answer", "question")
CODES = ("one", "two", "three", "four")


def toy_rows(shift: int = 0) -> list[dict[str, Any]]:
    """Chats whose answer follows from the question by a rule that a tiny model learns. Another shift is another rule."""
    return [
        {
            "messages": [
                {"role": "user", "content": f"The {thing} {number}?"},
                {"role": "assistant", "content": f"{CODES[(place + shift) % len(CODES)]} {thing}"},
            ]
        }
        for place, thing in enumerate(THINGS)
        for number in range(6)
    ]


@dataclass
class Outcome:
    """How a run ended, and all it said."""

    code: int
    folder: RunFolder
    events: list[dict[str, Any]] = field(default_factory=list)

    def of(self, kind: str, /, **wanted: Any) -> list[dict[str, Any]]:
        """Data of the events of a kind with these values."""
        found = [event["data"] for event in self.events if event["kind"] == kind]
        return [data for data in found if all(data.get(key) == value for key, value in wanted.items())]

    def column(self, name: str, kind: str = "train") -> dict[int, Any]:
        """A column of the metric points, by step."""
        return {point["step"]: point.get(name) for point in self.of("metrics", kind=kind)}

    @property
    def result(self) -> dict[str, Any]:
        (result,) = self.of("result")
        return result


class AtStep(Journal):
    """Does something after a step, and waits until the trainer has echoed the request."""

    def __init__(self, writer: EventWriter, step: int, action: Callable[[], None]) -> None:
        super().__init__(writer)
        self.step, self.action, self.echoed = step, action, False

    def phase(self, name: str, **data: Any) -> None:
        super().phase(name, **data)
        self.echoed |= name == "request"

    def metrics(self, kind: Any, step: int, **values: Any) -> None:
        super().metrics(kind, step, **values)
        if kind == "train" and step == self.step:
            self.action()
            wait_for(lambda: self.echoed)


class Bench:
    """Folders of one test."""

    def __init__(self, root: Path, model: Path) -> None:
        self.root, self.model, self.runs = root, model, 0
        self.data = self.write_rows("train", toy_rows())

    def write_rows(self, name: str, rows: list[dict[str, Any]]) -> DataFile:
        path = self.root / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return DataFile(path=str(path), name=name, format=DatasetFormat.MESSAGES)

    def folder(
        self, resume_from: str | None = None, validation: DataFile | None = None, **sections: Any
    ) -> RunFolder:
        """A run folder for the toy task; sections override parts of the config."""
        self.runs += 1
        config: dict[str, Any] = {
            "model": {"dtype": "float32"},
            "data": {"max_length": 64},
            "adapter": {"rank": 8, "alpha": 16},
            "optimisation": {
                "micro_batch_size": 2,
                "accumulation_steps": 2,
                "learning_rate": 0.01,
                "max_steps": 6,
                "epochs": 100,
            },
        }
        for name, values in sections.items():
            config[name] = {**config.get(name, {}), **values}
        spec = RunSpec(
            job_id="job",
            job_name="toy",
            attempt=self.runs,
            config=TrainingConfig.model_validate(config),
            model_path=str(self.model),
            model_reference="studio/tiny",
            train=self.data,
            validation=validation,
            resume_from=resume_from,
            threads=1,
        )
        return RunFolder.create(self.root / f"run-{self.runs}", spec)

    def train(
        self,
        folder: RunFolder | None = None,
        *,
        at_step: int = 0,
        request: str | None = None,
        **sections: Any,
    ) -> Outcome:
        """Train in this process; if asked, send a request after a step."""
        folder = folder or self.folder(**sections)

        def send() -> None:
            folder.write_request(Request.model_validate({"id": "r1", "action": request}))

        with EventWriter(folder.events_file) as writer:
            journal = AtStep(writer, at_step, send) if request else Journal(writer)
            code = run(folder, journal)
        return outcome(code, folder)

    def start(self, folder: RunFolder, *fuses: Fuse) -> subprocess.Popen[bytes]:
        """Start the child process, as a runner does; fuses break it at a chosen point (`tests/faults/trainer.py`)."""
        module = "tests.faults.trainer" if fuses else "runner.train"
        with folder.log_file.open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", module, str(folder.root)],
                cwd=ROOT,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, **to_environment(folder.root, fuses)},
            )

    def wait(self, process: subprocess.Popen[bytes], folder: RunFolder) -> Outcome:
        """Wait for its end."""
        return outcome(process.wait(DEADLINE_SECONDS), folder)

    def spawn(self, folder: RunFolder) -> Outcome:
        """Train in a child process to its end."""
        return self.wait(self.start(folder), folder)


def outcome(code: int, folder: RunFolder) -> Outcome:
    events = EventTail(folder.events_file).read(100_000)
    return Outcome(code, folder, [event.model_dump(mode="json") for event in events])


def best_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the evaluation after this step be the best one: which that is cannot be planned with so small a model."""

    def loss(trainer: StudioTrainer, may_stop: bool) -> float:
        return 1.0 + abs(trainer.state.global_step - step)

    monkeypatch.setattr(StudioTrainer, "_validation_loss", loss)


def newest(ended: Outcome) -> str:
    """Its newest checkpoint."""
    return str(max(ended.folder.checkpoints.glob("step-*")))


def assert_as_if_never_stopped(whole: Outcome, *parts: Outcome) -> None:
    """Losses, gradient norms, evaluations and the adapter's bytes are those of the whole run; each part but the first resumed."""
    starts = [part.of("phase", name="training")[0]["start_step"] for part in parts[1:]]
    assert all(0 < start < max(whole.column("loss")) for start in starts)
    assert all(part.of("phase", name="resuming")[0]["exact"] for part in parts[1:])
    for column, kind in (
        ("loss", "train"),
        ("grad_norm", "train"),
        ("learning_rate", "train"),
        ("tokens_seen", "train"),
        ("eval_loss", "eval"),
    ):
        joined: dict[int, Any] = {}
        for start, part in zip([0, *starts], parts, strict=True):
            joined = {step: value for step, value in joined.items() if step <= start}
            joined |= part.column(column, kind)
        assert joined == whole.column(column, kind), column
    assert parts[-1].code == ExitCode.DONE
    assert parts[-1].result["adapter_sha256"] == whole.result["adapter_sha256"]


def wait_for_step(folder: RunFolder, step: int) -> None:
    """Wait until a trainer has done a step."""
    wait_for(lambda: any(s >= step for s in outcome(0, folder).column("loss")))


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        if time.monotonic() > end:
            pytest.fail("What was waited for did not come.")
        time.sleep(0.01)


def kill(process: subprocess.Popen[bytes], number: int = signal.SIGKILL) -> None:
    os.killpg(process.pid, number)


@contextmanager
def one_thread() -> Iterator[None]:
    """Equal losses to the last bit need an equal number of threads; the tests' own is put back."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
