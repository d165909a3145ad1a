"""What a runner would have done, played for the tests of actions."""

from lora_core.actions import datasets, jobs
from lora_core.actions.workspace import Workspace
from lora_core.schema.base import utc_now
from lora_core.schema.config import TrainingConfig
from lora_core.schema.dataset import Dataset, DatasetFormat, DatasetStatus
from lora_core.schema.job import Job
from lora_core.schema.runner import RunnerInfo
from lora_core.studio import Studio

ROW = b'{"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]}\n'
RUNNER = RunnerInfo(id="r1", name="r1", version="0", started_at=utc_now(), seen_at=utc_now())


def checked(workspace: Workspace, dataset: Dataset, **changes: object) -> Dataset:
    """Do what a runner's check would do to a good data set."""
    found = {"status": DatasetStatus.READY, "format": DatasetFormat.MESSAGES, "rows": 10}
    return workspace.datasets.save(dataset.model_copy(update=found | changes))


def submitted(workspace: Workspace, name: str = "job", **changes: object) -> Job:
    dataset = checked(workspace, datasets.upload_dataset(workspace, "a.jsonl", iter([ROW])), **changes)
    return jobs.submit_job(workspace, name=name, dataset_id=dataset.id, config=TrainingConfig())


def claimed(studio: Studio) -> int:
    claim = studio.runner_port().claim(RUNNER, lease_seconds=60)
    assert claim is not None
    return claim.attempt
