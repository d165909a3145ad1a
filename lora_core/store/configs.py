"""What every store of saved configs says alike. Knows no table and no database."""

from lora_core.errors import Conflict, NotAllowed
from lora_core.schema.config import TrainingConfig
from lora_core.schema.saved_config import SavedConfig
from lora_core.store.cursors import Cursor

CURSOR = Cursor("configs", str, str)


def name_is_taken(name: str) -> Conflict:
    """Return the error of a name that another config of the person has."""
    return Conflict(
        f"You have a config called “{name}” already.", "Choose another name, or replace that one."
    )


def check_readable(saved: SavedConfig) -> TrainingConfig:
    """Return the config to be written.

    Raises:
        NotAllowed: There is none: it could not be read.
    """
    if saved.config is None:
        raise NotAllowed(f"The config “{saved.name}” cannot be read, so it is not written.", saved.fault)
    return saved.config
