"""What a job will need, told before it is started: memory, time and money on a machine that could take it."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from lora_core.actions.configs import training_rows
from lora_core.actions.jobs import online_runners
from lora_core.actions.workspace import Workspace
from lora_core.estimate.architecture import Architecture, architecture_of
from lora_core.estimate.changes import Change
from lora_core.estimate.cpu import cpu_has_bf16
from lora_core.estimate.duration import TimeEstimate, estimate_time
from lora_core.estimate.memory import GIB, PROCESS, MemoryEstimate, Verdict
from lora_core.estimate.rows import RowFacts, facts_of
from lora_core.estimate.run import judge_memory, memory_of
from lora_core.estimate.spans import Span
from lora_core.estimate.speed import Machine, Speed, flops_per_token, speed_of_device, speed_of_jobs
from lora_core.estimate.words import memory_words, time_words
from lora_core.models.catalogue import find_model
from lora_core.models.weights import completed
from lora_core.schema.config import TrainingConfig
from lora_core.schema.dataset import Dataset
from lora_core.schema.job import Job, JobFilter, JobStatus
from lora_core.schema.metrics import MetricKind
from lora_core.schema.runner import RunnerInfo

__all__ = [
    "GIB",
    "Change",
    "Machine",
    "MemoryEstimate",
    "Span",
    "TimeEstimate",
    "Verdict",
    "memory_words",
    "time_words",
]

SEARCHED_JOBS = 50
MEASURED_JOBS = 3
MEASURED_STEPS = 200


@dataclass(frozen=True)
class Estimate:
    """What a job will need on one machine.

    Args:
        limit_bytes: Memory that it may take there; None if unknown.
        change: The smallest change with which it fits; None where it fits, or where nothing helps.
        usd: None where the machine has no price.
        rows_basis: What is known of the rows, in words.
    """

    machine: Machine
    memory: MemoryEstimate
    verdict: Verdict
    limit_bytes: float | None
    change: Change | None
    time: TimeEstimate
    usd: Span | None
    rows_basis: str


@dataclass(frozen=True)
class MemoryMeasured:
    """What was estimated for a job beside what its newest reading says; in bytes."""

    estimated: Span
    measured: float | None
    what: str


def list_machines(workspace: Workspace) -> list[Machine]:
    """Return the machines whose runners are online (all that are known, if none is), GPUs first, largest memory first."""
    runners = online_runners(workspace) or workspace.runners.list()
    machines = [machine_of(workspace, runner) for runner in runners if "train" in runner.roles]
    return sorted(machines, key=lambda machine: (not machine.gpu, -(machine.memory_bytes or 0)))


def machine_of(workspace: Workspace, runner: RunnerInfo) -> Machine:
    """Describe a runner's machine. An embedded studio's runner shares the app's CPU; of others bfloat16 is not known."""
    gpu = runner.gpus[0] if runner.gpus else ""
    memory = runner.gpu_memory_gb if gpu else runner.memory_gb
    return Machine(
        name=runner.name,
        gpu=gpu,
        memory_bytes=memory * GIB or None,
        cpus=runner.cpus,
        bf16=None if workspace.registry is not None else cpu_has_bf16(),
    )


def estimate_job(
    workspace: Workspace, config: TrainingConfig, dataset: Dataset, machine: Machine
) -> Estimate | None:
    """Estimate a job.

    Returns:
        None where the sizes of the base model are not known before its weights are here.

    Raises:
        ModelError: The config names no base model.
    """
    sizes = _sizes(workspace, config)
    if sizes is None:
        return None
    rows = facts_of(dataset.report, dataset.rows, config, config.model.base)
    judged = judge_memory(sizes, config, rows, machine)
    speed = _measured_speed(workspace, config, sizes, rows, machine) or speed_of_device(
        machine, _flops(sizes, config, rows)
    )
    training, validation = training_rows(config, dataset.rows)
    time = estimate_time(config, rows, speed, training_rows=training, validation_rows=validation)
    return Estimate(
        machine=machine,
        memory=judged.memory,
        verdict=judged.verdict,
        limit_bytes=judged.limit_bytes,
        change=judged.change,
        time=time,
        usd=time.usd(machine.usd_per_hour),
        rows_basis=rows.basis,
    )


def compare_memory(workspace: Workspace, job: Job) -> MemoryMeasured | None:
    """Return a job's estimated memory beside its newest reading; None while no runner has taken it or the sizes are unknown."""
    attempts = workspace.jobs.attempts(job.id)
    runner = next(
        (each for each in workspace.runners.list() if attempts and each.id == attempts[-1].runner_id), None
    )
    sizes = _sizes(workspace, job.config)
    if runner is None or sizes is None:
        return None
    dataset = workspace.datasets.get(job.dataset_id)
    rows = facts_of(dataset.report, dataset.rows, job.config, job.config.model.base)
    machine = machine_of(workspace, runner)
    memory = memory_of(sizes, job.config, rows, machine)
    newest = workspace.metrics.latest(job.id, MetricKind.SYSTEM)
    if machine.gpu:
        reserved = newest.gpu_memory_reserved_gb if newest else None
        return MemoryMeasured(
            memory.without(PROCESS), None if reserved is None else reserved * GIB, "reserved on the GPU"
        )
    resident = newest.extra.get("rss_gb") if newest else None
    return MemoryMeasured(
        memory.total, None if resident is None else resident * GIB, "of the machine's memory"
    )


def _sizes(workspace: Workspace, config: TrainingConfig) -> Architecture | None:
    info = find_model(config.model.base, local_roots=workspace.settings.model_roots)
    return architecture_of(completed(info, workspace.settings.models))


def _flops(sizes: Architecture, config: TrainingConfig, rows: RowFacts) -> float:
    return flops_per_token(sizes, config, rows.mean.middle, rows.learned.middle)


def _measured_speed(
    workspace: Workspace, config: TrainingConfig, sizes: Architecture, rows: RowFacts, machine: Machine
) -> Speed | None:
    """Read what the newest finished jobs of this base model had on this machine, scaled by what a token costs now and then."""
    ended = JobFilter(statuses=(JobStatus.COMPLETED,), archived=None)
    newest = workspace.jobs.list(ended, limit=SEARCHED_JOBS).items
    alike = [job for job in newest if job.config.model == config.model][: 2 * MEASURED_JOBS]
    same = list(islice((job for job in alike if _was_on(workspace, job, machine)), MEASURED_JOBS))
    now = _flops(sizes, config, rows)
    scaled: list[float] = []
    for job in same:
        scaled += [value * _flops(sizes, job.config, rows) / now for value in _step_speeds(workspace, job)]
    return speed_of_jobs(scaled, len(same), machine.name)


def _was_on(workspace: Workspace, job: Job, machine: Machine) -> bool:
    attempts = workspace.jobs.attempts(job.id)
    return bool(attempts) and attempts[-1].runner_name == machine.name


def _step_speeds(workspace: Workspace, job: Job) -> Sequence[float]:
    """Tokens a second of a job's steps; the first one also warms up."""
    series = workspace.metrics.series(job.id, MetricKind.TRAIN, ("tokens_per_second",), points=MEASURED_STEPS)
    return [value for value in series.columns.get("tokens_per_second", ())[1:] if value]
