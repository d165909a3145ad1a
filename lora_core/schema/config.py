"""The training config: every knob with its title, meaning, unit and bounds. Defaults live here and nowhere else."""

from typing import Annotated, Literal

from pydantic import Field

from lora_core.schema.alerts import AlertsConfig
from lora_core.schema.base import Frozen

SCHEMA_VERSION: Literal[1] = 1


class ModelConfig(Frozen):
    """Which base model is trained and in what precision."""

    base: str = Field(
        "smollm2-135m-instruct",
        min_length=1,
        max_length=300,
        title="Base model",
        description="Catalogue id, Hugging Face id (owner/name) or local folder of the model to fine-tune.",
    )
    revision: str | None = Field(
        None,
        max_length=100,
        title="Revision",
        description="Branch, tag or commit on the Hub; empty for the newest.",
    )
    quantisation: Literal["none", "8bit", "4bit"] = Field(
        "none",
        title="Quantisation",
        description="Precision of the frozen base weights. 4bit is NF4 with double quantisation (QLoRA).",
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto",
        title="Number format",
        description="Number format of computation. auto takes bfloat16 where the hardware has it, else float32.",
    )


class DataConfig(Frozen):
    """How rows become tokens."""

    max_length: int = Field(
        1024,
        ge=16,
        le=1_048_576,
        title="Longest row",
        description="Rows longer than this many tokens are cut at the end; the check tells how many.",
    )
    packing: bool = Field(
        True,
        title="Packing",
        description="Let the short rows of a micro-batch share a sequence, so that no time goes into padding. Speed only.",
    )
    loss_on: Literal["completion", "all", "last"] = Field(
        "completion",
        title="Learn from",
        description="Which tokens are learned: the answers (completion), every token (all), or only the last answer (last).",
    )
    validation_fraction: float = Field(
        0.1,
        ge=0.0,
        le=0.5,
        title="Validation share",
        description="Share of rows (0-0.5) kept back to measure the model on rows it has not seen. 0 for none.",
    )
    validation_dataset_id: str | None = Field(
        None,
        title="Validation data set",
        description="An own data set for validation instead of a share of the training rows.",
    )
    row_limit: int | None = Field(
        None,
        ge=1,
        title="Row limit",
        description="Use only this many rows, drawn with the seed. Empty for all.",
    )
    workers: int | None = Field(
        None,
        ge=0,
        le=64,
        title="Loading workers",
        description="Processes that prepare batches. Empty: chosen from the CPUs the process may use.",
    )


class AdapterConfig(Frozen):
    """The LoRA adapter (Hu et al. 2021, arXiv:2106.09685)."""

    rank: int = Field(
        32,
        ge=1,
        le=1024,
        title="Rank (r)",
        description="Width of the adapter: how much it can learn, and its size.",
    )
    alpha: int = Field(
        32,
        ge=1,
        le=4096,
        title="Alpha",
        description="Strength of the adapter: updates are scaled by alpha / rank.",
    )
    dropout: float = Field(
        0.0,
        ge=0.0,
        le=0.9,
        title="Dropout",
        description="Share of adapter inputs dropped while training (0-0.9).",
    )
    targets: (
        Literal["all-linear", "auto"] | tuple[Annotated[str, Field(min_length=1, max_length=100)], ...]
    ) = Field(
        "all-linear",
        title="Target modules",
        description="Layers that get an adapter: all-linear, auto (the table for this architecture), or a list of module names.",
    )
    bias: Literal["none", "all", "lora_only"] = Field(
        "none", title="Bias", description="Which bias terms are trained too."
    )
    rslora: bool = Field(
        False,
        title="Rank-stabilised scaling",
        description="Scale by alpha / sqrt(rank) instead (rsLoRA, arXiv:2312.03732); useful at high rank.",
    )
    dora: bool = Field(
        False,
        title="DoRA",
        description="Learn magnitude and direction apart (arXiv:2402.09353); about a quarter slower.",
    )


