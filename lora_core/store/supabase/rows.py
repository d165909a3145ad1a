"""How a project's rows (JSON objects) become the studio's values and back, and what filters look like. Makes no call."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from lora_core.errors import NotFound
from lora_core.schema.artifact import Artifact
from lora_core.schema.config import TrainingConfig
from lora_core.schema.dataset import Dataset
from lora_core.schema.job import Attempt, Job, JobEvent, Requirements
from lora_core.schema.metrics import LogLine, MetricPoint
from lora_core.schema.notification import Notification
from lora_core.schema.people import Invitation, PersonTotals, Quota
from lora_core.schema.runner import RunnerInfo, RunnerRegistration, Task
from lora_core.store.cursors import no_such_place
from lora_core.store.supabase.documents import storable

Row = Mapping[str, Any]
"""One row as the project answers it: columns by name."""

DATASET_COLUMNS = tuple(Dataset.model_fields)
ARTIFACT_COLUMNS = tuple(Artifact.model_fields)
TASK_COLUMNS = tuple(Task.model_fields)
NOTIFICATION_COLUMNS = tuple(Notification.model_fields)
RUNNER_COLUMNS = tuple(RunnerInfo.model_fields)
EVENT_COLUMNS = tuple(JobEvent.model_fields)
ATTEMPT_COLUMNS = tuple(Attempt.model_fields)
POINT_COLUMNS = tuple(MetricPoint.model_fields)
LOG_COLUMNS = tuple(LogLine.model_fields)
_PLAIN_JOB_COLUMNS = tuple(name for name in Job.model_fields if name not in {"config", "requirements"})
JOB_COLUMNS = (*_PLAIN_JOB_COLUMNS, "config", "gpus", "gpu_memory_gb")

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_SIGNS = re.compile(r"[\\^$.\[\](){}*+?|]")
"""What has a meaning in a regular expression of PostgreSQL."""

_LONGEST_SEARCH = 200
"""A longer search text is cut: it has to fit into the address of a request."""


def is_id(text: str) -> bool:
    """Say whether a text can be the id of a row. What cannot is found nowhere, and the project need not be asked.

    >>> is_id("00000000-0000-4000-8000-00000000000a"), is_id("a; drop table")
    (True, False)
    """
    return _UUID.fullmatch(text) is not None


def check_id(text: str, what: str) -> str:
    """Return an id as it is.

    Args:
        what: What it should be the id of, in a person's words.

    Raises:
        NotFound: It can be the id of nothing.
    """
    if not is_id(text):
        raise not_found(what)
    return text


def not_found(what: str) -> NotFound:
    """Return the error of a row that is not there, or is somebody else's."""
    return NotFound(f"There is no such {what} (any more).")


