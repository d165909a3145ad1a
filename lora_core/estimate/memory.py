"""How much memory a run needs, part by part. Arithmetic on sizes: no torch, no machine is asked.

What each formula counts was compared with what torch keeps for the backward pass and with measured peaks (docs/estimates.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal

from lora_core.estimate.architecture import OWN_HEAD, Architecture
from lora_core.estimate.rows import BatchShape
from lora_core.estimate.spans import Span
from lora_core.schema.config import TrainingConfig

GIB = 2**30
MIB = 2**20

HEAD_CHUNK = 256
"""Positions whose logits exist at a time (`runner.train.loss.CHUNK_ROWS`; a test compares)."""

NF4_BLOCK, NF4_SECOND_BLOCK = 64, 256
"""Weights that share a scale, and scales that share a second one (Dettmers et al. 2023, arXiv:2305.14314, section 3)."""

SMALL_STATE = 4096
"""bitsandbytes keeps the optimizer state of smaller tensors in float32 (`min_8bit_size`)."""

CUDA_CONTEXT = Span(0.4 * GIB, 1.0 * GIB)
"""Context and kernels of a process on a GPU, and cuBLAS's workspace; not in what torch counts as reserved. As people report it
for GPUs from Turing to Hopper; not measured by this project."""

CPU_PROCESS = Span(0.5 * GIB, 0.7 * GIB)
"""Python with torch, transformers, trl and their libraries: measured at 0.55 GiB (docs/estimates.md)."""

MARGIN_GPU = (1.0, 1.15)
"""What the caching allocator keeps in pieces that fit nothing, on what comes and goes. Reported as a few to 15 percent."""

MARGIN_CPU = (1.0, 1.8)
"""glibc keeps freed pieces of up to 32 MB in its heap, where the next ones may not fit: a pass took 1.7 times the memory that it
takes when every piece is handed back at once (measured with a fixed M_MMAP_THRESHOLD, mallopt(3))."""

KEPT_FOR_THE_SYSTEM = 0.1
"""Share of a machine's memory that a trainer on the CPU leaves to the system, the app and the runner."""

Device = Literal["cpu", "gpu"]


class Verdict(StrEnum):
    """Whether a run fits."""

    FITS = "fits"
    TIGHT = "tight"
    TOO_LARGE = "does not fit"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Part:
    """One share of the memory, in bytes, and what it is counted from."""

    name: str
    size: Span
    basis: str


@dataclass(frozen=True)
class MemoryEstimate:
    """All parts of a run at its peak."""

    parts: tuple[Part, ...]

    @property
    def total(self) -> Span:
        """Bytes of all parts."""
        return sum((part.size for part in self.parts), Span(0, 0))

    def without(self, name: str) -> Span:
        """Bytes of all parts but one."""
        return sum((part.size for part in self.parts if part.name != name), Span(0, 0))

    def joined(self, other: "MemoryEstimate") -> "MemoryEstimate":
        """Return an estimate that holds for both cases; of the same parts."""
        pairs = zip(self.parts, other.parts, strict=True)
        return MemoryEstimate(tuple(replace(one, size=one.size.joined(two.size)) for one, two in pairs))

    def verdict(self, limit_bytes: float | None) -> Verdict:
        """Compare with what there is: fits if the most does, does not fit if not even the least does."""
        if limit_bytes is None:
            return Verdict.UNKNOWN
        total = self.total
        if total.high <= limit_bytes:
            return Verdict.FITS
        return Verdict.TIGHT if total.low <= limit_bytes else Verdict.TOO_LARGE


PROCESS = "Process"
"""Name of the part that is there before anything is loaded."""


def estimate_memory(
    architecture: Architecture,
    config: TrainingConfig,
    shapes: Sequence[BatchShape],
    *,
    device: Device,
    number_bytes: int,
) -> MemoryEstimate:
    """Add up what a run needs at its peak: the backward pass of its largest micro-batch.

    Args:
        shapes: The largest micro-batch; two of them where its length is known only from where to where.
        number_bytes: Bytes of a number in computation: 2 for bfloat16 and float16, 4 for float32.
    """
    adapter = architecture.adapter_weights(config.adapter)
    sizes = [_activations(architecture, config, shape, device, number_bytes) for shape in shapes]
    margin = MARGIN_GPU if device == "gpu" else MARGIN_CPU
    activations = Span(min(sizes), max(sizes)).times(*margin)
    parts = (
        _base(architecture, config, number_bytes),
        _adapter(adapter, number_bytes),
        Part("Gradients", Span.exactly(4 * adapter), "float32, one a weight of the adapter"),
        _optimizer(architecture, config, adapter),
        Part("Activations", activations, _activation_words(config, shapes)),
        _head(architecture, config, shapes, number_bytes),
        _process(device),
    )
    return MemoryEstimate(parts)


