"""The team's commands: set the project up, let runners in and shut them out, hand a job to another machine."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from lora_core.actions import handout, runners
from lora_core.actions.team import clean_email
from lora_core.actions.workspace import Workspace
from lora_core.cli_parts import (
    JobArgument,
    err,
    explained,
    find_job,
    find_named,
    open_workspace,
    out,
    read_password,
)
from lora_core.errors import ConfigError
from lora_core.schema.job import WorkInHand
from lora_core.schema.runner import RunnerInfo, RunnerRegistration, RunnerScope
from lora_core.settings import Settings
from lora_core.store.supabase.set_up import read_secret_key, set_up_team

app = typer.Typer()


@app.command("set-up-team")
def set_up(
    email: Annotated[str, typer.Argument(metavar="EMAIL", help="E-mail address of the operator.")],
) -> None:
    """Check a project's migrations and make the operator's account. Needs the secret key, this once; repeating is harmless."""
    with explained():
        settings = Settings()
        if not settings.team:
            raise ConfigError("There is no project.", "Set SUPABASE_URL and SUPABASE_PUBLISHABLE_KEY.")
        done = set_up_team(
            settings.supabase_url,
            read_secret_key(os.environ),
            clean_email(email),
            lambda: read_password(f"Password for the new account {email}", confirm=True),
        )
        out.print(f"The project's database is at version {done.version}.", highlight=False)
        if done.created:
            out.print(f"{escape(done.email)} is the operator. Sign in, and invite people on the Team page.")
        elif done.promoted:
            out.print(
                f"{escape(done.email)} had an account and is an operator now; it counts from the next sign-in."
            )
        else:
            out.print(f"{escape(done.email)} is an operator already; nothing was changed.")
        err.print("Nothing else needs the secret key: remove it from this shell (unset SUPABASE_SECRET_KEY).")


@app.command()
def register_runner(
    name: Annotated[str, typer.Argument(help="Which machine it is, such as gpu-box.")],
    team: Annotated[
        bool, typer.Option("--team", help="It takes jobs of the whole team; for the operator.")
    ] = False,
) -> None:
    """Let a runner in. Prints, this once, what to type on its machine; the token in it is kept nowhere."""
    with explained():
        scope = RunnerScope.TEAM if team else RunnerScope.MINE
        new = runners.register_runner(open_workspace(), name, scope)
        err.print(
            f"{escape(new.name)} is registered. Type this on it, in a checkout of the studio:",
            highlight=False,
        )
        print(new.command)
        err.print("The token is shown this once. Pass it on like a password.", highlight=False)


@app.command("runners")
def list_runners() -> None:
    """List the runners that may take your jobs: whether they are online, their GPUs, and what they do for you."""
    with explained():
        workspace = open_workspace()
        view, work = runners.read_runners(workspace), runners.read_work(workspace)
        table = Table("id", "name", "takes", "machine", "state", "last seen", "GPUs", "your jobs")
        listed = {machine.id for registration in view.open_registrations for machine in registration.machines}
        for registration in view.open_registrations:
            for machine in registration.machines or (None,):
                table.add_row(
                    registration.id[:8],
                    escape(registration.name),
                    _scope(registration),
                    *_machine(machine, work),
                )
        for machine in view.machines:
            if machine.id not in listed:
                table.add_row("", "", "", *_machine(machine, work))
        out.print(table if table.row_count else "No runners yet. Start one with `python -m runner`.")


@app.command()
def revoke_runner(
    runner: Annotated[str, typer.Argument(help="Its id, the beginning of one, or its name.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Shut a runner out: its token, and those of the jobs it holds, are refused at once."""
    with explained():
        workspace = open_workspace()
        found = _find_registration(workspace, runner)
        if not yes:
            typer.confirm(f"Revoke {found.name}? Jobs it trains go back to the queue.", abort=True, err=True)
        runners.revoke_runner(workspace, found.id)
        out.print(f"Revoked {escape(found.name)}.", highlight=False)


@app.command()
def hand_out(
    job: JobArgument,
    wait_minutes: Annotated[
        float, typer.Option(min=0.5, max=1440, help="How long the machine may take to show up.")
    ] = handout.WAIT_SECONDS / 60,
) -> None:
    """Hand a queued job to a machine that gets nothing but a token for it. Prints, this once, what to type there."""
    with explained():
        workspace = open_workspace()
        found = find_job(workspace, job)
        handed = handout.hand_out_job(workspace, found.id, wait_seconds=wait_minutes * 60)
        err.print(
            f"{escape(found.name)} waits {wait_minutes:g} minutes for the machine that gets this token:",
            highlight=False,
        )
        print(handed.command)
        err.print(
            f"The token reaches this job alone, is shown this once, and ends after {handout.JOB_TOKEN_HOURS} hours.",
            highlight=False,
        )


def _find_registration(workspace: Workspace, wanted: str) -> RunnerRegistration:
    return find_named(runners.read_runners(workspace).open_registrations, wanted, "runner")


def _scope(registration: RunnerRegistration) -> str:
    return "the team's jobs" if registration.scope is RunnerScope.TEAM else "your jobs"


def _machine(
    machine: RunnerInfo | None, work: Mapping[str, Sequence[WorkInHand]]
) -> tuple[str, str, str, str, str]:
    if machine is None:
        return "", "not seen yet", "", "", ""
    gpus = ", ".join(f"{count} x {name}" for name, count in Counter(machine.gpus).items())
    return (
        escape(f"{machine.name} ({machine.cpus} CPU)"),
        escape(machine.state) if runners.is_online(machine) else "offline",
        f"{machine.seen_at:%Y-%m-%d %H:%M:%S} UTC",
        escape(f"{gpus}, {machine.gpu_memory_gb:g} GB" if gpus else "none"),
        escape(_work_words(machine, work.get(machine.id, ()))),
    )


def _work_words(machine: RunnerInfo, work: Sequence[WorkInHand]) -> str:
    """Say what a runner does for this person; nobody learns of others' jobs."""
    slots = f"{len(work)} of {machine.slots}" if machine.slots > 1 else ""
    names = ", ".join(f"{held.job.name} ({held.job.current_step}/{held.job.total_steps})" for held in work)
    return ": ".join(filter(None, (slots, names)))
