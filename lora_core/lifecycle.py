"""The states of a job and the one table of transitions between them. Knows no store."""

from lora_core.errors import NotAllowed
from lora_core.schema.job import JobStatus, RequestedAction

Q, I, R = JobStatus.QUEUED, JobStatus.INITIALIZING, JobStatus.RUNNING  # noqa: E741
P, F, X, C = JobStatus.PAUSED, JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.COMPLETED

TRANSITIONS: dict[JobStatus, frozenset[JobStatus]] = {
    Q: frozenset({I, P, X, F}),
    I: frozenset({R, Q, P, F, X}),
    R: frozenset({C, Q, P, F, X}),
    P: frozenset({Q, X}),
    F: frozenset({Q}),
    X: frozenset({Q}),
    C: frozenset(),
}
"""From each state, the states it may become."""

LIVE = frozenset({Q, I, R})
"""Only while a job is in one of these do pages refresh by themselves."""

OWNED = frozenset({I, R})
"""States in which a runner holds the job."""

REQUESTS: dict[RequestedAction, frozenset[JobStatus]] = {
    RequestedAction.PAUSE: OWNED,
    RequestedAction.CANCEL: OWNED,
    RequestedAction.CHECKPOINT: frozenset({R}),
}
"""In which states a runner can be asked for what."""


def can_move(current: JobStatus, new: JobStatus) -> bool:
    """Say whether the table allows the transition.

    >>> can_move(JobStatus.QUEUED, JobStatus.INITIALIZING), can_move(JobStatus.COMPLETED, JobStatus.QUEUED)
    (True, False)
    """
    return new in TRANSITIONS[current]


def check_move(current: JobStatus, new: JobStatus) -> None:
    """Refuse a transition that the table does not have.

    Raises:
        NotAllowed: The job is in a state from which it cannot become `new`.
    """
    if not can_move(current, new):
        raise NotAllowed(f"A job that is {current.value} cannot become {new.value}.")
