"""What a person has asked of a running job and whether anybody has answered yet, in words. Asking itself is in `jobs.py`."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from lora_core.actions.workspace import Workspace
from lora_core.schema.base import utc_now
from lora_core.schema.job import Job, RequestedAction

ANSWER_SECONDS = 2.0
"""A request is answered within this, or the page says that it was not."""

_LATEST_EVENTS = 50
_ANSWERED = {
    RequestedAction.CANCEL: "Cancelling: the trainer is being stopped.",
    RequestedAction.PAUSE: "Pausing: a checkpoint is saved after the current step.",
    RequestedAction.CHECKPOINT: "A checkpoint is saved after the current step.",
}
_ASKED = {
    RequestedAction.CANCEL: "to cancel",
    RequestedAction.PAUSE: "to pause",
    RequestedAction.CHECKPOINT: "for a checkpoint",
}


@dataclass(frozen=True)
class OpenRequest:
    """A request that was not carried out yet.

    Attributes:
        answered: Whether the trainer, or the runner in its place, has said that it will do it.
        heard_at: When the runner was last heard of.
    """

    action: RequestedAction
    asked_at: datetime
    answered: bool
    heard_at: datetime | None


def read_request(workspace: Workspace, job: Job) -> OpenRequest | None:
    """Return what is asked of the job now; None if nothing is."""
    action = job.requested_action
    if action is None:
        return None
    asked_at, answered = job.updated_at, False
    for event in workspace.jobs.events(job.id, limit=_LATEST_EVENTS).items:
        if event.action == f"requested {action.value}":
            asked_at = event.at
            break
        answered = answered or event.action == f"acknowledged {action.value}"
    return OpenRequest(action, asked_at, answered, job.heartbeat_at)


def describe_request(
    request: OpenRequest, *, at: Callable[[datetime], str], now: datetime | None = None
) -> str:
    """Say how far a request is.

    Args:
        at: How moments are written.
    """
    if request.answered:
        return _ANSWERED[request.action]
    waited = ((now or utc_now()) - request.asked_at).total_seconds()
    asked = f"The job was asked {_ASKED[request.action]}"
    if waited < ANSWER_SECONDS:
        return f"{asked}; its runner answers in a moment."
    if request.heard_at is not None and request.heard_at > request.asked_at:
        return (
            f"{asked} {waited:.0f} s ago. Its runner is there, last heard of at {at(request.heard_at)}, but the trainer "
            "has not answered yet: it is starting, or in the middle of a long step."
        )
    heard = (
        f"it was last heard of at {at(request.heard_at)}" if request.heard_at else "it was not heard of yet"
    )
    return (
        f"{asked} {waited:.0f} s ago, and its runner has not answered yet: {heard}. "
        "The request stands and is carried out as soon as the runner is back."
    )
