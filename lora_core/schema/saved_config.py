"""A training config that a person has put away under a name."""

from datetime import datetime

from lora_core.schema.base import Frozen
from lora_core.schema.config import TrainingConfig


class SavedConfig(Frozen):
    """A config under a name. What another version of the studio has stored may be unreadable for this one.

    Attributes:
        config: None if it cannot be read.
        fault: Why it cannot be read; empty if it can.
    """

    id: str
    user_id: str
    name: str
    draft: bool = False
    config: TrainingConfig | None
    fault: str = ""
    created_at: datetime
    updated_at: datetime