class OptimisationConfig(Frozen):
    """How the adapter's weights are updated."""

    learning_rate: float = Field(
        2e-4,
        gt=0,
        le=1.0,
        title="Learning rate",
        description="Size of a step. 2e-4 is the usual safe value for LoRA.",
    )
    scheduler: Literal["linear", "cosine", "constant", "constant_with_warmup"] = Field(
        "cosine", title="Schedule", description="How the learning rate changes after warm-up."
    )
    warmup_ratio: float = Field(
        0.05,
        ge=0,
        le=0.5,
        title="Warm-up",
        description="Share of all steps in which the learning rate rises from zero.",
    )
    epochs: float = Field(
        2.0, gt=0, le=1000, title="Epochs", description="How many times the model sees every row."
    )
    max_steps: int | None = Field(
        None,
        ge=1,
        title="Step limit",
        description="Stop after this many updates even if epochs are left. Empty for none.",
    )
    micro_batch_size: int = Field(
        4,
        ge=1,
        le=1024,
        title="Micro-batch",
        description="Rows computed at once; what memory depends on.",
    )
    accumulation_steps: int = Field(
        4,
        ge=1,
        le=1024,
        title="Accumulation",
        description="Micro-batches per update. Effective batch = micro-batch x accumulation; keep it under 32 for LoRA.",
    )
    optimizer: Literal["adamw_torch", "adamw_torch_fused", "adamw_8bit", "paged_adamw_8bit"] = Field(
        "adamw_torch_fused",
        title="Optimizer",
        description="AdamW in full precision, or with 8-bit state to save memory.",
    )
    weight_decay: float = Field(
        0.0, ge=0, le=1, title="Weight decay", description="Pull of the weights towards zero."
    )
    max_grad_norm: float = Field(
        1.0,
        gt=0,
        le=1000,
        title="Gradient clip",
        description="Gradients longer than this are cut to this length.",
    )
    gradient_checkpointing: bool = Field(
        False,
        title="Gradient checkpointing",
        description="Recompute activations in the backward pass: less memory, about a third slower.",
    )
    retry_smaller: bool = Field(
        True,
        title="Halve when out of memory",
        description="Where memory runs out, try once more with half the micro-batch and double accumulation: same batch, slower.",
    )
    seed: int = Field(
        42, ge=0, le=2**31 - 1, title="Seed", description="Makes split, order and dropout repeatable."
    )


class EvaluationConfig(Frozen):
    """When the model is measured on the validation rows."""

    every_steps: int | None = Field(
        None,
        ge=1,
        title="Evaluate every",
        description="Updates between evaluations. Empty: ten times over the run.",
    )
    max_rows: int | None = Field(
        200,
        ge=1,
        title="Validation rows",
        description="At most this many rows per evaluation. Empty for all.",
    )
    keep_best: bool = Field(
        True,
        title="Keep the best",
        description="The state with the lowest validation loss becomes the adapter, not the last one.",
    )


class CheckpointConfig(Frozen):
    """When the state of training is saved."""

    every_steps: int | None = Field(
        None,
        ge=1,
        title="Checkpoint every",
        description="Updates between checkpoints. Empty: at each evaluation.",
    )
    keep: int = Field(
        2, ge=1, le=100, title="Checkpoints kept", description="Newest checkpoints kept beside the best one."
    )


class TrainingConfig(Frozen):
    """Everything that decides what a job computes. Where it runs and what it may cost is not in here."""

    schema_version: Literal[1] = SCHEMA_VERSION
    preset: str | None = Field(
        None, title="Preset", description="Name of the preset this config started from."
    )
    method: Literal["sft"] = Field("sft", title="Method", description="sft: supervised fine-tuning.")
    model: ModelConfig = Field(default_factory=ModelConfig, title="Model")
    data: DataConfig = Field(default_factory=DataConfig, title="Data")
    adapter: AdapterConfig = Field(default_factory=AdapterConfig, title="Adapter")
    optimisation: OptimisationConfig = Field(default_factory=OptimisationConfig, title="Optimisation")
    evaluation: EvaluationConfig = Field(default_factory=EvaluationConfig, title="Evaluation")
    checkpoints: CheckpointConfig = Field(default_factory=CheckpointConfig, title="Checkpoints")
    alerts: AlertsConfig = Field(default_factory=AlertsConfig, title="Alerts")
