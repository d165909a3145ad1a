"""Brings the config of another tool into the studio, with a report of what became of each line."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lora_core.actions.configs import change_config
from lora_core.config_import.reading import Line, is_foreign, read_lines
from lora_core.config_import.rules import Fate
from lora_core.errors import ConfigError
from lora_core.schema.config import TrainingConfig

FATES: dict[Fate, str] = {
    Fate.SAME: "means the same",
    Fate.CHANGED: "changes meaning",
    Fate.DROPPED: "has no effect here",
    Fate.UNKNOWN: "not known",
}
SHOWN_CHARACTERS = 80


@dataclass(frozen=True)
class ImportedLine:
    """One line of the report.

    Attributes:
        line: Line of the file, from 1; 0 for a default of the tool, which the file does not say.
        value: As it stands in the file, shortened.
        fate: One of the words in FATES.
        fields: What was set here, by dotted name.
    """

    line: int
    key: str
    value: str
    fate: Fate
    said: str
    fields: Mapping[str, Any]

    def sets(self) -> str:
        """Write what was set as text."""
        return ", ".join(f"{name} = {value}" for name, value in self.fields.items())


@dataclass(frozen=True)
class ImportedConfig:
    """A config that was read from another tool's file."""

    tool: str
    config: TrainingConfig
    lines: Sequence[ImportedLine]

    def count(self, fate: Fate) -> int:
        """Count the lines of the file with this fate."""
        return sum(line.fate is fate for line in self.lines if line.line)

    def in_order(self) -> Sequence[ImportedLine]:
        """Return the lines as they stand in the file, then the tool's defaults."""
        return sorted(self.lines, key=lambda line: (line.line == 0, line.line))

    def note(self, line: ImportedLine) -> str:
        """Return what is to be said about a line."""
        return line.said or ("" if line.line else f"Not in the file: {self.tool}'s default.")


def import_config(text: str) -> ImportedConfig:
    """Read a LLaMA-Factory or Axolotl config. What the file leaves out is taken as that tool would take it.

    Raises:
        ConfigError: Not plain YAML, or a config of no tool that is known here. A key that cannot be used is no error: the
            report says so.
    """
    tool, read = read_lines(text)
    config, lines = TrainingConfig(), []
    for line in read:
        config, imported = _apply(config, line)
        lines.append(imported)
    return ImportedConfig(tool.name, config, lines)


def is_other_tools_config(text: str) -> bool:
    """Say whether a file is a config that `import_config` reads, rather than one of the studio."""
    return is_foreign(text)


def _apply(config: TrainingConfig, line: Line) -> tuple[TrainingConfig, ImportedLine]:
    """Change the config as a line wants; where the studio's bounds forbid it, the line has no effect and says why."""
    fate, said, fields = line.reading.fate, line.reading.said, line.reading.changes
    try:
        config = change_config(config, fields)
    except ConfigError as error:
        fate, said, fields = Fate.DROPPED, f"The studio does not take this: {error}", {}
    value = str(line.entry.value)
    if len(value) > SHOWN_CHARACTERS:
        value = f"{value[: SHOWN_CHARACTERS - 1]}…"
    return config, ImportedLine(line.entry.line, line.entry.key, value, fate, said, fields)
