"""How fast a machine trains, and how much there is to compute: from a table of devices, or from what earlier jobs measured."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import quantiles

from lora_core.estimate.architecture import Architecture
from lora_core.estimate.spans import Span
from lora_core.schema.config import TrainingConfig

GPU_PEAK_TFLOPS = {
    "B200": 2250.0, "H200": 989.0, "H100": 989.0, "A100": 312.0, "L40S": 362.0, "RTX 6000 ADA": 364.0, "A40": 150.0,
    "A6000": 155.0, "L4": 121.0, "A10": 125.0, "RTX 5090": 209.0, "RTX 4090": 165.0, "RTX 4080": 97.0, "RTX 3090": 71.0,
    "V100": 125.0, "T4": 65.0,
}  # fmt: skip
"""Dense 16-bit matrix multiplication in TFLOP/s, by a part of the device's name: the makers' data sheets, without sparsity."""

GPU_SHARE = (0.08, 0.40)
"""Share of the peak that training reaches on real tokens. More takes tuned kernels and large models (Chowdhery et al. 2022,
arXiv:2204.02311, has the measure and figures); LoRA in plain torch, small models and padding reach much less."""

UNKNOWN_GPU_TFLOPS = (30.0, 400.0)

CPU_GFLOPS_A_CORE = {True: (15.0, 110.0), False: (4.0, 35.0)}
"""By whether bfloat16 is computed in hardware; useful GFLOP/s a core on real tokens. From this project's runs of a 135M model on
two Sapphire Rapids cores, alone and beside other work (benchmarks/RESULTS.md, train_spread), and widened downwards."""

SAME_MODEL = 0.1
"""How much a measured speed is widened, up and down: other rows, other load."""


@dataclass(frozen=True)
class Machine:
    """What a job would run on.

    Args:
        name: For a person.
        gpu: Name of the GPU as its driver says it; empty for a CPU.
        memory_bytes: Of the GPU, or of the machine; None if unknown.
        cpus: Cores.
        bf16: Whether it computes bfloat16 in hardware; None if unknown.
        usd_per_hour: Price, where there is one.
    """

    name: str
    gpu: str = ""
    memory_bytes: float | None = None
    cpus: int = 1
    bf16: bool | None = None
    usd_per_hour: float | None = None


@dataclass(frozen=True)
class Speed:
    """Real tokens a second, and what it is based on."""

    tokens_per_second: Span
    basis: str
    measured: bool


def flops_per_token(
    architecture: Architecture, config: TrainingConfig, mean_length: float, learned: float
) -> float:
    """Count floating-point operations of training on one real token.

    A full training step takes 6 N a token: 2 N forward, 4 N backward, half of these for the gradients of the weights (Kaplan et
    al. 2020, arXiv:2001.08361, section 2.1). LoRA's base weights need none, so 4 N, and 6 a weight of the adapter; checkpointing
    does the forward pass twice: 2 N more. The head counts for learned tokens only, with 4 each a weight. Attention adds 12 x
    length x width a block (2 products forward, 4 backward, half of them masked; the same source counts it so).
    """
    blocks = architecture.layers * sum(linear.weights for linear in architecture.linears())
    again = 2 if config.optimisation.gradient_checkpointing else 0
    attention = (6 + again) * architecture.layers * mean_length * architecture.attention_width
    head = 4 * architecture.vocabulary * architecture.hidden * learned
    return (4 + again) * blocks + 6 * architecture.adapter_weights(config.adapter) + attention + head


def speed_of_device(machine: Machine, flops: float) -> Speed:
    """Return a speed from the table.

    Args:
        flops: `flops_per_token`.
    """
    if machine.gpu:
        peak = next((value for key, value in GPU_PEAK_TFLOPS.items() if key in machine.gpu.upper()), None)
        low, high = (
            (peak * GPU_SHARE[0], peak * GPU_SHARE[1])
            if peak
            else (UNKNOWN_GPU_TFLOPS[0] * 0.1, UNKNOWN_GPU_TFLOPS[1])
        )
        words = (
            f"{machine.gpu}: 8 to 40 % of {peak:g} TFLOP/s (data sheet)"
            if peak
            else f"{machine.gpu} is in no table"
        )
        return Speed(Span(low * 1e12 / flops, high * 1e12 / flops), words, measured=False)
    kinds = (True, False) if machine.bf16 is None else (machine.bf16,)
    low = min(CPU_GFLOPS_A_CORE[kind][0] for kind in kinds) * machine.cpus
    high = max(CPU_GFLOPS_A_CORE[kind][1] for kind in kinds) * machine.cpus
    cores = "1 CPU core" if machine.cpus == 1 else f"{machine.cpus} CPU cores"
    words = f"{cores}: {low:.0f} to {high:.0f} GFLOP/s together (table)"
    return Speed(Span(low * 1e9 / flops, high * 1e9 / flops), words, measured=False)


def speed_of_jobs(measured: Sequence[float], jobs: int, where: str) -> Speed | None:
    """Return the speed that finished jobs had: the middle half of their steps, widened a little; None for too few steps.

    Args:
        measured: Tokens a second of single steps, scaled to the config in question.
        jobs: How many jobs they come from.
    """
    if len(measured) < 4:
        return None
    low, _, high = quantiles(measured, n=4)
    count = "1 finished job" if jobs == 1 else f"{jobs} finished jobs"
    return Speed(
        Span(low * (1 - SAME_MODEL), high * (1 + SAME_MODEL)),
        f"measured: {count} of this model on {where}",
        measured=True,
    )
