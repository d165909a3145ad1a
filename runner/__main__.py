"""`python -m runner`: the background process that trains jobs and does tasks on this machine."""

import logging
import signal
from pathlib import Path
from typing import Annotated

import typer

from lora_core import __version__
from lora_core.errors import StudioError
from lora_core.settings import Settings
from lora_core.store.local import LocalStore
from runner.agent import Agent
from runner.console import set_up_logging
from runner.machine import Identity, describe_machine

log = logging.getLogger("runner")


def main(
    name: Annotated[str, typer.Option(help="Name of this runner; default: the host's name.")] = "",
    once: Annotated[bool, typer.Option("--once", help="End when nothing is left to do.")] = False,
    home: Annotated[Path | None, typer.Option(help="Home of the studio; default: LORA_STUDIO_HOME.")] = None,
    slots: Annotated[int, typer.Option(min=1, max=64, help="Training jobs at a time.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Log as JSON, one object a line.")] = False,
) -> None:
    """Claim jobs and tasks and do them, until Ctrl-C (jobs are saved and go on at the next start)."""
    set_up_logging(as_json=as_json)
    settings = Settings(home=home) if home else Settings()
    try:
        store = LocalStore(settings)
        identity = Identity(settings.root / "runners", name)
    except StudioError as error:
        log.error("%s", error)
        raise typer.Exit(1) from error
    info = describe_machine(identity, __version__)
    agent = Agent(settings, store.runner_port(), store.task_port(), info, slots=slots, once=once)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: agent.stop())
    gpus = ", ".join(info.gpus) or "no GPU"
    log.info(
        "runner %s: %d CPUs, %.1f GB, %s; home %s", info.name, info.cpus, info.memory_gb, gpus, settings.root
    )
    try:
        agent.run()
    finally:
        identity.release()
        store.close()


if __name__ == "__main__":
    typer.run(main)
