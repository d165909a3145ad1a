"""Artifacts of one person's jobs: rows that describe folders in the file tree."""

# ruff: noqa: S608 - what is put into statements are names of columns from this code; values are always bound.

from collections.abc import Sequence
from typing import Any, BinaryIO

from lora_core.errors import NotAllowed, NotFound
from lora_core.schema.artifact import Artifact, ArtifactKind
from lora_core.schema.job import JobStatus
from lora_core.store.local.database import Database
from lora_core.store.local.files import FileTree
from lora_core.store.local.job_rows import get_row
from lora_core.store.local.rows import Row, from_json, stamp, to_json

COLUMNS = tuple(Artifact.model_fields)
_NEWEST = "ORDER BY attempt DESC, step DESC, created_at DESC, id"


class LocalArtifactStore:
    """ArtifactStore over SQLite and a folder."""

    def __init__(self, database: Database, files: FileTree, user_id: str) -> None:
        self._database = database
        self._files = files
        self._user_id = user_id

    def list(self, job_id: str, kind: ArtifactKind | None = None) -> Sequence[Artifact]:
        """Return artifacts of a job, newest first; see `ArtifactStore.list`."""
        with self._database.read() as connection:
            get_row(connection, self._user_id, job_id)
            rows = connection.execute(
                f"SELECT * FROM model_artifacts WHERE job_id = ? AND (? IS NULL OR kind = ?) {_NEWEST}",
                (job_id, kind, kind),
            ).fetchall()
        return [read_artifact(row) for row in rows]

    def get(self, artifact_id: str) -> Artifact:
        """Return one artifact; see `ArtifactStore.get`."""
        with self._database.read() as connection:
            return self._get(connection, artifact_id)

    def open(self, artifact_id: str, file_name: str) -> BinaryIO:
        """Open one file of an artifact; see `ArtifactStore.open`."""
        return open_file(self._files, self.get(artifact_id), file_name)

    def pin(self, artifact_id: str, *, pinned: bool) -> Artifact:
        """Protect a checkpoint from rotation; see `ArtifactStore.pin`."""
        with self._database.write() as connection:
            self._get(connection, artifact_id)
            connection.execute(
                "UPDATE model_artifacts SET pinned = ? WHERE id = ?", (int(pinned), artifact_id)
            )
            return self._get(connection, artifact_id)

    def delete(self, artifact_id: str) -> None:
        """Remove the row, then its files; see `ArtifactStore.delete`."""
        with self._database.write() as connection:
            artifact = self._get(connection, artifact_id)
            job = get_row(connection, self._user_id, artifact.job_id)
            newest = newest_checkpoint(connection, artifact.job_id)
            if job["status"] != JobStatus.COMPLETED and newest is not None and newest.id == artifact_id:
                raise NotAllowed(
                    "This is the newest checkpoint of a job that has not completed.",
                    "Delete the job if you do not need it.",
                )
            connection.execute("DELETE FROM model_artifacts WHERE id = ?", (artifact_id,))
        self._files.delete(artifact.bucket, artifact.path)

    def _get(self, connection: Any, artifact_id: str) -> Artifact:
        row = connection.execute(
            "SELECT * FROM model_artifacts WHERE id = ? AND user_id = ?", (artifact_id, self._user_id)
        ).fetchone()
        if row is None:
            raise NotFound("There is no such artifact (any more).")
        return read_artifact(row)


def open_file(files: FileTree, artifact: Artifact, file_name: str) -> BinaryIO:
    """Open one file of an artifact.

    Raises:
        NotFound: The artifact has no file of that name.
    """
    if file_name not in {file.name for file in artifact.files}:
        raise NotFound(f"{artifact.name} has no file of that name.")
    return files.open(artifact.bucket, f"{artifact.path}/{file_name}")


def newest_checkpoint(connection: Any, job_id: str) -> Artifact | None:
    """Return the checkpoint from which a job would go on."""
    row = connection.execute(
        f"SELECT * FROM model_artifacts WHERE job_id = ? AND kind = 'checkpoint' {_NEWEST} LIMIT 1", (job_id,)
    ).fetchone()
    return read_artifact(row) if row is not None else None


def checkpoint_to_start(connection: Any, job_id: str) -> Artifact | None:
    """Return where the next attempt begins: the chosen checkpoint, else the newest, else that of the parent job."""
    chosen = connection.execute(
        "SELECT a.* FROM model_artifacts a JOIN training_jobs j ON j.resume_from = a.id AND j.id = a.job_id WHERE j.id = ?",
        (job_id,),
    ).fetchone()
    if chosen is not None:
        return read_artifact(chosen)
    return newest_checkpoint(connection, job_id) or parent_checkpoint(connection, job_id)


def parent_checkpoint(connection: Any, job_id: str, artifact_id: str | None = None) -> Artifact | None:
    """Return the checkpoint that a job was forked from, if it is still there (and has this id)."""
    row = connection.execute(
        "SELECT a.* FROM model_artifacts a JOIN training_jobs j"
        " ON j.parent_artifact_id = a.id AND j.user_id = a.user_id WHERE j.id = ? AND (? IS NULL OR a.id = ?)",
        (job_id, artifact_id, artifact_id),
    ).fetchone()
    return read_artifact(row) if row is not None else None


def has_its_start(connection: Any, job: Row) -> bool:
    """Say whether a job can start as its person meant it: a fork without its checkpoint would begin from nothing."""
    return job["parent_artifact_id"] is None or checkpoint_to_start(connection, job["id"]) is not None


def insert_artifact(connection: Any, artifact: Artifact) -> None:
    """Insert a row; of the artifacts of a kind only one is the best."""
    if artifact.best:
        connection.execute(
            "UPDATE model_artifacts SET best = 0 WHERE job_id = ? AND kind = ?",
            (artifact.job_id, artifact.kind.value),
        )
    values = {
        **artifact.model_dump(),
        "kind": artifact.kind.value,
        "files": to_json([file.model_dump() for file in artifact.files]),
        "best": int(artifact.best),
        "pinned": int(artifact.pinned),
        "created_at": stamp(artifact.created_at),
    }
    marks = ", ".join(f":{name}" for name in COLUMNS)
    connection.execute(f"INSERT INTO model_artifacts ({', '.join(COLUMNS)}) VALUES ({marks})", values)


def read_artifact(row: Row) -> Artifact:
    """Make an artifact of its row."""
    return Artifact.model_validate({name: row[name] for name in COLUMNS} | {"files": from_json(row["files"])})
