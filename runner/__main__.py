"""`python -m runner`: the background process that trains jobs and does tasks on this machine."""

import logging
import signal
from pathlib import Path
from typing import Annotated

import typer

from lora_core import __version__
from lora_core.errors import StudioError
from lora_core.schema.job import Outcome
from lora_core.settings import Settings
from runner.agent import Agent
from runner.console import set_up_logging
from runner.dispatch import ROLE, Dispatcher, find_vault
from runner.machine import Identity, describe_machine, find_origin
from runner.ports import Ports, open_ports
from runner.run_folders import Origin

log = logging.getLogger("runner")


def main(
    name: Annotated[str, typer.Option(help="Name of this runner; default: the host's name.")] = "",
    once: Annotated[bool, typer.Option("--once", help="End when nothing is left to do.")] = False,
    job: Annotated[
        bool, typer.Option("--job", help="Do the one job of LORA_STUDIO_JOB_TOKEN, then end.")
    ] = False,
    home: Annotated[Path | None, typer.Option(help="Home of the studio; default: LORA_STUDIO_HOME.")] = None,
    slots: Annotated[int, typer.Option(min=1, max=64, help="Training jobs at a time.")] = 1,
    training: Annotated[
        bool,
        typer.Option("--training/--no-training", help="Train jobs, or only do tasks (checks, fetching)."),
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Log as JSON, one object a line.")] = False,
) -> None:
    """Claim jobs and tasks and do them, until Ctrl-C (jobs are saved and go on at the next start).

    With SUPABASE_URL and SUPABASE_PUBLISHABLE_KEY it works for a team, by LORA_STUDIO_RUNNER_TOKEN or, with --job,
    by LORA_STUDIO_JOB_TOKEN; without them it works for the studio of this machine.
    """
    set_up_logging(as_json=as_json)
    if job and not training:
        raise typer.BadParameter("--job trains; it cannot go with --no-training.")
    try:
        settings = Settings(home=home) if home else Settings()
        ports = open_ports(settings, job=job)
        here = find_origin()
        identity = Identity(
            ports.identities, name, alone=job, machine=here.machine, among_others=settings.team and not job
        )
    except StudioError as error:
        log.error("%s", error)
        raise typer.Exit(1) from error
    try:
        agent = _start(ports, identity, here, slots=1 if job else slots, once=once or job, training=training)
        agent.run()
    finally:
        identity.release()
        ports.close()
    if job:
        raise typer.Exit(_exit_code(agent))
    if once and agent.refusal:
        raise typer.Exit(1)


def _start(
    ports: Ports, identity: Identity, here: Origin, *, slots: int, once: bool, training: bool
) -> Agent:
    dispatcher = _dispatcher(ports)
    roles = (("train",) if training else ()) + ((ROLE,) if dispatcher else ())
    info = describe_machine(identity, __version__, roles=roles)
    agent = Agent(
        ports.settings,
        ports.jobs,
        ports.tasks,
        info,
        slots=slots,
        once=once,
        cadence=ports.cadence,
        dispatcher=dispatcher,
        here=here,
    )
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: agent.stop())
    gpus = ", ".join(info.gpus) or "no GPU"
    log.info("runner %s: %d CPUs, %.1f GB, %s; %s", info.name, info.cpus, info.memory_gb, gpus, ports.where)
    return agent


def _dispatcher(ports: Ports) -> Dispatcher | None:
    if ports.dispatch is None:
        return None
    try:
        find_vault(ports.settings)
    except StudioError as error:
        log.warning("this runner sends no notifications: %s", error)
        return None
    return Dispatcher(ports.settings, ports.dispatch, lambda: find_vault(ports.settings))


def _exit_code(agent: Agent) -> int:
    """0 if the one job was brought to any end that the store knows."""
    if agent.outcome is None:
        log.error("no job was done: %s", agent.refusal or "it was not begun")
        return 1
    if agent.outcome is Outcome.LOST:
        log.error("the job was lost: its token has ended, or another machine has it now")
        return 1
    log.info("the job has ended: %s", agent.outcome.value)
    return 0


if __name__ == "__main__":
    typer.run(main)
