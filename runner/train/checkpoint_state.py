"""What a checkpoint says of itself (`studio.json`), and how older forms of it are read. Knows no file and no torch tensor."""

from datetime import datetime
from typing import Any, Literal

from pydantic import Field, model_validator

from lora_core.monitor.rule_state import RuleState
from lora_core.schema.base import Frozen
from lora_core.schema.config import TrainingConfig
from runner.train.environment import Environment

MOVED = ("device", "dtype", "threads", "libraries")
"""Fields of version 1 that are now part of the environment."""


class Best(Frozen):
    """The evaluation with the lowest loss so far."""

    step: int
    eval_loss: float


class CheckpointState(Frozen):
    """What lies in a checkpoint beside weights, optimizer and random state.

    Version 1 had a few facts of the environment and none of the alerts: what it did not know is None here.
    """

    version: Literal[2] = 2
    step: int
    total_steps: int
    config: TrainingConfig
    model_reference: str = ""
    fingerprint: str = Field(description="Of the tokenised rows in their order.")
    template_time: datetime = Field(description="The time that chat templates were told.")
    tokens_seen: int = 0
    eval_loss: float | None = None
    evaluation_pending: bool = Field(
        False, description="The step is to be evaluated, but a request came first."
    )
    best: Best | None = None
    alerts: dict[str, RuleState] = Field(
        default_factory=dict, description="What the alert rules have seen, by name."
    )
    environment: Environment = Field(default_factory=Environment)
    adapter_sha256: str = ""

    @model_validator(mode="before")
    @classmethod
    def _from_version_1(cls, document: Any) -> Any:
        if not isinstance(document, dict) or document.get("version") != 1:
            return document
        moved = {name: document[name] for name in MOVED if document.get(name)}
        kept = {name: value for name, value in document.items() if name not in MOVED}
        return {**kept, "version": 2, "environment": moved}