def usable_bytes(memory_bytes: float, device: Device) -> float:
    """What a trainer may take of a machine's memory: all of a GPU, not all of what the system and the app live in."""
    return memory_bytes if device == "gpu" else memory_bytes * (1 - KEPT_FOR_THE_SYSTEM)


def nf4_bytes(weights: int) -> float:
    """Size of weights in NF4 with double quantisation: 4 bits, an 8-bit scale per 64, a float32 scale per 256 of those.

    Source: Dettmers et al. 2023 (arXiv:2305.14314), section 3: 0.127 bits a weight for the scales.

    >>> round(nf4_bytes(1_000_000_000) / 1_000_000_000 * 8, 3)
    4.127
    """
    return weights * (0.5 + 1 / NF4_BLOCK + 4 / (NF4_BLOCK * NF4_SECOND_BLOCK))


def _base(architecture: Architecture, config: TrainingConfig, number_bytes: int) -> Part:
    """Frozen weights: embeddings, head and norms are never quantised; a layer's copy in full precision comes and goes."""
    total, quantisation = architecture.parameters, config.model.quantisation
    whole = architecture.embedding_weights + (2 * architecture.layers + 1) * architecture.hidden
    linear = max(0, total - whole)
    widest = max(layer.weights for layer in architecture.linears())
    if quantisation == "none":
        return Part(
            "Base weights",
            Span.exactly(total * number_bytes),
            f"{_count(total)} weights of {number_bytes} bytes",
        )
    packed = nf4_bytes(linear) if quantisation == "4bit" else linear * 1.0 + linear / architecture.hidden * 4
    size = packed + (total - linear) * number_bytes
    words = f"{_count(linear)} weights in {quantisation.removesuffix('bit')} bits, the rest (embeddings, norms) in full"
    return Part("Base weights", Span(size, size + 2 * widest * number_bytes), words)


def _adapter(adapter: int, number_bytes: int) -> Part:
    """Adapter weights are float32; under autocast a copy in the number format of computation is kept through a pass."""
    copy = number_bytes if number_bytes < 4 else 0
    return Part("Adapter", Span.exactly((4 + copy) * adapter), f"{_count(adapter)} weights in float32")


def _optimizer(architecture: Architecture, config: TrainingConfig, adapter: int) -> Part:
    """AdamW's two moments: 8 bytes a trained weight, or 2 where they have 8 bits (Dettmers et al. 2022, arXiv:2110.02861).

    A scale of 4 bytes is kept for every 256 numbers; small tensors stay in float32. Paged state may leave a full GPU.
    """
    name = config.optimisation.optimizer
    if "8bit" not in name:
        temporary = 4 if name == "adamw_torch" else 0
        return Part(
            "Optimizer", Span(8 * adapter, (8 + temporary) * adapter), "two float32 numbers a trained weight"
        )
    rank = config.adapter.rank
    sides = [
        side for linear in architecture.adapted(config.adapter) for side in (linear.inputs, linear.outputs)
    ]
    small = architecture.layers * sum(rank * side for side in sides if rank * side < SMALL_STATE)
    size = (adapter - small) * 2 * (1 + 4 / 256) + small * 8
    return Part("Optimizer", Span(0 if "paged" in name else size, size), "two 8-bit numbers a trained weight")


def _activations(
    architecture: Architecture, config: TrainingConfig, shape: BatchShape, device: Device, number_bytes: int
) -> float:
    """What the forward pass keeps for the backward pass, and what that needs beside it."""
    layer = layer_bytes(architecture, config, shape, number_bytes, device)
    working = shape.tokens * (4 + 3 * number_bytes) * architecture.intermediate
    outside = shape.tokens * (4 + 3 * number_bytes) * architecture.hidden
    if config.optimisation.gradient_checkpointing:
        kept = architecture.layers * shape.tokens * architecture.hidden * number_bytes
        return kept + layer + working + outside
    return architecture.layers * layer + working + outside


