"""One action on several jobs: each is tried, and what came of them is told in one line."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from lora_core import lifecycle
from lora_core.actions import jobs, queue
from lora_core.actions.workspace import Workspace
from lora_core.errors import NotFound, StudioError
from lora_core.schema.job import Job, JobStatus


class Verb(StrEnum):
    """What can be done with several jobs at once."""

    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"
    CHECKPOINT = "checkpoint"
    PRIORITISE = "prioritise"
    ARCHIVE = "archive"
    UNARCHIVE = "unarchive"
    DELETE = "delete"


@dataclass(frozen=True)
class Outcome:
    """What came of one action on several jobs: a word for each, in their order.

    Attributes:
        done: Words such as "cancelled" or "asked to cancel".
        refused: Words such as "had ended already".
    """

    done: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """Say it in one line.

        >>> Outcome(("cancelled",) * 7, ("had ended already",) * 2).summary
        '7 cancelled, 2 had ended already.'
        """
        counted = [*Counter(self.done).items(), *Counter(self.refused).items()]
        return ", ".join(f"{count} {word}" for word, count in counted).removesuffix(".") + "."


def act_on_jobs(workspace: Workspace, job_ids: Sequence[str], verb: Verb, *, priority: int = 0) -> Outcome:
    """Do the same with several jobs. One that refuses keeps the others from nothing.

    Args:
        priority: What `PRIORITISE` gives them, from -100 to 100.
    """
    act = partial(queue.prioritise_job, priority=priority) if verb is Verb.PRIORITISE else _ACTIONS[verb]
    done: list[str] = []
    refused: list[str] = []
    for job_id in dict.fromkeys(job_ids):
        try:
            job = workspace.jobs.get(job_id)
        except NotFound:
            refused.append("gone already")
            continue
        except StudioError as error:
            refused.append(f"not changed: {error}")
            continue
        try:
            done.append(_word(verb, act(workspace, job_id)))
        except StudioError as error:
            refused.append(_why_not(verb, job) or f"not changed: {error}")
    return Outcome(tuple(done), tuple(refused))


_ACTIONS: dict[Verb, Callable[[Workspace, str], Job | None]] = {
    Verb.PAUSE: jobs.pause_job,
    Verb.RESUME: jobs.resume_job,
    Verb.CANCEL: jobs.cancel_job,
    Verb.CHECKPOINT: jobs.save_checkpoint,
    Verb.ARCHIVE: jobs.archive_job,
    Verb.UNARCHIVE: lambda workspace, job_id: jobs.archive_job(workspace, job_id, archived=False),
    Verb.DELETE: jobs.delete_job,
}
_DONE = {
    Verb.PAUSE: "paused",
    Verb.RESUME: "queued",
    Verb.CANCEL: "cancelled",
    Verb.CHECKPOINT: "asked for a checkpoint",
    Verb.ARCHIVE: "archived",
    Verb.UNARCHIVE: "taken back",
    Verb.DELETE: "deleted",
}


def _word(verb: Verb, job: Job | None) -> str:
    if job is not None and job.requested_action is not None and verb in (Verb.PAUSE, Verb.CANCEL):
        return f"asked to {verb.value}"
    if job is not None and verb is Verb.PRIORITISE:
        return f"with priority {job.priority}"
    return _DONE[verb]


def _why_not(verb: Verb, job: Job) -> str:
    """Say what the state of a job refused, as it was just before; empty if that explains nothing."""
    over = jobs.is_over(job)
    if verb in (Verb.PAUSE, Verb.CANCEL) and over:
        return "had ended already"
    if verb is Verb.CHECKPOINT and job.status is not JobStatus.RUNNING:
        return "not running"
    if verb is Verb.PRIORITISE and (over or jobs.is_held(job)):
        return "not waiting any more"
    if verb is Verb.PAUSE and job.status is JobStatus.PAUSED:
        return "paused already"
    if verb is Verb.RESUME and job.status in lifecycle.LIVE:
        return "queued or running already"
    if verb is Verb.RESUME and job.status is JobStatus.COMPLETED:
        return "completed already"
    if verb in (Verb.ARCHIVE, Verb.DELETE) and not over:
        return "not ended yet"
    return ""
