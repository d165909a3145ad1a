"""The machine in words: what a reader needs to judge a figure. No names, addresses or paths."""

import os
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

FLAGS = ("amx_bf16", "avx512_bf16", "avx512f", "avx2", "asimd", "bf16")


def describe_machine(packages: Sequence[str]) -> str:
    """Say cores, memory, CPU features and versions in one line.

    Args:
        packages: Distributions whose versions matter to what was measured.
    """
    memory = psutil.virtual_memory().total / 2**30
    features = ", ".join(flag for flag in FLAGS if flag in _cpu_flags()) or "unknown"
    versions = ", ".join(f"{name} {found}" for name in packages if (found := _version(name)))
    words = f"{platform.system()} {platform.machine()}, {allowed_cpus()} CPUs, {memory:.0f} GiB, CPU features: {features}"
    return f"{words}; Python {platform.python_version()}" + (f", {versions}" if versions else "")


def load() -> float:
    """Return the machine's load average over the last minute."""
    return os.getloadavg()[0]


def allowed_cpus() -> int:
    """Count the CPUs this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpu_flags() -> frozenset[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line for line in lines if line.startswith(("flags", "Features"))), "").split())


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
