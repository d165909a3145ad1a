"""Hands one queued job to a machine that gets nothing but a token for it: a rented computer, a pod, a friend's workstation."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from lora_core.actions.runners import project_environment, start_command
from lora_core.actions.workspace import Workspace
from lora_core.errors import ConfigError, NotAllowed
from lora_core.schema.job import JobStatus
from lora_core.secrets import Secret, TokenKind, new_token, token_sha256

WAIT_SECONDS = 900.0
LEAST_WAIT_SECONDS, MOST_WAIT_SECONDS = 30.0, 86_400.0
JOB_TOKEN_HOURS = 72
"""A token that was handed out ends after this long, whatever happens; the store sets it."""


@dataclass(frozen=True)
class Handout:
    """A job that waits for the holder of a token. The token exists here and nowhere else."""

    job_id: str
    attempt: int
    token: Secret
    environment: Mapping[str, str] = field(repr=False)
    """All that the machine needs in its environment; holds the token."""
    wait_seconds: float

    @property
    def command(self) -> str:
        """What to type on the machine, in a checkout of the studio; holds the token."""
        return start_command(self.environment, "python -m runner --job")


def hand_out_job(workspace: Workspace, job_id: str, *, wait_seconds: float = WAIT_SECONDS) -> Handout:
    """Begin an attempt for a machine that will show up with the token. It reaches this job and its data set, nothing else.

    If it does not show up within `wait_seconds`, the job goes back to the queue and any runner may take it.

    Raises:
        NotAllowed: The embedded mode (another machine cannot reach this one's files), or the job is not queued.
        ConfigError: `wait_seconds` is out of bounds.
        NotFound: No such job of this person.
    """
    if workspace.handout is None:
        raise NotAllowed(
            "This studio keeps its jobs on this machine, where no other machine reaches them.",
            "Connect a Supabase project to hand jobs to other machines (docs/supabase.md).",
        )
    if not LEAST_WAIT_SECONDS <= wait_seconds <= MOST_WAIT_SECONDS:
        raise ConfigError(
            f"wait_seconds: the machine may take {LEAST_WAIT_SECONDS:.0f} to {MOST_WAIT_SECONDS:.0f} seconds to show up."
        )
    job = workspace.jobs.get(job_id)
    if job.status is not JobStatus.QUEUED:
        raise NotAllowed(
            f"Job {job.name!r} is {job.status.value}; only a queued job can be handed out.",
            "Resume or retry it first." if job.status is not JobStatus.COMPLETED else "",
        )
    token = new_token(TokenKind.JOB)
    attempt = workspace.handout.hand_out(job_id, token_sha256(token.reveal()), wait_seconds=wait_seconds)
    environment = project_environment(workspace.settings) | {"LORA_STUDIO_JOB_TOKEN": token.reveal()}
    return Handout(job_id, attempt, token, environment, wait_seconds)
