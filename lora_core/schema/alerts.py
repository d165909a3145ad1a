"""What a job watches itself for, and what is done about it: thresholds and actions, one small class a rule."""

from typing import Literal

from pydantic import Field

from lora_core.schema.base import Frozen

AlertAction = Literal["off", "notify", "pause", "stop"]
ACTION_TITLE = "Do"
ACTION_TEXT = "off, notify, pause (a checkpoint is kept) or stop (the job ends as failed)."


class NonFiniteRule(Frozen):
    """The loss or the gradient is not a number."""

    action: AlertAction = Field("pause", title=ACTION_TITLE, description=ACTION_TEXT)
    steps: int = Field(
        1, ge=1, le=1000, title="Updates", description="Updates in a row with a loss that is NaN or infinite."
    )


class DivergenceRule(Frozen):
    """The loss climbs and stays up."""

    action: AlertAction = Field("notify", title=ACTION_TITLE, description=ACTION_TEXT)
    ratio: float = Field(
        1.5,
        gt=1,
        le=100,
        title="Times the lowest",
        description="Smoothed loss over the lowest smoothed loss so far.",
    )
    steps: int = Field(20, ge=1, le=10_000, title="Updates", description="Updates in a row above that.")


class SpikeRule(Frozen):
    """One update's loss stands far out of those before it."""

    action: AlertAction = Field("notify", title=ACTION_TITLE, description=ACTION_TEXT)
    ratio: float = Field(
        2.0,
        gt=1,
        le=1000,
        title="Times the median",
        description="Loss over the median of the 50 updates before.",
    )


class GradientRule(Frozen):
    """The gradient norm stands far above what is usual, several times in a row."""

    action: AlertAction = Field("notify", title=ACTION_TITLE, description=ACTION_TEXT)
    ratio: float = Field(
        10.0,
        gt=1,
        le=10_000,
        title="Times the median",
        description="Gradient norm (before clipping) over the median of the 50 updates before.",
    )
    steps: int = Field(3, ge=1, le=1000, title="Updates", description="Updates in a row above that.")


class PlateauRule(Frozen):
    """The validation loss no longer gets better."""

    action: AlertAction = Field("notify", title=ACTION_TITLE, description=ACTION_TEXT)
    improvement: float = Field(
        0.002,
        ge=0,
        le=1,
        title="Improvement",
        description="Share of the best validation loss that counts as better.",
    )
    evaluations: int = Field(
        4, ge=1, le=1000, title="Evaluations", description="Evaluations in a row without such an improvement."
    )


class OverfittingRule(Frozen):
    """The validation loss rises while the training loss falls."""

    action: AlertAction = Field("notify", title=ACTION_TITLE, description=ACTION_TEXT)
    rise: float = Field(
        0.05, gt=0, le=10, title="Rise", description="Share by which the validation loss lies above its best."
    )
    evaluations: int = Field(
        2, ge=1, le=1000, title="Evaluations", description="Evaluations in a row above that."
    )


class InputBoundRule(Frozen):
    """The hardware waits for data."""

    action: AlertAction = Field("notify", title=ACTION_TITLE, description=ACTION_TEXT)
    fraction: float = Field(
        0.3,
        gt=0,
        lt=1,
        title="Waiting",
        description="Share of a step (0-1) that goes into waiting for data, on average.",
    )
    steps: int = Field(
        50, ge=5, le=10_000, title="Updates", description="Updates over which the average is taken."
    )


class StallRule(Frozen):
    """Nothing happens: no step, no byte, no row. The runner looks, since a trainer that hangs cannot."""

    action: Literal["notify", "pause", "stop"] = Field(
        "stop",
        title=ACTION_TITLE,
        description="notify, or end the trainer: pause (it can go on from its newest checkpoint) or stop (the job fails).",
    )
    minutes: float = Field(
        10.0,
        gt=0,
        le=1440,
        title="Minutes",
        description="Minutes without progress; the first step may take three times that.",
    )


class AlertsConfig(Frozen):
    """All rules of one job."""

    nonfinite: NonFiniteRule = Field(default_factory=NonFiniteRule, title="Loss is not a number")
    divergence: DivergenceRule = Field(default_factory=DivergenceRule, title="Loss diverges")
    spike: SpikeRule = Field(default_factory=SpikeRule, title="Loss spike")
    gradient: GradientRule = Field(default_factory=GradientRule, title="Gradients explode")
    plateau: PlateauRule = Field(default_factory=PlateauRule, title="No improvement")
    overfitting: OverfittingRule = Field(default_factory=OverfittingRule, title="Overfitting")
    input_bound: InputBoundRule = Field(default_factory=InputBoundRule, title="Waits for data")
    stall: StallRule = Field(default_factory=StallRule, title="No progress")
