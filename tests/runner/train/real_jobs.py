"""Jobs of the toy task for runners that start the real trainer, and the same run without any runner to compare with."""

import json
import shutil
from pathlib import Path
from typing import Any

from lora_core.models.catalogue import find_model
from lora_core.models.weights import folder_of
from lora_core.schema.artifact import ArtifactKind
from lora_core.schema.config import TrainingConfig
from lora_core.schema.dataset import DatasetFormat
from lora_core.schema.job import Job
from lora_core.schema.metrics import MetricKind
from lora_core.settings import Settings
from runner.train.saving import ADAPTER_WEIGHTS
from tests.runner.agent import bench as agent_bench
from tests.runner.train.bench import Bench, Outcome, toy_rows

STEPS = 12

SHAPE: dict[str, Any] = {
    "model": {"dtype": "float32"},
    "data": {"max_length": 64, "packing": True},
    "adapter": {"rank": 8, "alpha": 16, "dropout": 0.1},
    "optimisation": {
        "micro_batch_size": 2,
        "accumulation_steps": 2,
        "learning_rate": 0.01,
        "max_steps": STEPS,
        "epochs": 100,
    },
    "evaluation": {"every_steps": 4},
    "checkpoints": {"every_steps": 4, "keep": 2},
}


def place_model(settings: Settings, model: Path) -> None:
    """Have the tiny model on a machine in the place of the default one."""
    base = TrainingConfig.model_validate(SHAPE).model.base
    shutil.copytree(model, folder_of(find_model(base), settings.models))


def submit(bench: agent_bench.Bench) -> Job:
    """Submit the job."""
    content = "".join(json.dumps(row) + "\n" for row in toy_rows()).encode()
    dataset = bench.add_dataset(content, format=DatasetFormat.MESSAGES, file_name="train.jsonl")
    return bench.submit(config=TrainingConfig.model_validate(SHAPE), dataset_id=dataset.id)


def uninterrupted(root: Path, model: Path, *, threads: int = 1) -> Outcome:
    """Train the same without a runner, in a process of its own."""
    bench = Bench(root, model)
    folder = bench.folder(**SHAPE)
    folder.spec_file.write_text(folder.spec().model_copy(update={"threads": threads}).model_dump_json())
    return bench.spawn(folder)


def assert_equal_to(whole: Outcome, bench: agent_bench.Bench, job: Job) -> None:
    """What the store shows of the job is the uninterrupted run: losses, gradient norms, evaluations, the adapter's bytes."""
    for kind, columns in (
        (MetricKind.TRAIN, ("loss", "grad_norm", "tokens_seen")),
        (MetricKind.EVAL, ("eval_loss",)),
    ):
        for column in columns:
            found = {point.step: getattr(point, column) for point in bench.points(job, kind)}
            assert found == whole.column(column, kind.value), column
    (adapter,) = bench.user.artifacts.list(job.id, ArtifactKind.ADAPTER)
    digests = {file.name: file.sha256 for file in adapter.files}
    assert digests[ADAPTER_WEIGHTS] == whole.result["adapter_sha256"]
