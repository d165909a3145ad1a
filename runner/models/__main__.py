"""`python -m runner.models fetch REFERENCE`: gets a base model onto this machine. Progress on stderr, the folder on stdout."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from lora_core.errors import StudioError
from lora_core.models.catalogue import find_model
from lora_core.models.weights import folder_of, is_present, lossy_note
from lora_core.settings import Settings
from runner.models.obtain import obtain_model

os.environ.setdefault("TQDM_DISABLE", "1")  # the libraries' own bars would be drawn over ours

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def models() -> None:
    """Base models on this machine."""


@app.command()
def fetch(
    reference: Annotated[
        str, typer.Argument(help="Name in the catalogue, owner/name on the Hub, or a folder.")
    ],
    home: Annotated[Path | None, typer.Option(help="Home of the studio; default: LORA_STUDIO_HOME.")] = None,
) -> None:
    """Fetch a base model, unless it is here, and print its folder."""
    settings = Settings(home=home) if home else Settings()
    console = Console(stderr=True)
    try:
        info = find_model(reference, local_roots=settings.model_roots)
        if is_present(folder_of(info, settings.models)):
            folder = folder_of(info, settings.models)
        else:
            columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
            with Progress(*columns, console=console, transient=True) as bars:
                bar = bars.add_task(f"Fetching {info.title}", total=None)
                folder = obtain_model(
                    info,
                    settings.models,
                    progress=lambda here, total: bars.update(bar, completed=here, total=total),
                )
    except StudioError as error:
        console.print(
            f"[red]{error.message}[/red]\n{error.next_step}".rstrip(), highlight=False, soft_wrap=True
        )
        raise typer.Exit(1) from error
    if note := lossy_note(folder):
        console.print(f"{info.title}: {note}", highlight=False, soft_wrap=True)
    sys.stdout.write(f"{folder}\n")


if __name__ == "__main__":
    app()
