"""The command line: the same actions as the pages. `python -m lora_core --help` lists the commands."""

import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from lora_core import cli_configs, cli_data, cli_jobs, cli_routes, cli_team
from lora_core.actions import datasets, doctor, jobs, queue, results
from lora_core.actions.files import CHUNK_BYTES
from lora_core.actions.workspace import Workspace
from lora_core.cli_parts import JobArgument, err, explained, find_job, open_workspace, out, who_works
from lora_core.datasets.check import check_file
from lora_core.errors import ConfigError, DataError, NotFound, Unavailable
from lora_core.launch import run_studio
from lora_core.lifecycle import LIVE
from lora_core.schema.artifact import ArtifactKind
from lora_core.schema.dataset import CheckReport
from lora_core.schema.job import Job, JobFilter, JobStatus
from lora_core.settings import Settings

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, callback=who_works)
app.add_typer(cli_team.app)
app.add_typer(cli_configs.app)
app.add_typer(cli_data.app)
app.add_typer(cli_jobs.app)
app.add_typer(cli_routes.app)

MAX_WHY = 120
"""Characters of a reason in a list."""

OutputOption = Annotated[
    Path | None, typer.Option("--output", "-o", help="File to write; default: the file's own name here.")
]


@app.command()
def start() -> None:
    """Run the app and one runner until Ctrl-C."""
    with explained():
        raise typer.Exit(run_studio(Settings(), lambda text: err.print(text)))


@app.command()
def submit(
    data: Annotated[
        str, typer.Argument(help="Data set file, or the id of a data set that is in the studio.")
    ],
    preset: Annotated[
        str, typer.Option(help="Preset to start from; `export-config` prints them.")
    ] = "balanced",
    config: Annotated[Path | None, typer.Option(help="YAML file to use instead of a preset.")] = None,
    override: Annotated[
        list[str] | None, typer.Option("--set", help="key=value, such as adapter.rank=8.")
    ] = None,
    name: Annotated[str, typer.Option(help="Name of the job.")] = "",
    priority: Annotated[int, typer.Option(min=-100, max=100, help="Higher goes first.")] = 0,
    start_after: Annotated[
        str,
        typer.Option(metavar="TIME", help="Earliest start: 2h, 30m, 1d, or a time such as 2026-12-01T22:00."),
    ] = "now",
    watch_it: Annotated[
        bool, typer.Option("--watch/--no-watch", help="Follow the job until it ends.")
    ] = False,
) -> None:
    """Queue a job on a file or data set; prints its id."""
    with explained():
        workspace = open_workspace()
        chosen = cli_configs.read_config(preset, config, override or [])
        not_before = cli_jobs.read_moment(start_after)
        dataset_id = _dataset_id(workspace, data)
        job = jobs.submit_job(
            workspace,
            name=name,
            dataset_id=dataset_id,
            config=chosen,
            priority=priority,
            not_before=not_before,
        )
        out.print(job.id)
        if watch_it:
            _follow(workspace, job.id)


