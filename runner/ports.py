"""From settings to what an agent works with: the database beside it, a team's project, or one job that was handed out."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lora_core.errors import ConfigError
from lora_core.settings import Settings
from lora_core.store.base import DispatchPort, RunnerPort, TaskPort
from runner.cadence import FAR, NEAR, POD, Cadence

TEAM_LEASE_SECONDS = 120.0
"""A project may be away for a minute. With a shorter lease its runners would lose their jobs to each other then."""


@dataclass(frozen=True)
class Ports:
    """One store, as a runner sees it.

    Attributes:
        settings: The settings, with what this kind of store makes of them.
        jobs: Jobs.
        tasks: Tasks; None where the runner has no right to any.
        cadence: How often the store is called.
        identities: Folder of the runner's identity. Each token has its own: an id belongs to one registration.
        where: The store in words.
        close: Called at the end.
        dispatch: Notification routes; None for a machine that was handed one job.
    """

    settings: Settings
    jobs: RunnerPort
    tasks: TaskPort | None
    cadence: Cadence
    identities: Path
    where: str
    close: Callable[[], None]
    dispatch: DispatchPort | None = None


def open_ports(settings: Settings, *, job: bool = False) -> Ports:
    """Open the store that the settings name. What the other kind needs is not even loaded.

    Args:
        job: Work on the one job whose token is in the settings.

    Raises:
        ConfigError: A token or the project's address is missing.
    """
    identities = settings.root / "runners"
    if not settings.team:
        if job:
            raise ConfigError(
                "A job can be handed out by a team's project only.",
                "Set SUPABASE_URL and SUPABASE_PUBLISHABLE_KEY.",
            )
        from lora_core.store.local import LocalStore

        store = LocalStore(settings)
        where = f"home {settings.root}"
        return Ports(
            settings,
            store.runner_port(),
            store.task_port(),
            NEAR,
            identities,
            where,
            store.close,
            store.dispatch_port(),
        )
    from lora_core.store.supabase.runner_ports import open_dispatch_port, open_pod_port, open_runner_ports

    if "lease_seconds" not in settings.model_fields_set:
        settings = settings.model_copy(update={"lease_seconds": TEAM_LEASE_SECONDS})
    token = (settings.job_token if job else settings.runner_token).get_secret_value()
    identities /= hashlib.sha256(f"{settings.supabase_url} {token}".encode()).hexdigest()[:12]
    where = f"{settings.supabase_url}; home {settings.root}"
    if job:
        pod = open_pod_port(settings)
        return Ports(settings, pod, None, POD, identities, where, pod.close)
    jobs, tasks = open_runner_ports(settings)
    dispatch, close_dispatch = open_dispatch_port(settings)

    def close() -> None:
        jobs.close()
        close_dispatch()

    return Ports(settings, jobs, tasks, FAR, identities, where, close, dispatch)
