"""Heavy work in a child process, as the agent sees it: an order, progress, and a report, all as files of one folder.

The child (`python -m runner.errand_child FOLDER`) may hold pyarrow, tokenizers or torch and may be killed by its
limits; the agent holds none of that and turns whatever happens into words.
"""

import os
import shutil
from pathlib import Path
from typing import Any

from pydantic import Field

from lora_core.errors import StudioError, Unavailable
from lora_core.schema.base import Frozen
from lora_core.schema.dataset import Dataset
from lora_core.schema.runner import TaskKind
from runner.processes import Child, child_environment, python_command

KILLED = (None, 137)
"""Exit codes of a child that was killed from outside, with and without its shell."""


class Order(Frozen):
    """What a child is to do."""

    kind: TaskKind
    task_id: str = ""
    agent_pid: int = Field(default_factory=os.getpid, description="Process the child works for.")
    home: Path = Field(description="Home folder of the studio on this machine.")
    model_roots: tuple[Path, ...] = Field(
        (), description="Folders under which local base models may be used."
    )
    dataset: Dataset | None = None
    file: Path | None = Field(None, description="The data set's file on this machine.")
    peer: Dataset | None = Field(None, description="A data set to compare with.")
    peer_file: Path | None = Field(None, description="Its file on this machine.")
    arguments: dict[str, Any] = Field(default_factory=dict)
    memory_bytes: int | None = Field(
        None, description="Address space the child may use, in bytes; None for no limit."
    )
    cpu_seconds: int | None = Field(
        None, description="CPU time the child may use, in seconds; None for no limit."
    )


class Progress(Frozen):
    """How far a child is: share 0 to 1, and what it does, in words."""

    progress: float = 0.0
    message: str = ""


class Report(Frozen):
    """How an errand ended. An empty `error` means that it was done."""

    error: str = ""
    next_step: str = ""
    retry: bool = Field(False, description="Whether trying again later may help.")
    folder: str = Field("", description="Folder of the fetched model.")
    dataset: Dataset | None = Field(None, description="The data set with what was found, or its new version.")
    content: Path | None = Field(None, description="File of the new version.")
    issues: Path | None = Field(None, description="File with every issue, one JSON object a line.")

    def as_error(self) -> StudioError:
        """Return the error to raise: `Unavailable` where trying again later may help."""
        return (Unavailable if self.retry else StudioError)(self.error, self.next_step)


class Errand:
    """One child at work. Not thread-safe; ticks ask for progress and report."""

    def __init__(self, folder: Path, child: Child) -> None:
        self.folder = folder
        self._child = child
        self._stopped = False

    @classmethod
    def start(cls, order: Order, folder: Path) -> "Errand":
        """Write the order into a new, empty folder and start the child."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / "order.json").write_text(order.model_dump_json(), encoding="utf-8")
        command = python_command("runner.errand_child", str(folder))
        environment = child_environment(
            {"LORA_STUDIO_HOME": str(order.home), "TOKENIZERS_PARALLELISM": "false", "TQDM_DISABLE": "1"},
            hub=order.kind in (TaskKind.FETCH_MODEL, TaskKind.MEASURE_DATASET, TaskKind.IMPORT_DATASET),
        )
        return cls(folder, Child.start(command, folder, folder / "child.log", environment))

    def progress(self) -> tuple[float, str]:
        """Return (share 0 to 1, what is done now)."""
        try:
            progress = Progress.model_validate_json((self.folder / "progress.json").read_bytes())
        except (FileNotFoundError, ValueError):
            return 0.0, ""
        return progress.progress, progress.message

    def report(self) -> Report | None:
        """Return the report once the child has ended, however it ended; None while it works."""
        if self._child.alive():
            return None
        self._child.kill()
        try:
            return Report.model_validate_json((self.folder / "report.json").read_bytes())
        except (FileNotFoundError, ValueError):
            return Report(error=self._why_it_died(), retry=self._child.exit_code() in KILLED)

    def stop(self) -> None:
        """End the child and whatever it started."""
        self._child.kill()

    def _why_it_died(self) -> str:
        code = self._child.exit_code()
        if code in KILLED:
            return (
                "The work was killed by the system: this machine probably has too little free memory for it."
            )
        if code == 152:
            return "The work took too much computing time and was ended."
        last = last_lines(self.folder / "child.log", 3)
        return f"The work ended unexpectedly (exit code {code}). {last}".strip()


def last_lines(file: Path, count: int, most_bytes: int = 4_000) -> str:
    """Return the last lines of a text file that are not empty; nothing if there is no file."""
    try:
        with file.open("rb") as stream:
            stream.seek(max(0, file.stat().st_size - most_bytes))
            text = stream.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
    lines = [line.rsplit("\r", 1)[-1].rstrip() for line in text.splitlines()]
    return "\n".join([line for line in lines if line][-count:])


def reference_of(model: str, revision: str | None) -> str:
    """Name of a model with its revision, in the catalogue's form.

    >>> reference_of("owner/name", "main"), reference_of("smollm2-135m-instruct", None)
    ('owner/name@main', 'smollm2-135m-instruct')
    """
    return f"{model}@{revision}" if revision and "@" not in model else model
