"""The main job without a browser: data set in, adapter out, and what it changed on rows the model never saw.

`python -m examples.demo` uses the same actions, store and runner as the app; the job is in the app afterwards. It needs the
demo model, which `make demo` fetches.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from examples.score import KEYS, Score, score
from lora_core.actions import base_models, configs, datasets, jobs, results
from lora_core.actions.files import CHUNK_BYTES
from lora_core.actions.workspace import Workspace
from lora_core.errors import StudioError
from lora_core.lifecycle import LIVE
from lora_core.models.weights import folder_of
from lora_core.schema.job import Job, JobStatus
from lora_core.studio import Studio

FOLDER = Path(__file__).parent / "support_tickets"
PRESET = "balanced"
SETTINGS = (
    "optimisation.learning_rate=1e-3",
    "optimisation.epochs=3",
    "optimisation.accumulation_steps=2",
    "adapter.rank=16",
    "data.max_length=256",
    "evaluation.every_steps=29",
)
"""What the demo changes: a model this small learns best at a higher rate, and 250 rows need small updates to be many.

Chosen by the loss on the validation share of the training rows; the held-out rows had no say.
"""

MAX_NEW_TOKENS = 48
"""The longest right answer is about 30 tokens."""

console = Console()


@dataclass(frozen=True)
class Answered:
    """One held-out row: the reference, and what the model said before and after."""

    prompt: str
    reference: str
    before: str
    after: str


def main(
    override: Annotated[
        list[str] | None, typer.Option("--set", help="key=value, such as adapter.rank=8.")
    ] = None,
    preset: Annotated[str, typer.Option(help="Preset to train with.")] = PRESET,
) -> None:
    """Fine-tune the demo model on the support tickets and compare it with itself before."""
    started = time.monotonic()
    studio = Studio()
    workspace = studio.workspace()
    try:
        config = configs.config_from_preset(preset, [*SETTINGS, *(override or [])])
        with a_runner(workspace), progress() as bar:
            job = train(workspace, config, bar)
            answered = answer(workspace, job, bar)
    except StudioError as error:
        console.print(f"[red]{type(error).__name__}[/red]: {error}", highlight=False)
        raise typer.Exit(1) from None
    finally:
        studio.close()
    show(answered, job, seconds=time.monotonic() - started)


def train(workspace: Workspace, config: configs.TrainingConfig, bar: Progress) -> Job:
    """Upload the rows, wait for their check, submit the job and follow it to its end."""
    line = bar.add_task("uploading the data set", total=1.0)
    with (FOLDER / "train.jsonl").open("rb") as stream:
        dataset = datasets.upload_dataset(
            workspace,
            "support_tickets.jsonl",
            iter(lambda: stream.read(CHUNK_BYTES), b""),
            name="Support tickets",
        )
    while datasets.view_dataset(workspace, dataset.id).busy:
        bar.update(line, description="checking the data set")
        time.sleep(0.2)
    job = jobs.submit_job(workspace, name="Support tickets to JSON", dataset_id=dataset.id, config=config)
    while (job := jobs.get_job(workspace, job.id)).status in LIVE:
        bar.update(line, completed=job.progress, description=in_words(job))
        time.sleep(0.3)
    bar.update(line, completed=1.0, description=in_words(job))
    if job.status is not JobStatus.COMPLETED:
        raise StudioError(f"The job is {job.status.value}: {job.status_reason or job.error}")
    return job


def answer(workspace: Workspace, job: Job, bar: Progress) -> list[Answered]:
    """Let the base model and the adapter answer the held-out rows, greedily, in a process of their own."""
    line = bar.add_task("answering the held-out rows, before and after", total=None)
    adapter = results.find_adapter(workspace, job.id)
    if adapter is None:
        raise StudioError("The job left no adapter.")
    model = base_models.look_up_model(workspace, job.config.model.base).info
    with tempfile.TemporaryDirectory() as folder:
        for file in adapter.files:
            target = Path(folder) / "adapter" / file.name
            target.parent.mkdir(parents=True, exist_ok=True)
            with workspace.artifacts.open(adapter.id, file.name) as source:
                target.write_bytes(source.read())
        answers = Path(folder) / "answers.jsonl"
        command = [sys.executable, "-m", "runner.answer", "--both", "--output", str(answers)]
        command += [
            "--model",
            str(folder_of(model, workspace.settings.models)),
            "--adapter",
            f"{folder}/adapter",
        ]
        command += ["--prompts", str(FOLDER / "held_out.jsonl"), "--max-new-tokens", str(MAX_NEW_TOKENS)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise StudioError(f"The answers could not be made: {done.stderr.strip().splitlines()[-1:]}")
        said = [json.loads(text) for text in answers.read_text(encoding="utf-8").splitlines()]
    bar.update(line, total=1.0, completed=1.0)
    rows = [
        json.loads(text)["messages"] for text in (FOLDER / "held_out.jsonl").read_text("utf-8").splitlines()
    ]
    return [
        Answered(messages[-2]["content"], messages[-1]["content"], row["base"], row["adapter"])
        for messages, row in zip(rows, said, strict=True)
    ]


def show(answered: list[Answered], job: Job, *, seconds: float) -> None:
    """Print the table of before and after, and three rows as examples."""
    references = [row.reference for row in answered]
    before, after = (
        score([row.before for row in answered], references),
        score([row.after for row in answered], references),
    )
    table = Table(title=f"{len(answered)} held-out support tickets, greedy decoding")
    for column in ("", "before", "after"):
        table.add_column(column, justify="left" if not column else "right")
    table.add_row("valid JSON", percent(before.valid, before), percent(after.valid, after))
    table.add_row("exact match", percent(before.exact, before), percent(after.exact, after))
    for key in KEYS:
        table.add_row(
            f"  {key} right", percent(before.fields[key], before), percent(after.fields[key], after)
        )
    console.print(table)
    for row in answered[:3]:
        console.print(f"\n{row.prompt}", style="dim", highlight=False, markup=False)
        for name, text in (("before", row.before), ("after", row.after), ("right", row.reference)):
            console.print(f"  {name:6} {text.strip()[:160]!r}", highlight=False, markup=False)
    console.print(
        f"\n{job.total_steps} updates in {job.elapsed_seconds / 60:.1f} min; all in all {seconds / 60:.1f} min."
    )


@contextmanager
def a_runner(workspace: Workspace) -> Iterator[None]:
    """Use the runner that is online, or run one for the time of the demo."""
    if jobs.online_runners(workspace):
        yield
        return
    environment = {**os.environ, "LORA_STUDIO_HOME": str(workspace.settings.root)}
    runner = subprocess.Popen([sys.executable, "-m", "runner"], env=environment, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        runner.terminate()
        runner.wait()


def progress() -> Progress:
    """The bar on the terminal."""
    return Progress(TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=console)


def in_words(job: Job) -> str:
    """One line of where a job stands."""
    if job.current_step == 0:
        return (job.phase or job.status.value).replace("_", " ")
    loss = "-" if job.train_loss is None else f"{job.train_loss:.4f}"
    validation = "-" if job.eval_loss is None else f"{job.eval_loss:.4f}"
    return f"step {job.current_step}/{job.total_steps}  loss {loss}  validation loss {validation}"


def percent(count: int, total: Score) -> str:
    """A share of the rows."""
    return f"{count / total.rows:.0%}" if total.rows else "-"


if __name__ == "__main__":
    typer.run(main)
