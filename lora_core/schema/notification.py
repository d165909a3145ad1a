"""What the bell shows: life-cycle events told to a person."""

from datetime import datetime

from lora_core.schema.base import Frozen


class Notification(Frozen):
    """One message to one person."""

    id: str
    user_id: str
    job_id: str | None = None
    kind: str
    title: str
    body: str = ""
    created_at: datetime
    read_at: datetime | None = None
