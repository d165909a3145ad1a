"""What this process may use: CPUs, threads, device and number format, and what the GPU reports. Knows nothing of jobs."""

import os
import platform
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psutil
import torch

from lora_core.errors import ConfigError
from lora_core.estimate.cpu import cpu_has_bf16
from lora_core.schema.config import ModelConfig

GIB = 1024**3
CGROUP_FILES = (Path("/sys/fs/cgroup/cpu.max"), Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"))


@dataclass(frozen=True)
class Hardware:
    """Where a run computes, and in what."""

    device: torch.device
    dtype: torch.dtype
    threads: int

    @property
    def autocast(self) -> bool:
        """Whether float32 weights (the adapter's) are multiplied in `dtype`, as the base model's are."""
        return self.device.type in ("cuda", "cpu") and self.dtype is not torch.float32

    @property
    def dtype_name(self) -> str:
        """The number format as configs name it."""
        return str(self.dtype).removeprefix("torch.")

    def describe(self) -> str:
        """Say it in a line for the log."""
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else platform.machine()
        return f"{self.device.type} ({name}), {self.dtype_name}, {self.threads} threads"


def choose_hardware(model: ModelConfig, threads: int | None = None) -> Hardware:
    """Take the GPU where there is one, and the number format that it computes fast.

    Args:
        model: Its `dtype` is obeyed unless it is `auto`.
        threads: CPU threads for torch; None for all CPUs that the process may use.

    Raises:
        ConfigError: float16 without a CUDA GPU: gradients would vanish, and CPUs are slow in it.
    """
    count = threads or allowed_cpus()
    torch.set_num_threads(count)
    device = _device()
    if model.dtype == "float16" and device.type != "cuda":
        raise ConfigError("float16 needs a CUDA GPU.", "Set model.dtype to auto.")
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
    return Hardware(device, _dtype(model.dtype, device), count)


def allowed_cpus() -> int:
    """Count the CPUs this process may use: its affinity, cut by a container's quota (cgroup v2 or v1)."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota_cpus()
    return max(1, min(cpus, int(quota))) if quota else cpus


def host_readings() -> dict[str, Any]:
    """Read CPU load of the machine in percent and resident memory of this process in GiB, as `extra` of a system point."""
    process = psutil.Process()
    return {
        "host_cpu_percent": psutil.cpu_percent(interval=None),
        "host_memory_percent": psutil.virtual_memory().percent,
        "rss_gb": process.memory_info().rss / GIB,
    }


def gpu_readings(device: torch.device) -> dict[str, float]:
    """Read the GPU columns of a metric point; empty without CUDA. What the driver does not tell is left out."""
    if device.type != "cuda":
        return {}
    index = device.index or 0
    readings = {
        "gpu_memory_allocated_gb": torch.cuda.memory_allocated(index) / GIB,
        "gpu_memory_reserved_gb": torch.cuda.memory_reserved(index) / GIB,
    }
    return {**readings, **_driver_readings(str(torch.cuda.get_device_properties(index).uuid))}


def _device() -> torch.device:
    if torch.cuda.is_available():
        return torch.device("cuda", 0)
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def _dtype(wanted: str, device: torch.device) -> torch.dtype:
    if wanted != "auto":
        dtype = getattr(torch, wanted)
        assert isinstance(dtype, torch.dtype)
        return dtype
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    return torch.bfloat16 if device.type == "cpu" and cpu_has_bf16() else torch.float32


def _quota_cpus() -> float | None:
    unified, legacy = CGROUP_FILES
    try:
        if unified.exists():
            quota, period = unified.read_text().split()
        elif legacy.exists():
            quota, period = (
                legacy.read_text().strip(),
                legacy.with_name("cpu.cfs_period_us").read_text().strip(),
            )
        else:
            return None
    except (OSError, ValueError):
        return None
    return None if quota in ("max", "-1") else int(quota) / int(period)


def _driver_readings(uuid: str) -> dict[str, float]:
    """Utilisation 0 to 1, temperature in Celsius and power in watts, by the GPU's uuid: CUDA may number GPUs otherwise."""
    import pynvml

    readings: dict[str, float] = {}
    try:
        handle = _driver_handle(uuid)
        readings["gpu_utilization"] = pynvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100
        readings["gpu_temperature_c"] = float(
            pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU)
        )
        readings["gpu_power_w"] = pynvml.nvmlDeviceGetPowerUsage(handle) / 1000
    except pynvml.NVMLError:
        pass  # in some containers the driver tells only part of it; what came before is still good
    return readings


@cache
def _driver_handle(uuid: str) -> Any:
    import pynvml

    pynvml.nvmlInit()
    return pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}".encode())
