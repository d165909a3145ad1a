"""Commands that act on jobs: several at once where that makes sense, and each job says what came of it."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from lora_core.actions import forks, jobs, queue
from lora_core.actions.workspace import Workspace
from lora_core.cli_parts import JobArgument, err, explained, find_job, open_workspace, out
from lora_core.errors import ConfigError, StudioError
from lora_core.schema.base import utc_now
from lora_core.schema.job import Job, JobStatus

app = typer.Typer()

JobsArgument = Annotated[
    list[str], typer.Argument(metavar="JOB...", help="Job ids, or the beginnings of them.")
]
CheckpointOption = Annotated[
    int | None,
    typer.Option("--checkpoint", metavar="STEP", help="Step of the checkpoint; default: the newest."),
]
_IN = re.compile(r"(\d{1,6})(m|h|d)")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


@app.command()
def cancel(job: JobsArgument) -> None:
    """Cancel jobs; what they recorded is kept."""
    _each(job, jobs.cancel_job, lambda job: _asked(job, JobStatus.CANCELLED, "cancel"))


@app.command()
def pause(job: JobsArgument) -> None:
    """Pause jobs after the step they are at; `resume` goes on from there."""
    _each(job, jobs.pause_job, lambda job: _asked(job, JobStatus.PAUSED, "pause"))


@app.command()
def hold(job: JobsArgument) -> None:
    """Keep queued jobs from starting until `resume`; running ones are left alone."""
    _each(job, jobs.hold_job, lambda _: "held")


@app.command()
def resume(job: JobsArgument, checkpoint: CheckpointOption = None) -> None:
    """Queue paused, failed or cancelled jobs again, from their newest checkpoint or a chosen one."""

    def resume_one(workspace: Workspace, job_id: str) -> Job:
        chosen = None if checkpoint is None else forks.find_checkpoint(workspace, job_id, checkpoint).id
        return jobs.resume_job(workspace, job_id, checkpoint_id=chosen)

    where = "" if checkpoint is None else f", from step {checkpoint}"
    _each(job, resume_one, lambda _: f"queued{where}")


@app.command()
def retry(job: JobsArgument) -> None:
    """Queue failed or cancelled jobs again, from their newest checkpoint if they have one."""
    _each(job, jobs.retry_job, lambda _: "queued")


@app.command()
def checkpoint(job: JobsArgument) -> None:
    """Save a checkpoint of running jobs after the step they are at."""
    _each(job, jobs.save_checkpoint, lambda _: "asked for a checkpoint")


@app.command()
def fork(
    job: JobArgument,
    checkpoint: CheckpointOption = None,
    override: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="key=value, such as optimisation.learning_rate=1e-4; not model, adapter, data or batch.",
        ),
    ] = None,
    name: Annotated[str, typer.Option(help="Name of the new job.")] = "",
) -> None:
    """Queue a new job that starts from a checkpoint of another; prints its id."""
    with explained():
        workspace = open_workspace()
        found = forks.find_checkpoint(workspace, find_job(workspace, job).id, checkpoint)
        made = forks.fork_job(workspace, found.id, overrides=override or [], name=name)
        err.print(f"{made.name}: queued, from step {found.step}.", markup=False, highlight=False)
        out.print(made.id)


@app.command()
def rename(job: JobArgument, name: Annotated[str, typer.Argument(help="The new name.")]) -> None:
    """Give a job another name."""
    _each([job], lambda workspace, job_id: jobs.rename_job(workspace, job_id, name), lambda _: "renamed")


@app.command()
def archive(job: JobsArgument) -> None:
    """Put ended jobs away: `list` leaves them out."""
    _each(job, jobs.archive_job, lambda _: "archived")


@app.command()
def unarchive(job: JobsArgument) -> None:
    """Take archived jobs back."""
    _each(
        job,
        lambda workspace, job_id: jobs.archive_job(workspace, job_id, archived=False),
        lambda _: "taken back",
    )


@app.command()
def delete(
    job: JobsArgument,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete ended jobs with their curves, logs, checkpoints and adapters. This cannot be undone."""

    def delete_one(workspace: Workspace, job_id: str) -> Job:
        doomed = jobs.get_job(workspace, job_id)
        jobs.delete_job(workspace, job_id)
        return doomed

    def confirm(found: list[Job]) -> None:
        names = ", ".join(f"“{job.name}”" for job in found)
        if not yes and not typer.confirm(f"Delete {len(found)} for good, with all files: {names}?", err=True):
            raise typer.Exit(1)

    _each(job, delete_one, lambda _: "deleted", before=confirm)


@app.command()
def priority(
    value: Annotated[
        int, typer.Argument(metavar="PRIORITY", min=-100, max=100, help="Higher goes first; 0 is usual.")
    ],
    job: JobsArgument,
) -> None:
    """Let waiting jobs start before those of lower priority."""
    _each(
        job,
        lambda workspace, job_id: queue.prioritise_job(workspace, job_id, value),
        lambda job: f"priority {job.priority}",
    )


@app.command("start-after")
def start_after(
    moment: Annotated[
        str,
        typer.Argument(
            metavar="TIME", help="2h, 30m, 1d, a time such as 2026-12-01T22:00 (local), or `now`."
        ),
    ],
    job: JobsArgument,
) -> None:
    """Let no runner take waiting jobs before a time."""
    with explained():
        until = read_moment(moment)
    words = "may start at once" if until is None else f"starts no earlier than {until:%Y-%m-%d %H:%M} UTC"
    _each(job, lambda workspace, job_id: queue.start_job_after(workspace, job_id, until), lambda _: words)


def read_moment(text: str) -> datetime | None:
    """Read a time from now on, or a point in time (local if it names no zone); None for `now`.

    Raises:
        ConfigError: It is neither.
    """
    if text == "now":
        return None
    try:
        if ahead := _IN.fullmatch(text):
            return utc_now() + timedelta(**{_UNITS[ahead[2]]: int(ahead[1])})
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ConfigError(f"{text!r} is no time.", "Write 30m, 2h, 1d, 2026-12-01T22:00, or now.") from error


def _asked(job: Job, ended: JobStatus, verb: str) -> str:
    return ended.value if job.status is ended else f"asked to {verb}"


def _each(
    starts: list[str],
    action: Callable[[Workspace, str], Job],
    words: Callable[[Job], str],
    *,
    before: Callable[[list[Job]], None] | None = None,
) -> None:
    """Find all jobs, then act on each; one that refuses says why, and makes the exit status 1."""
    refused = False
    with explained():
        workspace = open_workspace()
        found = [find_job(workspace, start) for start in dict.fromkeys(starts)]
        if before is not None:
            before(found)
        for job in found:
            try:
                text = f"{job.name}: {words(action(workspace, job.id))}."
                out.print(text, markup=False, highlight=False, soft_wrap=True)
            except StudioError as error:
                refused = True
                err.print(
                    f"{job.name}: {type(error).__name__}: {error}",
                    markup=False,
                    highlight=False,
                    soft_wrap=True,
                )
        if refused:
            raise typer.Exit(1)