@app.command("list")
def list_(
    status: Annotated[
        list[JobStatus] | None, typer.Option(help="Only jobs in this state; repeatable.")
    ] = None,
    search: Annotated[str, typer.Option(help="Only jobs whose name contains this.")] = "",
    archived: Annotated[bool, typer.Option("--archived", help="Only jobs that were put away.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=500)] = 30,
) -> None:
    """List jobs, newest first."""
    with explained():
        workspace = open_workspace()
        found = jobs.list_jobs(
            workspace,
            JobFilter(search=search, statuses=tuple(status or ()), archived=archived),
            limit=limit,
        )
        table = Table("id", "name", "status", "step", "loss", "eval loss", "created", "why")
        for job in found.items:
            table.add_row(
                job.id[:8],
                escape(job.name),
                job.status.value,
                f"{job.current_step}/{job.total_steps}",
                _loss(job.train_loss),
                _loss(job.eval_loss),
                f"{job.created_at:%Y-%m-%d %H:%M}",
                escape(_why(workspace, job)),
            )
        out.print(table if found.items else "No jobs yet. Start one with `submit`.")


@app.command()
def watch(job: JobArgument) -> None:
    """Follow a job with a progress bar until it ends. Ctrl-C stops watching, not the job."""
    with explained():
        workspace = open_workspace()
        _follow(workspace, find_job(workspace, job).id)


@app.command()
def check_data(
    file: Annotated[
        Path, typer.Argument(help="Data set file: JSONL, JSON, CSV, Parquet or text, also .gz and .zst.")
    ],
    issues: Annotated[
        Path | None, typer.Option(help="Write every issue to this file, one JSON object a line.")
    ] = None,
) -> None:
    """Check a data set file without uploading it. Exit status 1 if a row cannot be used."""
    with explained():
        if not file.is_file():
            raise NotFound(f"There is no file {file}.")
        with Progress(
            TextColumn("checking"), BarColumn(), TimeElapsedColumn(), console=err, transient=True
        ) as bar:
            task = bar.add_task("check", total=1.0)
            report = check_file(
                file,
                file_name=file.name,
                progress=lambda done: bar.update(task, completed=done),
                issues_path=issues,
            )
        _print_report(report)
        if report.fatal or report.error_rows:
            raise typer.Exit(1)


@app.command()
def download(
    job: JobArgument,
    what: Annotated[
        str, typer.Option(help="adapter, checkpoint (the newest), metrics, logs or events.")
    ] = "adapter",
    output: OutputOption = None,
    link_hours: Annotated[
        float | None,
        typer.Option(
            help="Print addresses of the files instead, good for so many hours (team mode; keep them secret)."
        ),
    ] = None,
) -> None:
    """Download a job's adapter (zip), newest checkpoint (zip), metrics (CSV), logs (zip) or audit trail (CSV)."""
    with explained():
        workspace = open_workspace()
        found = find_job(workspace, job)
        if what == "metrics":
            name, content = results.download_metrics(workspace, found.id)
        elif what == "logs":
            name, content = results.download_logs(workspace, found.id)
        elif what == "events":
            name, content = results.download_events(workspace, found.id)
        elif what in ("adapter", "checkpoint"):
            stored = results.list_artifacts(workspace, found.id, ArtifactKind(what))
            if not stored:
                raise NotFound(f"Job {found.name!r} has no {what} yet.")
            if link_hours is not None:
                for name, address in results.link_artifact(workspace, stored[0].id, hours=link_hours).items():
                    print(f"{name}\t{address}")
                return
            name, content = results.download_artifact(workspace, stored[0].id)
        else:
            raise ConfigError(
                f"There is nothing called {what!r}.", "Choose adapter, checkpoint, metrics, logs or events."
            )
        _write(output or Path(name), content)


@app.command()
def logs(
    job: JobArgument,
    search: Annotated[str, typer.Option(help="Only lines that contain this.")] = "",
    lines: Annotated[int, typer.Option(min=1, max=200, help="How many of the newest lines.")] = 50,
) -> None:
    """Print the newest log lines of a job, oldest first."""
    with explained():
        workspace = open_workspace()
        page = jobs.search_logs(workspace, find_job(workspace, job).id, search=search)
        for line in reversed(list(page.items)[:lines]):
            print(f"{line.at:%H:%M:%S} {line.level:7} {line.text}")


@app.command("doctor")
def doctor_() -> None:
    """Say what this machine has, what is missing, and what to do. Exit status 1 if something needed is missing."""
    with explained():
        findings = doctor.examine(Settings())
        table = Table("", "what", "found", "what to do")
        for finding in findings:
            table.add_row(
                {"ok": "ok", "warning": "!", "error": "X"}[finding.level],
                finding.what,
                escape(finding.found),
                escape(finding.next_step),
            )
        out.print(table)
        if any(finding.level == "error" for finding in findings):
            raise typer.Exit(1)


def _why(workspace: Workspace, job: Job) -> str:
    """Say where a queued job stands in the queue and what it waits for, and why others are where they are."""
    if job.status is JobStatus.QUEUED:
        place = workspace.jobs.queue_place(job.id)
        return queue.describe_place(place, why=queue.why_again(job), brief=True) if place else ""
    return job.status_reason.partition("\n")[0][:MAX_WHY]


def _dataset_id(workspace: Workspace, data: str) -> str:
    """Return the id of a stored data set, or upload the file, wait for its check and return the new id."""
    path = Path(data)
    if not path.is_file():
        return workspace.datasets.get(data).id
    with path.open("rb") as stream:
        dataset = datasets.upload_dataset(workspace, path.name, iter(lambda: stream.read(CHUNK_BYTES), b""))
    err.print(f"Uploaded {escape(path.name)} as {dataset.id}; waiting for its check ...")
    if not jobs.online_runners(workspace):
        err.print("No runner is online: start one with `python -m runner`, or `make start`.")
    while (view := datasets.view_dataset(workspace, dataset.id)).busy:
        time.sleep(_pause_seconds(workspace))
    if view.task is not None and view.task.error:
        raise DataError(view.task.error)
    report = view.dataset.report
    if report is not None and (report.fatal or report.error_rows):
        _print_report(report)
    return dataset.id


def _follow(workspace: Workspace, job_id: str) -> None:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err) as bar:
        task = bar.add_task("queued", total=1.0)
        while True:
            try:
                job = jobs.get_job(workspace, job_id)
            except Unavailable as error:  # the job goes on without us; so does watching it
                bar.update(task, description=escape(error.message))
                time.sleep(_pause_seconds(workspace))
                continue
            words = job.phase.replace("_", " ") if job.status in LIVE and job.phase else job.status.value
            text = f"{words}  step {job.current_step}/{job.total_steps}  loss {_loss(job.train_loss)}"
            bar.update(task, completed=job.progress, description=f"{text}  eval {_loss(job.eval_loss)}")
            if job.status not in LIVE:
                break
            time.sleep(_pause_seconds(workspace))
    why = f": {job.status_reason}" if job.status_reason else ""
    out.print(escape(f"{job.name}: {job.status.value}{why}"))
    if job.status is JobStatus.FAILED:
        raise typer.Exit(1)


def _pause_seconds(workspace: Workspace) -> float:
    """How long to wait before looking again: a file here may be asked often, a project far away may not."""
    return workspace.settings.refresh_seconds if workspace.settings.team else 0.3


def _print_report(report: CheckReport) -> None:
    if report.fatal:
        out.print(f"[red]Cannot be read:[/red] {escape(report.fatal)}", highlight=False)
        return
    out.print(
        f"{report.rows:,} rows: {report.good_rows:,} good, {report.error_rows:,} with errors, "
        f"{report.duplicate_rows:,} duplicates"
    )
    out.print(
        f"format {report.format.value} ({report.confidence:.0%} sure): {escape(report.format_reason)}",
        highlight=False,
    )
    for issue in [*report.errors[:10], *report.warnings[:5]]:
        out.print(f"  line {issue.line}: {issue.message}", highlight=False, markup=False)


def _write(path: Path, content: Iterator[bytes]) -> None:
    temporary = path.with_name(path.name + ".part")
    with temporary.open("wb") as file:
        for chunk in content:
            file.write(chunk)
    shutil.move(temporary, path)
    print(path, file=sys.stdout)


def _loss(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
