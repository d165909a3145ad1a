"""Whether a CPU computes bfloat16 in hardware: it decides the number format of a run, and with it memory and speed."""

from functools import cache
from pathlib import Path

BF16_FLAGS = ("amx_bf16", "avx512_bf16", "bf16")
"""CPU features (x86, and `bf16` on Arm) with which bfloat16 is computed in hardware; without them it is slower than float32."""


@cache
def cpu_has_bf16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Say whether this machine's CPU multiplies bfloat16 in hardware (AMX or AVX-512 BF16; Linux only, else no)."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return False
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), "").split()
    return any(flag in flags for flag in BF16_FLAGS)