def stamp(moment: datetime) -> str:
    """Write a time as UTC ISO text, to the microsecond as the database keeps it."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def search_pattern(text: str) -> str:
    r"""Return the regular expression that matches any text containing this one as it is.

    Not LIKE: PostgREST takes every `*` in a LIKE pattern for a wildcard, and there is no way to write a star.

    >>> print(search_pattern("50%_ (*)"))
    50%_ \(\*\)
    """
    return _SIGNS.sub(r"\\\g<0>", storable(text[:_LONGEST_SEARCH]))


def behind(keys: tuple[str, str], values: tuple[str, str] | tuple[int, int]) -> str:
    """Return the `or` filter for rows behind a place in a list that falls by two keys.

    The caller also asks for `first <= value`: with it the database finds the place in its index.

    >>> behind(("created_at", "id"), ("2026-01-02T03:04:05Z", "7"))
    'created_at.lt."2026-01-02T03:04:05Z",id.lt."7"'
    """
    return ",".join(f'{key}.lt."{value}"' for key, value in zip(keys, values, strict=True))


def read_place(keys: list[Any]) -> tuple[str, str]:
    """Return time and id of a cursor's keys, as they may stand in a filter.

    Raises:
        NotFound: They are no time and id: somebody made the cursor up.
    """
    moment, row_id = keys
    try:
        moment = stamp(datetime.fromisoformat(moment))
    except (ValueError, OverflowError) as error:
        raise no_such_place() from error
    if not is_id(row_id):
        raise no_such_place()
    return moment, row_id


def read_dataset(row: Row) -> Dataset:
    """Make a data set of its row."""
    return Dataset.model_validate(_some(row, DATASET_COLUMNS))


def read_job(row: Row) -> Job:
    """Make a job of its row."""
    values = _some(row, _PLAIN_JOB_COLUMNS)
    values["config"] = TrainingConfig.model_validate(row["config"])
    values["requirements"] = Requirements(gpus=row["gpus"], gpu_memory_gb=row["gpu_memory_gb"])
    return Job.model_validate(values)


def read_attempt(row: Row) -> Attempt:
    """Make an attempt of its row."""
    return Attempt.model_validate(_some(row, ATTEMPT_COLUMNS))


def read_event(row: Row) -> JobEvent:
    """Make a line of the audit trail of its row."""
    return JobEvent.model_validate(_some(row, EVENT_COLUMNS))


def read_artifact(row: Row) -> Artifact:
    """Make an artifact of its row."""
    return Artifact.model_validate(_some(row, ARTIFACT_COLUMNS))


def read_point(row: Row) -> MetricPoint:
    """Make a metric point of its row."""
    documents = {name: row[name] or {} for name in ("extra", "nonfinite")}
    return MetricPoint.model_validate(_some(row, POINT_COLUMNS) | documents)


def read_log_line(row: Row) -> LogLine:
    """Make a log line of its row."""
    return LogLine.model_validate(_some(row, LOG_COLUMNS))


def read_task(row: Row) -> Task:
    """Make a task of its row."""
    return Task.model_validate(_some(row, TASK_COLUMNS))


def read_notification(row: Row) -> Notification:
    """Make a notification of its row."""
    return Notification.model_validate(_some(row, NOTIFICATION_COLUMNS))


def read_runner(row: Row) -> RunnerInfo:
    """Make a runner of its row."""
    return RunnerInfo.model_validate(_some(row, RUNNER_COLUMNS))


def read_registration(row: Row, machines: tuple[RunnerInfo, ...]) -> RunnerRegistration:
    """Make a registration of its row and its machines."""
    values = _some(row, ("id", "name", "scope", "created_at", "revoked_at"))
    return RunnerRegistration.model_validate(values | {"machines": machines})


def read_totals(row: Row) -> PersonTotals:
    """Make a person's totals of what the operator is told."""
    values = _some(row, tuple(PersonTotals.model_fields))
    if values["quota"] is not None:
        values["quota"] = Quota.model_validate(_some(values["quota"], tuple(Quota.model_fields)))
    return PersonTotals.model_validate(values)


def read_invitation(row: Row) -> Invitation:
    """Make an invitation of its row."""
    return Invitation.model_validate(_some(row, tuple(Invitation.model_fields)))


def dataset_row(dataset: Dataset) -> dict[str, Any]:
    """Return the row of a data set."""
    values = dataset.model_dump(mode="json")
    values["mapping"] = dataset.mapping.model_dump(exclude_none=True)
    row: dict[str, Any] = storable(values | {"created_at": stamp(dataset.created_at)})
    return row


def artifact_row(artifact: Artifact) -> dict[str, Any]:
    """Return the row of an artifact."""
    return artifact.model_dump(mode="json") | {"created_at": stamp(artifact.created_at)}


def runner_row(runner: RunnerInfo) -> dict[str, Any]:
    """Return the row of a runner, as it describes itself."""
    moments = {"started_at": stamp(runner.started_at), "seen_at": stamp(runner.seen_at)}
    return runner.model_dump(mode="json") | moments


def submitted_job_row(job: Job) -> dict[str, Any]:
    """Return what a person decides about a job; the rest of its row is the database's."""
    return {
        "id": job.id,
        "name": job.name,
        "dataset_id": job.dataset_id,
        "dataset_name": job.dataset_name,
        "validation_dataset_id": job.config.data.validation_dataset_id,
        "config": job.config.model_dump(mode="json"),
        "target": job.target,
        "gpus": job.requirements.gpus,
        "gpu_memory_gb": job.requirements.gpu_memory_gb,
        "priority": job.priority,
        "total_steps": job.total_steps,
        "created_at": stamp(job.created_at),
        "not_before": stamp(job.not_before) if job.not_before is not None else None,
        "parent_artifact_id": job.parent_artifact_id,
        "estimated_seconds": job.estimated_seconds,
    }


def task_row(task: Task) -> dict[str, Any]:
    """Return what a person decides about a task."""
    return {
        "id": task.id,
        "kind": task.kind.value,
        "subject_id": task.subject_id,
        "arguments": task.arguments,
        "created_at": stamp(task.created_at),
    }


def _some(row: Row, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: row[name] for name in names}
