"""What results depend on beside config and rows: device, number format, libraries, base weights. Every checkpoint holds it."""

import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from pydantic import Field

from lora_core.schema.base import Frozen
from runner.train.base_weights import config_identity, weights_identity
from runner.train.hardware import Hardware

LIBRARIES = ("torch", "transformers", "trl", "peft", "accelerate", "bitsandbytes", "tokenizers", "numpy")


class Environment(Frozen):
    """A fingerprint of where and with what a run computes. None is not known: the checkpoint is older than the field.

    Attributes:
        system: Operating system and kind of processor.
        device: cpu, cuda or mps.
        device_name: The GPU's or the processor's model.
        cpu_capability: Instructions that torch's CPU kernels use (DEFAULT, AVX2, AVX512 ...).
        float32_precision: How torch multiplies float32 on a GPU (highest, high, medium).
        deterministic: Whether torch was told to use deterministic algorithms only.
        base_weights, base_config: Of the base model (`base_weights`).
        packed_tokens: Most tokens that packed rows share; 0 where a row is a sequence.
    """

    libraries: dict[str, str] = Field(default_factory=dict)
    system: str | None = None
    device: str | None = None
    device_name: str | None = None
    dtype: str | None = None
    threads: int | None = None
    cpu_capability: str | None = None
    float32_precision: str | None = None
    deterministic: bool | None = None
    base_weights: str | None = None
    base_config: str | None = None
    packed_tokens: int | None = None


def environment_of(hardware: Hardware, base: Path, packed_tokens: int | None) -> Environment:
    """Describe this process.

    Args:
        hardware: What was chosen for the run.
        base: Folder of the base model.
        packed_tokens: Most tokens of a packed sequence; None where a row is a sequence.
    """
    on_gpu = hardware.device.type == "cuda"
    return Environment(
        libraries=_versions(),
        system=f"{platform.system()} {platform.machine()}",
        device=hardware.device.type,
        device_name=torch.cuda.get_device_name(hardware.device) if on_gpu else processor_name(),
        dtype=hardware.dtype_name,
        threads=hardware.threads,
        cpu_capability=torch.backends.cpu.get_cpu_capability(),
        float32_precision=torch.get_float32_matmul_precision(),
        deterministic=torch.are_deterministic_algorithms_enabled(),
        base_weights=weights_identity(base),
        base_config=config_identity(base),
        packed_tokens=packed_tokens or 0,
    )


@cache
def processor_name(file: Path = Path("/proc/cpuinfo")) -> str:
    """Name the processor's model; its kind where the system does not tell."""
    try:
        lines = file.read_text().splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()


def _versions() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # bitsandbytes is not on every system
            continue
    if torch.version.cuda:
        found["cuda"] = torch.version.cuda
    return found
