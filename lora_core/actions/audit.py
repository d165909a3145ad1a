"""What a job would learn from a data set, as the supervision audit found it; a job with nothing to learn does not start."""

from lora_core.actions.datasets import measure_tokens
from lora_core.actions.workspace import Workspace
from lora_core.errors import ConfigError
from lora_core.schema.config import TrainingConfig
from lora_core.schema.dataset import Dataset, TokenReport
from lora_core.schema.runner import Task


def audit_for(dataset: Dataset, config: TrainingConfig) -> TokenReport | None:
    """Return the audit of a data set, if it was made for this base model, length and loss; None if there is none."""
    tokens = dataset.report.tokens if dataset.report else None
    if tokens is None:
        return None
    asked = (config.model.base, config.model.revision or "", config.data.max_length, config.data.loss_on)
    made = (tokens.model, tokens.revision, tokens.max_length, tokens.loss_on)
    return tokens if asked == made else None


def ask_for_audit(workspace: Workspace, dataset_id: str, config: TrainingConfig) -> Task:
    """Ask a runner for the audit that belongs to a config."""
    return measure_tokens(
        workspace,
        dataset_id,
        config.model.base,
        revision=config.model.revision or "",
        max_length=config.data.max_length,
        loss_on=config.data.loss_on,
    )


def require_something_to_learn(config: TrainingConfig, dataset: Dataset) -> None:
    """Refuse a job of which the audit says that it would learn nothing.

    Without an audit for these settings the trainer finds out, before it loads the model.

    Raises:
        ConfigError: No row has a learned token.
    """
    audit = audit_for(dataset, config)
    if audit is not None and audit.learned_tokens == 0:
        raise ConfigError(
            f"There is nothing to learn in {dataset.name!r}: no row has a learned token within "
            f"{audit.max_length:,} tokens (data.max_length).",
            "Allow longer rows, or learn from all tokens (data.loss_on).",
        )
