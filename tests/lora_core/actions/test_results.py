"""Downloads are made while they are read, and hold what the runner stored."""

import csv
import io
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from lora_core.actions import results
from lora_core.actions.workspace import Workspace
from lora_core.errors import NotAllowed, NotFound
from lora_core.schema.artifact import Artifact, ArtifactKind
from lora_core.schema.base import new_id, utc_now
from lora_core.schema.job import JobStatus
from lora_core.schema.run import EventKind, RunEvent
from lora_core.studio import Studio
from tests.lora_core.actions.scenes import claimed, submitted


@pytest.fixture
def adapter(studio: Studio, workspace: Workspace, tmp_path: Path) -> Artifact:
    job = submitted(workspace, "my job: 1")
    folder = tmp_path / "adapter"
    (folder / "nested").mkdir(parents=True)
    (folder / "adapter_model.safetensors").write_bytes(b"x" * 3_000_000)
    (folder / "nested" / "note.txt").write_text("hello")
    artifact = Artifact(
        id=new_id(),
        user_id=workspace.user_id,
        job_id=job.id,
        attempt=claimed(studio),
        kind=ArtifactKind.ADAPTER,
        name="adapter",
        path="",
        created_at=utc_now(),
    )
    return studio.runner_port().put_artifact(artifact.attempt, artifact, folder)


class SigningBlobs:
    """A blob store that makes addresses."""

    def signed_url(self, bucket: str, key: str, *, seconds: int) -> str:
        return f"https://x/{bucket}/{key}?for={seconds}"


def test_a_store_with_addresses_gives_one_for_each_file(workspace: Workspace, adapter: Artifact) -> None:
    signing = replace(workspace, blobs=SigningBlobs())  # type: ignore[arg-type]
    links = results.link_artifact(signing, adapter.id, hours=2)
    assert links == {
        name: f"https://x/model-artifacts/{adapter_path(workspace, adapter)}/{name}?for=7200"
        for name in ("adapter_model.safetensors", "nested/note.txt")
    }


def adapter_path(workspace: Workspace, adapter: Artifact) -> str:
    return workspace.artifacts.get(adapter.id).path


@pytest.mark.parametrize("hours", [0, -1, 169, float("nan"), float("inf")])
def test_a_link_has_its_measure(workspace: Workspace, adapter: Artifact, hours: float) -> None:
    signing = replace(workspace, blobs=SigningBlobs())  # type: ignore[arg-type]
    with pytest.raises(NotAllowed, match="168 hours"):
        results.link_artifact(signing, adapter.id, hours=hours)


def test_a_folder_has_no_addresses(workspace: Workspace, adapter: Artifact) -> None:
    with pytest.raises(NotAllowed, match="one-person"):
        results.link_artifact(workspace, adapter.id, hours=1)


def test_an_adapter_comes_as_a_zip_of_its_files(workspace: Workspace, adapter: Artifact) -> None:
    name, content = results.download_artifact(workspace, adapter.id)
    archive = zipfile.ZipFile(io.BytesIO(b"".join(content)))
    assert name == "my-job-1-adapter.zip"
    assert archive.testzip() is None
    assert {entry.filename: entry.file_size for entry in archive.infolist()} == {
        "adapter_model.safetensors": 3_000_000,
        "nested/note.txt": 5,
    }


def test_a_zip_is_made_in_small_pieces(workspace: Workspace, adapter: Artifact) -> None:
    _name, content = results.download_artifact(workspace, adapter.id)
    assert max(len(piece) for piece in content) <= 1 << 20


def test_metrics_come_as_csv_with_every_point(studio: Studio, workspace: Workspace) -> None:
    job = submitted(workspace)
    data = {"kind": "train", "step": 1, "loss": None, "nonfinite": {"loss": "nan"}}
    event = RunEvent(seq=1, at=utc_now(), kind=EventKind.METRICS, data=data)
    studio.runner_port().ship(job.id, claimed(studio), [event])
    _name, content = results.download_metrics(workspace, job.id)
    (row,) = csv.DictReader(io.StringIO(b"".join(content).decode()))
    assert (row["kind"], row["step"], row["loss"]) == ("train", "1", "nan")


def test_logs_of_a_job_that_never_ran_are_not_found(workspace: Workspace) -> None:
    with pytest.raises(NotFound, match="No log file"):
        results.download_logs(workspace, submitted(workspace).id)


def test_the_audit_trail_comes_whole_as_csv(workspace: Workspace) -> None:
    job = submitted(workspace)
    for _ in range(300):  # more than one page of the store's list
        workspace.jobs.move(job.id, JobStatus.PAUSED, reason="a, b")
        workspace.jobs.move(job.id, JobStatus.QUEUED)
    name, content = results.download_events(workspace, job.id)
    lines = list(csv.reader(io.StringIO(b"".join(content).decode())))
    assert (name, lines[0]) == ("job-events.csv", results.EVENTS_HEADER)
    assert len(lines) == 602
    assert lines[2][2:] == ["held", "queued", "paused", "a, b"]
    assert lines[-1][1:] == [workspace.user_id, "submitted", "", "queued", ""]
