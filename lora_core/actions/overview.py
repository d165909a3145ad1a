"""What the home page shows: live jobs, recent jobs, counts, runners, unread messages. Read in one go."""

from collections.abc import Sequence
from dataclasses import dataclass

from lora_core.actions.jobs import online_runners
from lora_core.actions.workspace import Workspace
from lora_core.lifecycle import LIVE
from lora_core.schema.base import Page
from lora_core.schema.job import Job, JobFilter, JobStatus
from lora_core.schema.notification import Notification
from lora_core.schema.runner import RunnerInfo

MAX_LIVE = 24


@dataclass(frozen=True)
class Overview:
    """One look at the whole studio."""

    live: Sequence[Job]
    recent: Sequence[Job]
    counts: dict[JobStatus, int]
    datasets: int
    runners: Sequence[RunnerInfo]
    unread: int
    cost_usd: float


def read_overview(workspace: Workspace) -> Overview:
    """Read everything the home page shows. `datasets` counts up to 50, `cost_usd` sums the jobs shown."""
    live = workspace.jobs.list(JobFilter(statuses=tuple(sorted(LIVE))), limit=MAX_LIVE).items
    ended = tuple(status for status in JobStatus if status not in LIVE)
    recent = workspace.jobs.list(JobFilter(statuses=ended), limit=8).items
    return Overview(
        live=live,
        recent=recent,
        counts=workspace.jobs.counts(),
        datasets=len(workspace.datasets.list(limit=50).items),
        runners=online_runners(workspace),
        unread=workspace.notifications.unread(),
        cost_usd=sum(job.cost_usd for job in [*live, *recent]),
    )


def list_notifications(workspace: Workspace, *, cursor: str | None = None) -> Page[Notification]:
    """Return messages to this person, newest first."""
    return workspace.notifications.list(limit=50, cursor=cursor)


def count_unread(workspace: Workspace) -> int:
    """Return how many messages to this person are unread."""
    return workspace.notifications.unread()


def mark_notifications_read(workspace: Workspace, notification_ids: Sequence[str] | None = None) -> None:
    """Mark some messages as read, or all."""
    workspace.notifications.mark_read(notification_ids)
