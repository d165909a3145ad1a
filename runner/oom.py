"""Whether a trainer was ended by the kernel because the machine's memory ran out. Linux tells; other systems do not."""

from pathlib import Path
from signal import SIGKILL

COUNTERS = Path("/proc/vmstat")
SAID = "The machine ran out of memory, and its system ended the trainer."


def oom_kills(counters: Path = COUNTERS) -> int | None:
    """Return how many processes the kernel has ended for lack of memory since it started; None where it does not say."""
    try:
        lines = counters.read_text().splitlines()
    except OSError:
        return None
    values = [line.split()[1] for line in lines if line.startswith("oom_kill ")]
    return int(values[0]) if values else None


def was_oom(code: int | None, before: int | None, after: int | None) -> bool:
    """Say whether an exit code stands for the kernel's lack of memory.

    Args:
        code: 128 + n after signal n.
        before: What `oom_kills` was when the trainer started; None if unknown.
        after: What it is now.

    >>> was_oom(137, 0, 1), was_oom(137, 1, 1), was_oom(1, 0, 1)
    (True, False, False)
    """
    return code == 128 + SIGKILL and before is not None and after is not None and after > before
