"""Starts a trainer: its spec, its environment, its process. Knows neither what a person wants nor a store."""

from lora_core.schema.run import RunSpec
from lora_core.schema.runner import Claim
from lora_core.settings import Settings
from runner.fetching import Inputs
from runner.processes import Child, child_environment, python_command
from runner.run_folder import RunFolder
from runner.scripted.script import read_script

OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}


def spec_of(claim: Claim, inputs: Inputs, settings: Settings, threads: int | None) -> RunSpec:
    """Return all that a trainer needs to know."""
    job = claim.job
    return RunSpec(
        job_id=job.id,
        job_name=job.name,
        attempt=claim.attempt,
        config=job.config,
        model_path=str(inputs.model_path),
        model_reference=job.config.model.base,
        train=inputs.train,
        validation=inputs.validation,
        resume_from=str(inputs.resume_from) if inputs.resume_from else None,
        threads=threads,
        script=read_script(settings.script) if settings.trainer == "scripted" else None,
    )


def launch(folder: RunFolder, spec: RunSpec) -> Child:
    """Write the spec, which replaces that of an earlier trainer of this attempt, and start the trainer."""
    folder.spec_file.unlink(missing_ok=True)
    RunFolder.create(folder.root, spec)
    module = "runner.scripted" if spec.script is not None else "runner.train"
    return Child.start(
        python_command(module, str(folder.root)),
        folder.root,
        folder.log_file,
        child_environment({**OFFLINE, "TOKENIZERS_PARALLELISM": "false"}),
    )


def newest_checkpoint(folder: RunFolder) -> str | None:
    """Return the folder of the newest checkpoint that this attempt has made."""
    newest = max(folder.checkpoints.glob("step-??????"), default=None)
    return str(newest) if newest else None
