"""Memory of processes. Knows no benchmark."""

import resource
import sys
from pathlib import Path

import psutil

MEGABYTE = 1_000_000


def peak_mb() -> float:
    """Return the most memory this process ever had resident, in MB.

    On Linux from /proc: `ru_maxrss` of a child starts with what its parent had when it was made.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / MEGABYTE
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / MEGABYTE if sys.platform == "darwin" else peak * 1024 / MEGABYTE


def forget_peak() -> None:
    """Let `peak_mb` count from now on (Linux: proc(5), clear_refs); elsewhere it stays as it is."""
    marks = Path("/proc/self/clear_refs")
    if marks.exists():
        marks.write_text("5")


def resident_here_mb() -> float:
    """Return what this process has resident now, in MB."""
    return psutil.Process().memory_info().rss / MEGABYTE


def resident_mb(process_id: int) -> float:
    """Return what a process and its children have resident now, in MB."""
    process = psutil.Process(process_id)
    return sum(one.memory_info().rss for one in [process, *process.children(recursive=True)]) / MEGABYTE
