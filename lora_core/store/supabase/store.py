"""Opens one person's stores over a Supabase project. What belongs to a person is reached with that person's token alone."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lora_core.errors import Forbidden
from lora_core.store.supabase.artifacts import SupabaseArtifactStore
from lora_core.store.supabase.blobs import SupabaseBlobStore
from lora_core.store.supabase.client import PersonClient, bearer
from lora_core.store.supabase.configs import SupabaseConfigStore
from lora_core.store.supabase.datasets import SupabaseDatasetStore
from lora_core.store.supabase.files import StorageFiles
from lora_core.store.supabase.handout import SupabaseJobHandout
from lora_core.store.supabase.jobs import SupabaseJobStore
from lora_core.store.supabase.metrics import SupabaseMetricStore
from lora_core.store.supabase.notification_routes import SupabaseNotificationRouteStore
from lora_core.store.supabase.notifications import SupabaseNotificationStore
from lora_core.store.supabase.operator import SupabaseOperatorStore
from lora_core.store.supabase.registry import SupabaseRunnerRegistry
from lora_core.store.supabase.rows import is_id
from lora_core.store.supabase.runners import SupabaseRunnerStore
from lora_core.store.supabase.tasks import SupabaseTaskStore


@dataclass(frozen=True)
class SupabaseUserStore:
    """The stores of one person of a team. Close it when the session ends."""

    datasets: SupabaseDatasetStore
    configs: SupabaseConfigStore
    jobs: SupabaseJobStore
    metrics: SupabaseMetricStore
    artifacts: SupabaseArtifactStore
    blobs: SupabaseBlobStore
    tasks: SupabaseTaskStore
    notifications: SupabaseNotificationStore
    routes: SupabaseNotificationRouteStore
    runners: SupabaseRunnerStore
    registry: SupabaseRunnerRegistry
    handout: SupabaseJobHandout
    operator: SupabaseOperatorStore
    close: Callable[[], None]


def open_user_store(
    url: str, key: str, user_id: str, token: Callable[[], str], *, spool: Path
) -> SupabaseUserStore:
    """Open the stores of one person. Nothing is asked of the project yet.

    Args:
        url: Address of the project.
        key: Its publishable key.
        user_id: The person's id.
        token: Returns the person's access token, fresh; asked before each request.
        spool: Folder for uploads on their way; nobody else's.

    Raises:
        StoreError: The address or the key is none.
    """
    if not is_id(user_id):
        raise Forbidden("A person's id is a UUID.")
    client = PersonClient(url, key, token)
    files = StorageFiles(url, lambda: {"apikey": key, "authorization": bearer(token())})
    jobs = SupabaseJobStore(client, files, user_id)

    def close() -> None:
        client.close()
        files.close()

    return SupabaseUserStore(
        datasets=SupabaseDatasetStore(client, user_id),
        configs=SupabaseConfigStore(client, user_id),
        jobs=jobs,
        metrics=SupabaseMetricStore(client, jobs),
        artifacts=SupabaseArtifactStore(client, files, jobs, user_id),
        blobs=SupabaseBlobStore(
            files, user_id, spool, lambda: client.rpc("studio_about", {})["max_object_bytes"]
        ),
        tasks=SupabaseTaskStore(client, user_id),
        notifications=SupabaseNotificationStore(client, user_id),
        routes=SupabaseNotificationRouteStore(client, user_id),
        runners=SupabaseRunnerStore(client, user_id),
        registry=SupabaseRunnerRegistry(client, user_id),
        handout=SupabaseJobHandout(client),
        operator=SupabaseOperatorStore(client),
        close=close,
    )
