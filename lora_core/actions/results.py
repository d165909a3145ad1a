"""What a person takes home from a job: adapter, checkpoints, metrics, logs. Everything streams."""

from collections.abc import Iterator, Sequence

from lora_core.actions.files import HasSignedUrls, csv_of, zip_of
from lora_core.actions.workspace import Workspace
from lora_core.errors import NotAllowed, NotFound
from lora_core.schema.artifact import Artifact, ArtifactKind
from lora_core.schema.metrics import METRIC_COLUMNS, MetricKind, MetricPoint

MOST_LINK_HOURS = 168
EVENTS_HEADER = ["at", "actor", "action", "from_status", "to_status", "reason"]
CSV_HEADER = ["kind", "step", "attempt", "recorded_at", *METRIC_COLUMNS]


def list_artifacts(workspace: Workspace, job_id: str, kind: ArtifactKind | None = None) -> Sequence[Artifact]:
    """Return what a job has left, newest first."""
    return workspace.artifacts.list(job_id, kind)


def find_adapter(workspace: Workspace, job_id: str) -> Artifact | None:
    """Return the newest adapter of a job, or None while it has none."""
    adapters = workspace.artifacts.list(job_id, ArtifactKind.ADAPTER)
    return adapters[0] if adapters else None


def download_artifact(workspace: Workspace, artifact_id: str) -> tuple[str, Iterator[bytes]]:
    """Return a file name and a zip of one artifact, made while it is read.

    Raises:
        NotFound: No such artifact of this person.
    """
    artifact = workspace.artifacts.get(artifact_id)
    job = workspace.jobs.get(artifact.job_id)
    suffix = f"-step-{artifact.step}" if artifact.kind is ArtifactKind.CHECKPOINT else ""
    return f"{safe_file_name(job.name)}-{artifact.kind.value}{suffix}.zip", zip_of(workspace, [artifact])


def link_artifact(workspace: Workspace, artifact_id: str, *, hours: float) -> dict[str, str]:
    """Return an address for each file of an artifact that opens it without a session, for so many hours.

    Returns:
        {file name: address}.

    Raises:
        NotAllowed: The store is a folder on this machine, or the hours are not between a minute and a week.
        NotFound: No such artifact of this person.
    """
    blobs = workspace.blobs
    if not isinstance(blobs, HasSignedUrls):
        raise NotAllowed(
            "Files of a one-person studio have no address.", "Use `download` without --link-hours."
        )
    if not 1 / 60 <= hours <= MOST_LINK_HOURS:
        raise NotAllowed(f"A link lasts between a minute and {MOST_LINK_HOURS} hours.")
    artifact = workspace.artifacts.get(artifact_id)
    return {
        file.name: blobs.signed_url(
            artifact.bucket, f"{artifact.path}/{file.name}", seconds=int(hours * 3600)
        )
        for file in artifact.files
    }


def download_metrics(workspace: Workspace, job_id: str) -> tuple[str, Iterator[bytes]]:
    """Return a file name and all points of a job as CSV."""
    job = workspace.jobs.get(job_id)
    return f"{safe_file_name(job.name)}-metrics.csv", csv_of(CSV_HEADER, _rows(workspace, job_id))


def download_logs(workspace: Workspace, job_id: str) -> tuple[str, Iterator[bytes]]:
    """Return a file name and a zip of the logs of every attempt.

    Raises:
        NotFound: No attempt has ended yet.
    """
    job = workspace.jobs.get(job_id)
    logs = workspace.artifacts.list(job_id, ArtifactKind.LOGS)
    if not logs:
        raise NotFound("No log file has been stored yet.", "They are stored when an attempt ends.")
    return f"{safe_file_name(job.name)}-logs.zip", zip_of(workspace, logs, folders=True)


def download_events(workspace: Workspace, job_id: str) -> tuple[str, Iterator[bytes]]:
    """Return a file name and the whole audit trail of a job as CSV, newest line first."""
    job = workspace.jobs.get(job_id)
    return f"{safe_file_name(job.name)}-events.csv", csv_of(EVENTS_HEADER, _event_rows(workspace, job_id))


def pin_checkpoint(workspace: Workspace, artifact_id: str, *, pinned: bool) -> Artifact:
    """Protect a checkpoint from rotation, or let go of it."""
    return workspace.artifacts.pin(artifact_id, pinned=pinned)


def delete_artifact(workspace: Workspace, artifact_id: str) -> None:
    """Remove one artifact and its files."""
    workspace.artifacts.delete(artifact_id)


def safe_file_name(name: str) -> str:
    """Make a person's name fit for a file name.

    >>> safe_file_name("../my job: ä")
    'my-job-ä'
    """
    kept = "".join(character if character.isalnum() or character in "-_." else " " for character in name)
    return "-".join(kept.split()).strip(".-") or "job"


def _rows(workspace: Workspace, job_id: str) -> Iterator[list[object]]:
    for kind in MetricKind:
        cursor: str | None = None
        while True:
            page = workspace.metrics.points(job_id, kind, limit=500, cursor=cursor)
            yield from (_cells(point) for point in page.items)
            cursor = page.cursor
            if cursor is None:
                break


def _event_rows(workspace: Workspace, job_id: str) -> Iterator[list[object]]:
    cursor: str | None = None
    while True:
        page = workspace.jobs.events(job_id, limit=500, cursor=cursor)
        for event in page.items:
            moves = [status.value if status else "" for status in (event.from_status, event.to_status)]
            yield [event.at.isoformat(), event.actor, event.action, *moves, event.reason]
        cursor = page.cursor
        if cursor is None:
            break


def _cells(point: MetricPoint) -> list[object]:
    """One CSV row; a value that was not finite is written as nan, inf or -inf."""
    values = (point.nonfinite.get(column, getattr(point, column)) for column in METRIC_COLUMNS)
    return [point.kind.value, point.step, point.attempt, point.recorded_at.isoformat(), *values]
