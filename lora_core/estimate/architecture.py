"""The sizes of a base model that decide what it costs: its linear layers, block by block. Knows no weights and no config file.

Source of the layouts: transformers' modelling code of each family; a test builds every model of the catalogue without memory and
compares the counts.
"""

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from lora_core.models.info import BaseModelInfo
from lora_core.models.targets import lora_targets
from lora_core.schema.config import AdapterConfig

Site = Literal["attention_in", "attention_out", "mlp_in", "mlp_out"]
"""What a layer reads: layers that read the same tensor keep it once where they can."""

PLAIN_MLP = frozenset({"gpt2", "gpt_neox", "falcon", "bloom", "opt", "phi"})
"""Families whose MLP has two matrices (up, down); the others have a gate as well."""

OWN_HEAD = frozenset({"gemma2", "granite", "cohere", "cohere2", "falcon_h1"})
"""Families that change the logits after the head, so that the trainer must make them all at once (`runner.train.loss`)."""


class Linear(NamedTuple):
    """One linear layer of a block: the last part of its name, its widths, and what it reads."""

    name: str
    inputs: int
    outputs: int
    site: Site

    @property
    def weights(self) -> int:
        """Weights without bias."""
        return self.inputs * self.outputs


@dataclass(frozen=True)
class Architecture:
    """Sizes of a causal language model.

    Args:
        parameters: All weights, tied ones once.
        layers: Blocks.
        hidden: Width of the residual stream.
        intermediate: Width of the MLP.
        heads: Attention heads.
        key_value_heads: Fewer than heads where they are shared (grouped queries).
        head_size: Width of one head.
        vocabulary: Rows of the embedding.
        tied: Input and output embeddings are one matrix.
        family: `model_type` of config.json.
    """

    parameters: int
    layers: int
    hidden: int
    intermediate: int
    heads: int
    key_value_heads: int
    head_size: int
    vocabulary: int
    tied: bool
    family: str = "llama"

    @property
    def attention_width(self) -> int:
        """Width of all heads together."""
        return self.heads * self.head_size

    @property
    def key_value_width(self) -> int:
        """Width of all key (or value) heads together."""
        return self.key_value_heads * self.head_size

    @property
    def gated(self) -> bool:
        """Whether the MLP has a gate."""
        return self.family not in PLAIN_MLP

    @property
    def embedding_weights(self) -> int:
        """Weights of embedding and head: no quantisation touches them."""
        return self.vocabulary * self.hidden * (1 if self.tied else 2)

    def linears(self) -> tuple[Linear, ...]:
        """Name the linear layers of one block."""
        h, a, k, i = self.hidden, self.attention_width, self.key_value_width, self.intermediate
        match self.family:
            case "phi3":
                return (
                    Linear("qkv_proj", h, a + 2 * k, "attention_in"),
                    Linear("o_proj", a, h, "attention_out"),
                    Linear("gate_up_proj", h, 2 * i, "mlp_in"),
                    Linear("down_proj", i, h, "mlp_out"),
                )
            case "gpt2":
                return (
                    Linear("c_attn", h, a + 2 * k, "attention_in"),
                    Linear("c_proj", a, h, "attention_out"),
                    Linear("c_fc", h, i, "mlp_in"),
                    Linear("c_proj", i, h, "mlp_out"),
                )
            case "gpt_neox" | "falcon" | "bloom":
                return (
                    Linear("query_key_value", h, a + 2 * k, "attention_in"),
                    Linear("dense", a, h, "attention_out"),
                    Linear("dense_h_to_4h", h, i, "mlp_in"),
                    Linear("dense_4h_to_h", i, h, "mlp_out"),
                )
        out = {"opt": "out_proj", "phi": "dense"}.get(self.family, "o_proj")
        attention = (
            Linear("q_proj", h, a, "attention_in"),
            Linear("k_proj", h, k, "attention_in"),
            Linear("v_proj", h, k, "attention_in"),
            Linear(out, a, h, "attention_out"),
        )
        if not self.gated:
            return (*attention, Linear("fc1", h, i, "mlp_in"), Linear("fc2", i, h, "mlp_out"))
        mlp = (
            Linear("gate_proj", h, i, "mlp_in"),
            Linear("up_proj", h, i, "mlp_in"),
            Linear("down_proj", i, h, "mlp_out"),
        )
        return (*attention, *mlp)

    def adapted(self, adapter: AdapterConfig) -> tuple[Linear, ...]:
        """Name the linear layers of one block that get an adapter. Where no name of a list is known: all of them."""
        wanted = lora_targets(self.family) if adapter.targets == "auto" else adapter.targets
        if isinstance(wanted, str):
            return self.linears()
        chosen = tuple(
            linear for linear in self.linears() if linear.name in {n.split(".")[-1] for n in wanted}
        )
        return chosen or self.linears()

    def adapter_weights(self, adapter: AdapterConfig) -> int:
        """Count the weights that LoRA trains: rank x (inputs + outputs) a layer (Hu et al. 2021, arXiv:2106.09685, section 4.1).

        DoRA adds one magnitude an output (Liu et al. 2024, arXiv:2402.09353). Biases are few and left out.
        """
        block = sum(
            adapter.rank * (linear.inputs + linear.outputs) + (linear.outputs if adapter.dora else 0)
            for linear in self.adapted(adapter)
        )
        return self.layers * block


def architecture_of(info: BaseModelInfo) -> Architecture | None:
    """Return the sizes of a base model, or None where they are not known before its weights are here."""
    layers, hidden, heads, vocabulary = info.layers, info.hidden_size, info.heads, info.vocabulary
    if layers is None or hidden is None or heads is None or vocabulary is None:
        return None
    family = info.model_type or "llama"
    sizes = Architecture(
        parameters=1,
        layers=layers,
        hidden=hidden,
        intermediate=info.intermediate_size or 4 * hidden,
        heads=heads,
        key_value_heads=info.key_value_heads or heads,
        head_size=info.head_size or max(1, hidden // heads),
        vocabulary=vocabulary,
        tied=bool(info.tied_embeddings),
        family=family,
    )
    counted = sizes.embedding_weights + layers * sum(linear.weights for linear in sizes.linears())
    return replace(sizes, parameters=info.parameters or counted)
