"""Commands about the whole studio: back it up, restore it, move it to a team's project."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from lora_core.actions import backup, migrate
from lora_core.actions.migrate import Migration
from lora_core.cli_parts import err, explained, open_team, out
from lora_core.errors import ConfigError
from lora_core.settings import Settings
from lora_core.studio import open_embedded_history

app = typer.Typer()

FolderArgument = Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of the backup.")]


@app.command("backup")
def back_up(folder: FolderArgument) -> None:
    """Copy the embedded studio into a new folder; app and runner may go on. Models, caches and keys are left out."""
    with explained():
        settings = Settings()
        with _bar("backing up") as tell:
            report = backup.back_up_studio(settings, folder, _share(tell))
        out.print(
            f"{report.datasets:,} data sets and {report.jobs:,} jobs are in {escape(str(folder))} "
            f"({report.files:,} files, {report.bytes / 1e6:,.1f} MB).",
            highlight=False,
        )
        _print_files(
            "The studio had lost these files already; the backup has their rows only:", report.missing
        )
        _print_files(
            "These files are not what the studio once stored; they are copied as found:", report.altered
        )


@app.command()
def restore(
    folder: FolderArgument,
    replace: Annotated[
        bool, typer.Option("--replace", help="Set a studio that is there aside; it is kept in the home.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Only read the backup and compare every file.")
    ] = False,
) -> None:
    """Put a backup in the home of the studio (LORA_STUDIO_HOME). Stop app and runner first."""
    with explained():
        settings = Settings()
        if check:
            with _bar("checking") as tell:
                found = backup.check_studio_backup(folder, _share(tell))
            made = f"{found.header.made_at:%Y-%m-%d %H:%M} UTC"
            out.print(f"The backup of {made} is whole ({found.ending.files:,} files).", highlight=False)
            return
        with _bar("restoring") as tell:
            report = backup.restore_studio(settings, folder, replace=replace, progress=_share(tell))
        out.print(
            f"The studio of {report.header.made_at:%Y-%m-%d %H:%M} UTC is in {escape(str(settings.root))}.",
            highlight=False,
        )
        if report.set_aside is not None:
            out.print(
                f"The one that was there is in {escape(str(report.set_aside))}; delete it when you do not need it.",
                highlight=False,
            )
        if report.ended:
            out.print(
                f"Jobs that were at work wait in the queue, or are paused or cancelled as was asked: "
                f"{escape(', '.join(report.ended[:20]))}.",
                highlight=False,
            )
        _print_files("These files were lost before the backup was made:", report.ending.missing)


@app.command("migrate-to-supabase")
def migrate_to_supabase(
    email: Annotated[
        str, typer.Option(help="Whose account takes it; default: that before the command.")
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be moved.")] = False,
    read_back: Annotated[
        bool,
        typer.Option("--read-back/--no-read-back", help="Read every file there at the end and compare it."),
    ] = True,
) -> None:
    """Copy the embedded studio into your account of the team. Run it again after an interruption: it goes on."""
    with explained():
        settings = Settings()
        with open_embedded_history(settings) as source:
            if dry_run:
                plan = migrate.plan_migration(source)
                _print_migration(plan, planned=True)
                raise typer.Exit(0 if plan.complete else 1)
            if not settings.team:
                raise ConfigError(
                    "There is no team to move to.",
                    "Set SUPABASE_URL and SUPABASE_PUBLISHABLE_KEY; docs/moving.md helps.",
                )
            studio, person = open_team(email)
            target = studio.history(person)
            try:
                with _bar("moving") as tell:
                    result = migrate.migrate_studio(source, target, read_back=read_back, tell=tell)
            finally:
                target.close()
        _print_migration(result, planned=False)
        if not result.complete:
            raise typer.Exit(1)
        out.print(f"All of it is in the account of {escape(person.email)}. Nothing was removed here.")


def _print_migration(result: Migration, *, planned: bool) -> None:
    table = Table("what", "here", *([] if planned else ["there"]))
    for line in result.lines:
        table.add_row(line.what, f"{line.here:,}", *([] if planned else [f"{line.there:,}"]))
    out.print(table)
    if planned:
        out.print(f"{result.file_bytes / 1e6:,.1f} MB of files.", highlight=False)
    for title, entries in (("Left here:", result.left), ("Note:", result.notes)):
        for entry in entries:
            out.print(f"{title} {escape(entry.what)}: {escape(entry.why)}", highlight=False)


def _print_files(title: str, names: tuple[str, ...]) -> None:
    if names:
        err.print(title)
        for name in names[:20]:
            err.print(f"  {name}", highlight=False, markup=False)
        if len(names) > 20:
            err.print(f"  and {len(names) - 20} more")


@contextmanager
def _bar(what: str) -> Iterator[Callable[[str, float], None]]:
    """Show a bar; the function that is yielded takes what is being done and how much of all is done (0 to 1)."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task(what, total=1.0)
        yield lambda text, share: bar.update(task, completed=share, description=escape(text or what))


def _share(tell: Callable[[str, float], None]) -> Callable[[int, int], None]:
    return lambda done, total: tell("", done / total if total else 1.0)
