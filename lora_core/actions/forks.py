"""New jobs from a checkpoint of an earlier one, with a config that may differ where training can still go on."""

from collections.abc import Iterable

from lora_core.actions.configs import override_config
from lora_core.actions.jobs import MAX_NAME, require_ready
from lora_core.actions.workspace import Workspace
from lora_core.errors import ConfigError, NotFound
from lora_core.schema.artifact import Artifact, ArtifactKind
from lora_core.schema.base import new_id, utc_now
from lora_core.schema.config import TrainingConfig
from lora_core.schema.continuing import broken_by
from lora_core.schema.job import Job


def find_checkpoint(workspace: Workspace, job_id: str, step: int | None = None) -> Artifact:
    """Return the newest checkpoint of a job, or the newest one of a step.

    Raises:
        NotFound: The job keeps no such checkpoint; the message names those it keeps.
    """
    kept = workspace.artifacts.list(job_id, ArtifactKind.CHECKPOINT)
    if not kept:
        raise NotFound("The job keeps no checkpoint.")
    for checkpoint in kept:
        if step in (None, checkpoint.step):
            return checkpoint
    steps = ", ".join(str(number) for number in sorted({checkpoint.step or 0 for checkpoint in kept}))
    raise NotFound(f"The job keeps no checkpoint of step {step}.", f"There are those of step {steps}.")


def fork_job(
    workspace: Workspace,
    checkpoint_id: str,
    *,
    overrides: Iterable[str] = (),
    name: str = "",
    job_id: str | None = None,
) -> Job:
    """Queue a new job on the same data that starts from a checkpoint; the checkpoint is pinned, its job stays as it is.

    Args:
        overrides: Changes of the config, such as `optimisation.learning_rate=1e-4`.
        name: Name of the new job; empty names it after its parent.
        job_id: Made by the caller so that a repeated click or call cannot make two jobs.

    Raises:
        NotFound: No such checkpoint, or the data set is gone.
        NotAllowed: It is no checkpoint, or the data set cannot be used.
        ConfigError: The config cannot be read, or changes what a checkpoint depends on.
    """
    checkpoint = workspace.artifacts.get(checkpoint_id)
    parent = workspace.jobs.get(checkpoint.job_id)
    config = override_config(parent.config, overrides)
    check_continues(parent.config, config)
    require_ready(workspace.datasets.get(parent.dataset_id))
    now = utc_now()
    named = " ".join(name.split()) or f"{parent.name} from step {checkpoint.step}"
    return workspace.jobs.submit(
        Job(
            id=job_id or new_id(),
            user_id=workspace.user_id,
            name=named[:MAX_NAME],
            dataset_id=parent.dataset_id,
            dataset_name=parent.dataset_name,
            config=config,
            target=parent.target,
            requirements=parent.requirements,
            priority=parent.priority,
            parent_job_id=parent.id,
            parent_artifact_id=checkpoint.id,
            created_at=now,
            updated_at=now,
        )
    )


def check_continues(before: TrainingConfig, now: TrainingConfig) -> None:
    """Refuse a config under which training could not go on from a checkpoint, before a runner does.

    Raises:
        ConfigError: It changes model, adapter, data or batch.
    """
    changed = broken_by(before, now)
    if before.data.model_copy(update={"packing": now.data.packing}) != now.data:
        changed.append("data")
    if changed:
        raise ConfigError(
            f"Training cannot go on from this checkpoint with another {', '.join(changed)}.",
            "Leave it as it is, or start a new job.",
        )
