"""Data sets as a runner leaves them: uploaded through the action, checked by the real check."""

from pathlib import Path

from lora_core.actions.datasets import issues_key, upload_dataset
from lora_core.actions.files import chunks_of, local_copy
from lora_core.actions.workspace import Workspace
from lora_core.datasets.check import check_file
from lora_core.schema.base import utc_now
from lora_core.schema.dataset import CheckReport, Dataset, DatasetFormat, DatasetStatus
from lora_core.schema.runner import RunnerInfo, TaskKind
from lora_core.studio import Studio

RUNNER = RunnerInfo(id="r1", name="r1", version="0", started_at=utc_now(), seen_at=utc_now())


def end_tasks(studio: Studio, *, error: str = "") -> None:
    """Claim every waiting task and end it."""
    port = studio.task_port()
    while task := port.claim_task(RUNNER, lease_seconds=60):
        port.end_task(task.id, error=error)


def checked_dataset(
    studio: Studio, content: str, *, file_name: str = "rows.jsonl", name: str = ""
) -> Dataset:
    """Upload a file and do what the check task does to it."""
    workspace = studio.workspace()
    dataset = upload_dataset(workspace, file_name, iter([content.encode()]), name=name)
    issues = workspace.settings.root / f"issues-{dataset.id}.jsonl"
    report = check_file(local_copy(workspace, dataset), file_name=file_name, issues_path=issues)
    _keep_issues(workspace, dataset, issues)
    end_tasks(studio)
    return workspace.datasets.save(
        dataset.model_copy(
            update={
                "format": report.format,
                "mapping": report.mapping,
                "rows": report.rows,
                "report": report,
                "status": status_of(report),
            }
        )
    )


def status_of(report: CheckReport) -> DatasetStatus:
    """The status a report leads to."""
    if report.fatal:
        return DatasetStatus.UNREADABLE
    if report.format is DatasetFormat.UNKNOWN:
        return DatasetStatus.NEEDS_MAPPING
    return DatasetStatus.HAS_ERRORS if report.error_rows else DatasetStatus.READY


def claimed_task(studio: Studio, kind: TaskKind) -> str:
    """Let a runner take the waiting task of a kind; return its id."""
    task = studio.task_port().claim_task(RUNNER, lease_seconds=60)
    assert task is not None
    assert task.kind is kind
    return task.id


def _keep_issues(workspace: Workspace, dataset: Dataset, issues: Path) -> None:
    if issues.exists():
        workspace.blobs.put(dataset.storage_bucket, issues_key(dataset), chunks_of(issues.open("rb")))
        issues.unlink()
