"""Artifacts of one person's jobs over a project: rows that describe folders in a bucket."""

from collections.abc import Sequence
from typing import BinaryIO

from lora_core.errors import NotFound
from lora_core.schema.artifact import Artifact, ArtifactKind
from lora_core.store.base import MAX_PAGE
from lora_core.store.supabase.client import PersonClient
from lora_core.store.supabase.files import StorageFiles
from lora_core.store.supabase.jobs import SupabaseJobStore, unless_gone
from lora_core.store.supabase.rows import ARTIFACT_COLUMNS, check_id, not_found, read_artifact

_WHAT = "artifact"


class SupabaseArtifactStore:
    """ArtifactStore over PostgREST, functions and Storage."""

    def __init__(
        self, client: PersonClient, files: StorageFiles, jobs: SupabaseJobStore, user_id: str
    ) -> None:
        self._client = client
        self._files = files
        self._jobs = jobs
        self._user_id = user_id

    def list(self, job_id: str, kind: ArtifactKind | None = None) -> Sequence[Artifact]:
        """Return artifacts of a job, newest first; see `ArtifactStore.list`."""
        artifacts: list[Artifact] = []
        while True:
            query = self._client.table("model_artifacts").select(*ARTIFACT_COLUMNS)
            query = query.eq("job_id", check_id(job_id, "job")).eq("user_id", self._user_id)
            if kind is not None:
                query = query.eq("kind", kind.value)
            query = query.order("attempt", desc=True).order("step", desc=True, nullsfirst=False)
            query = query.order("created_at", desc=True).order("id")
            rows = self._client.rows(query.range(len(artifacts), len(artifacts) + MAX_PAGE - 1))
            artifacts += map(read_artifact, rows)
            if len(rows) < MAX_PAGE:
                break
        if not artifacts:
            self._jobs.check(job_id)
        return artifacts

    def get(self, artifact_id: str) -> Artifact:
        """Return one artifact; see `ArtifactStore.get`."""
        query = self._client.table("model_artifacts").select(*ARTIFACT_COLUMNS)
        query = query.eq("id", check_id(artifact_id, _WHAT)).eq("user_id", self._user_id)
        rows = self._client.rows(query.limit(1))
        if not rows:
            raise not_found(_WHAT)
        return read_artifact(rows[0])

    def open(self, artifact_id: str, file_name: str) -> BinaryIO:
        """Open one file of an artifact; see `ArtifactStore.open`."""
        artifact = self.get(artifact_id)
        if file_name not in {file.name for file in artifact.files}:
            raise NotFound(f"{artifact.name} has no file of that name.")
        return self._files.open(artifact.bucket, f"{artifact.path}/{file_name}")

    def pin(self, artifact_id: str, *, pinned: bool) -> Artifact:
        """Protect a checkpoint from rotation; see `ArtifactStore.pin`."""
        arguments = {"p_artifact": check_id(artifact_id, _WHAT), "p_pinned": pinned}
        return read_artifact(self._client.rpc("pin_artifact", arguments))

    def delete(self, artifact_id: str) -> None:
        """Remove the row, then its files; see `ArtifactStore.delete`."""
        artifact = self.get(artifact_id)
        self._client.rpc("delete_artifact", {"p_artifact": artifact_id}, settle=unless_gone)
        self._files.remove_folder(artifact.bucket, artifact.path)
