"""Commands about training configs: presets, saved ones, files, and the files of other tools."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lora_core.actions import config_import, configs, saved_configs
from lora_core.actions.config_import import FATES, ImportedConfig
from lora_core.actions.workspace import Workspace
from lora_core.cli_parts import err, explained, find_job, open_workspace, out
from lora_core.errors import ConfigError, NotFound
from lora_core.schema.config import TrainingConfig

app = typer.Typer()

SetOption = Annotated[list[str] | None, typer.Option("--set", help="key=value, such as adapter.rank=8.")]


@app.command()
def export_config(
    name: Annotated[
        str,
        typer.Argument(metavar="[NAME]", help="Preset or saved config to print; leave out to list presets."),
    ] = "",
    override: SetOption = None,
    job: Annotated[str, typer.Option(help="Print the config of this job instead.")] = "",
) -> None:
    """Print a training config as YAML; `submit --config` reads it again."""
    with explained():
        if job:
            workspace = open_workspace()
            print(configs.config_to_yaml(find_job(workspace, job).config), end="")
        elif name:
            chosen = configs.override_config(_named(None, name), override or [])
            print(configs.config_to_yaml(chosen), end="")
        else:
            table = Table("preset", "when to choose it")
            for entry in configs.list_presets():
                table.add_row(entry.name, entry.why)
            out.print(table)


@app.command("configs")
def list_configs() -> None:
    """List your saved configs, the last changed first."""
    with explained():
        found = saved_configs.list_configs(open_workspace(), limit=500)
        table = Table("name", "changed", "from", "")
        for saved in found.items:
            start = configs.starting_point(saved.config)[0] if saved.config else ""
            fault = f"cannot be read: {saved.fault}" if saved.fault else ""
            changed = f"{saved.updated_at:%Y-%m-%d %H:%M}"
            table.add_row(escape(saved.name), changed, start, escape(fault))
        out.print(table if found.items else "No saved configs yet. Save one with `save-config`.")


@app.command()
def save_config(
    name: Annotated[str, typer.Argument(help="What you call it.")],
    config: Annotated[Path | None, typer.Option(help="YAML file to save.")] = None,
    preset: Annotated[str, typer.Option(help="Preset to save, without a file.")] = "balanced",
    override: SetOption = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Put it in the place of the one of this name.")
    ] = False,
) -> None:
    """Save a training config under a name. A name that is taken is refused."""
    with explained():
        chosen = read_config(preset, config, override or [])
        saved = saved_configs.save_config(open_workspace(), name, chosen, replace=replace)
        out.print(f"{saved.name}: saved.", markup=False, highlight=False, soft_wrap=True)


@app.command()
def compare_configs(
    first: Annotated[str, typer.Argument(help="Preset or saved config.")],
    second: Annotated[str, typer.Argument(help="Preset or saved config.")],
) -> None:
    """Print what differs between two training configs, field by field."""
    with explained():
        workspace = open_workspace()
        table = Table("setting", escape(first), escape(second))
        differences = configs.diff_configs(_named(workspace, first), _named(workspace, second))
        for key, values in differences.items():
            table.add_row(key, *("-" if value is None else escape(str(value)) for value in values))
        out.print(table if differences else "They are the same.")


@app.command()
def delete_config(name: Annotated[str, typer.Argument(help="Name or id of a saved config.")]) -> None:
    """Delete a saved config. Jobs that were made from it keep theirs."""
    with explained():
        workspace = open_workspace()
        saved = saved_configs.find_config(workspace, name)
        saved_configs.delete_config(workspace, saved.id)
        out.print(f"{saved.name}: deleted.", markup=False, highlight=False, soft_wrap=True)


@app.command("import-config")
def import_config(
    file: Annotated[Path, typer.Argument(help="YAML file of LLaMA-Factory or Axolotl.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; default: stdout.")
    ] = None,
) -> None:
    """Read a config of LLaMA-Factory or Axolotl: report what became of each line, and write it as the studio's YAML."""
    with explained():
        imported = config_import.import_config(_read_text(file))
        yaml = configs.config_to_yaml(imported.config)
        _print_report(imported, out if output else err)
        if output is None:
            print(yaml, end="")
            return
        if output.exists() and output.samefile(file):
            raise ConfigError(f"{output} is the file that was read.", "Give another name with --output.")
        try:
            output.write_text(yaml, encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"{output} cannot be written: {error.strerror}.") from error
        out.print(str(output), markup=False, highlight=False, soft_wrap=True)


def read_config(preset: str, file: Path | None, overrides: list[str]) -> TrainingConfig:
    """Return the config of a file, else of a preset, with overrides applied.

    Raises:
        ConfigError: It cannot be read, is another tool's, or has an unknown key or a value out of bounds.
    """
    if file is None:
        return configs.config_from_preset(preset, overrides)
    text = _read_text(file)
    if config_import.is_other_tools_config(text):
        raise ConfigError(
            f"{file} is a config of another tool.",
            f"Read it first, and look at what became of its lines: `import-config {file} --output mine.yaml`.",
        )
    return configs.override_config(configs.config_from_yaml(text), overrides)


def _named(workspace: Workspace | None, name: str) -> TrainingConfig:
    """The config of a preset, or else of a saved one; without a workspace the studio is opened only for the latter."""
    try:
        return configs.config_from_preset(name)
    except ConfigError as error:
        try:
            saved = saved_configs.find_config(workspace or open_workspace(), name)
        except NotFound:
            message = f"There is no preset {name!r}, and you have no saved config of this name."
            raise ConfigError(message, error.next_step) from error
        return saved_configs.readable(saved)


def _read_text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} cannot be read: {error}.") from error


def _print_report(imported: ImportedConfig, console: Console) -> None:
    table = Table("line", "key", "value", "here", "sets", "note")
    for line in imported.in_order():
        table.add_row(
            str(line.line or ""),
            escape(line.key),
            escape(line.value),
            FATES[line.fate],
            escape(line.sets()),
            escape(imported.note(line)),
        )
    console.print(table)
    counts = [f"{imported.count(fate)} {words}" for fate, words in FATES.items() if imported.count(fate)]
    console.print(f"A config of {imported.tool}. Of its lines {', '.join(counts)}.", highlight=False)
