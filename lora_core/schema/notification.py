"""What the bell shows, and how it gets to a person outside the studio: routes, and what became of each message on them."""

from datetime import datetime
from enum import StrEnum

from pydantic import Field

from lora_core.schema.base import Frozen
from lora_core.schema.job import Job


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


class NotificationKind(StrEnum):
    """What a person can be told about."""

    JOB_STARTED = "job_started"
    JOB_QUEUED_AGAIN = "job_queued_again"
    JOB_PAUSED = "job_paused"
    JOB_CANCELLED = "job_cancelled"
    JOB_FAILED = "job_failed"
    JOB_COMPLETED = "job_completed"
    ALERT = "alert"


TEST_KIND = "test"
"""Kind of the message that a person sends to one route to try it; it is in no list of events."""


class DeliveryState(StrEnum):
    """How far a message got on one route."""

    WAITING = "waiting"
    SENDING = "sending"
    SENT = "sent"
    FAILED = "failed"
    UNKNOWN = "unknown"


class NotificationRoute(Frozen):
    """A way to reach a person outside the studio. Its address is stored encrypted and is never part of this.

    `last_state`, `last_error` and `last_at` are those of the newest message on it.
    """

    id: str
    user_id: str
    name: str = Field(min_length=1, max_length=120)
    shown: str = Field("", max_length=200, description="Where it leads, without secrets.")
    events: tuple[NotificationKind, ...] = ()
    created_at: datetime
    last_state: DeliveryState | None = None
    last_error: str = ""
    last_at: datetime | None = None


class Delivery(Frozen):
    """One message for one route, as a dispatcher is given it: to be sent at most once."""

    claim_id: str
    route_id: str
    ciphertext: str = Field(repr=False)
    key_id: str
    tries: int = Field(description="How often it was tried, this time included.")
    notification: Notification
    job: Job | None = None