def layer_bytes(
    architecture: Architecture,
    config: TrainingConfig,
    shape: BatchShape,
    number_bytes: int,
    device: Device = "cpu",
) -> float:
    """What one block keeps for the backward pass when base weights are frozen, in bytes.

    With b bytes a number, h the width, q and k the widths of all query and of all key heads, i that of the MLP, a token keeps:

    * two norms, computed in float32: 2 (4 h + 4)
    * attention: queries and output 2 b q, keys and values 2 b k, and the row sums of the softmax 4 x heads. Where packed rows
      are hidden from each other by a mask, keys and values are repeated for all heads (2 b q), and the mask is b x length
    * the MLP's gate, its activation and the other branch: 3 b i (without a gate 2 b i)
    * each adapter reads its layer's input: under autocast in a copy of its own (b x inputs), in float32 the tensor that is there
      already, once for all that read it; and keeps b x rank. Dropout keeps a mask beside it (4 bytes on a CPU, 1 on a GPU), and
      its result. DoRA keeps two outputs more.

    The idea of counting so is Korthikanti et al. 2022 (arXiv:2205.05198), section 4; there all weights are trained and all is in
    16 bits. A test compares this with what torch keeps, tensor by tensor.
    """
    b, h, i = number_bytes, architecture.hidden, architecture.intermediate
    q, k = architecture.attention_width, architecture.key_value_width
    attention = 2 * b * q + 2 * b * (q if shape.packed else k) + 4 * architecture.heads
    mask = b * shape.length if shape.packed else 0
    mlp = (3 if architecture.gated else 2) * b * i
    chosen = architecture.adapted(config.adapter)
    dropped = config.adapter.dropout > 0
    copies = b < 4 or dropped
    inputs = {(linear if copies else linear.site): linear.inputs for linear in chosen}
    if not copies:
        inputs = {site: width for site, width in inputs.items() if site != "attention_out"}
    adapters = b * sum(inputs.values()) + b * config.adapter.rank * len(chosen)
    if dropped:
        adapters += (4 if device == "cpu" else 1) * sum(linear.inputs for linear in chosen)
    if config.adapter.dora:
        adapters += 2 * b * sum(linear.outputs for linear in chosen)
    return shape.tokens * (2 * (4 * h + 4) + attention + mask + mlp + adapters)


def _head(
    architecture: Architecture, config: TrainingConfig, shapes: Sequence[BatchShape], number_bytes: int
) -> Part:
    """Logits: of 256 positions at a time, twice in float32 (the second while their sum is formed); of all where the family must.

    The trainer forms the gradient on the way forward, so that they never exist as a whole (`runner.train.loss`).
    """
    vocabulary = architecture.vocabulary
    if architecture.family in OWN_HEAD:
        most = max(shape.tokens for shape in shapes)
        words = f"all positions x {vocabulary:,} words: this family changes its logits after the head"
        return Part(
            "Logits", Span(0.3 * most * 12 * vocabulary, most * (12 + number_bytes) * vocabulary), words
        )
    chunk = min(HEAD_CHUNK, max(shape.tokens for shape in shapes))
    return Part(
        "Logits",
        Span(8 * chunk * vocabulary * 0.75, 8 * chunk * vocabulary),
        f"{chunk} positions x {vocabulary:,} words in float32, twice",
    )


def _process(device: Device) -> Part:
    if device == "gpu":
        return Part(PROCESS, CUDA_CONTEXT, "CUDA context and kernels")
    return Part(PROCESS, CPU_PROCESS, "Python with torch and its libraries")


def _activation_words(config: TrainingConfig, shapes: Sequence[BatchShape]) -> str:
    largest = max(shapes, key=lambda shape: shape.tokens)
    rows = "sequence" if largest.sequences == 1 else "sequences"
    how = ", recomputed (gradient checkpointing)" if config.optimisation.gradient_checkpointing else ""
    return f"the largest micro-batch: {largest.sequences} {rows} of up to {largest.length:,} tokens{how}"


def _count(weights: int) -> str:
    return f"{weights / 1e9:.1f} G" if weights >= 1e9 else f"{weights / 1e6:.1f} M"
