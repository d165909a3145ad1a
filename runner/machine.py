"""What this machine has, and under which name its runner is known. Reads the driver and the kernel; holds no GPU memory."""

import fcntl
import hashlib
import logging
import os
import platform
import re
import socket
import subprocess
from pathlib import Path
from typing import IO

import psutil

from lora_core.errors import Conflict
from lora_core.schema.base import new_id, utc_now
from lora_core.schema.runner import RunnerInfo
from runner.run_folders import Origin

log = logging.getLogger(__name__)

GIB = 2**30
CGROUP = Path("/sys/fs/cgroup")


class Identity:
    """A runner's name and id on this machine, held for the life of the process so that no other runner takes them.

    An id belongs to the machine on which it was made: in a home that was copied, the copy gets a name and id of its own,
    or two machines would be one runner to the store.

    Args:
        folder: Where identities are kept, one file each.
        name: The wanted name; empty for the host's name. While a runner of that name lives, `-2`, `-3` ... is appended.
        alone: The folder is for one runner, which keeps its id whatever the machine is called after a restart.
        machine: Which machine this is; empty where that cannot be told.
        among_others: Other machines work for the same store, and one may have the same name: the first characters of the id
            tell them apart wherever a person reads the name.
    """

    def __init__(
        self,
        folder: Path,
        name: str = "",
        *,
        alone: bool = False,
        machine: str = "",
        among_others: bool = False,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        wanted = (name or socket.gethostname() or "runner")[:70]
        for number in range(1, 100):
            self.name = wanted if number == 1 else f"{wanted}-{number}"
            stem = f"runner-{number}" if alone else re.sub(r"[^A-Za-z0-9.-]", "_", self.name)
            file = (folder / f"{stem}.id").open("a+", encoding="ascii")
            if lock(file):
                file.seek(0)
                self.id, _, owner = file.read().strip().partition(" ")
                if alone or not (owner and machine) or owner == machine:
                    break
                log.warning(
                    "the name %s belongs to another machine, from which this home was copied", self.name
                )
            file.close()
        else:
            raise Conflict(
                f"There are already {number} runners named {wanted} at work.", "Choose another --name."
            )
        self._file = file
        if not self.id or (machine and not owner):
            self.id = self.id or new_id()
            file.truncate(0)
            file.write(f"{self.id} {machine}".strip())
            file.flush()
        if among_others:
            self.name = f"{self.name} ({self.id[:4]})"

    def release(self) -> None:
        """Let another runner take the name."""
        self._file.close()


def find_origin() -> Origin:
    """Return which machine this is and since which start of it we are here, each empty where the system does not tell."""
    return Origin(machine=_digest(_machine()), boot=_digest(_boot()))


def _machine() -> str:
    if platform.system() == "Darwin":
        return _first_match(
            r'"IOPlatformUUID" = "([^"]+)"', ["ioreg", "-rd1", "-c", "IOPlatformExpertDevice"]
        )
    return _read(Path("/etc/machine-id")) or _read(Path("/var/lib/dbus/machine-id"))


def _boot() -> str:
    if platform.system() == "Darwin":
        return _first_match(r"(\S+)", ["sysctl", "-n", "kern.bootsessionuuid"])
    return _read(Path("/proc/sys/kernel/random/boot_id"))


def _digest(text: str) -> str:
    """The system asks not to pass these on as they are."""
    return hashlib.sha256(f"lora-studio {text}".encode()).hexdigest()[:16] if text else ""


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def _first_match(pattern: str, command: list[str]) -> str:
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
    found = re.search(pattern, said)
    return found[1] if found else ""


def lock(file: IO[str]) -> bool:
    """Lock an open file for this process, if nobody holds it; the kernel lets go when the process dies."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def describe_machine(identity: Identity, version: str, *, roles: tuple[str, ...] = ("train",)) -> RunnerInfo:
    """Describe this machine as a runner announces it. `gpu_memory_gb` is that of the smallest GPU."""
    gpus = read_gpus()
    now = utc_now()
    return RunnerInfo(
        id=identity.id,
        name=identity.name,
        version=version,
        roles=roles,
        cpus=usable_cpus(),
        memory_gb=round(usable_memory_bytes() / GIB, 1),
        gpus=tuple(name for name, _ in gpus),
        gpu_memory_gb=round(min((size for _, size in gpus), default=0) / GIB, 1),
        started_at=now,
        seen_at=now,
    )


def usable_cpus(cgroup: Path = CGROUP) -> int:
    """Count the CPUs this process may use: its affinity, cut by the container's quota (cgroup v2 or v1)."""
    allowed = len(os.sched_getaffinity(0)) if platform.system() == "Linux" else os.cpu_count() or 1
    try:
        if (cgroup / "cpu.max").exists():
            quota, period = (cgroup / "cpu.max").read_text().split()
        else:
            quota = (cgroup / "cpu" / "cpu.cfs_quota_us").read_text().strip()
            period = (cgroup / "cpu" / "cpu.cfs_period_us").read_text().strip()
        return allowed if quota in ("max", "-1") else max(1, min(allowed, int(quota) // int(period)))
    except (OSError, ValueError):
        return allowed


def usable_memory_bytes(cgroup: Path = CGROUP) -> int:
    """Memory this process may use, in bytes: the machine's, cut by the container's limit."""
    total: int = psutil.virtual_memory().total
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            return min(total, int((cgroup / name).read_text()))
        except (OSError, ValueError):
            continue
    return total


def read_gpus() -> list[tuple[str, int]]:
    """Return (name, memory in bytes) of each NVIDIA GPU this process may see; empty where there is no driver."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        handles = [
            pynvml.nvmlDeviceGetHandleByIndex(index) for index in _visible(pynvml.nvmlDeviceGetCount())
        ]
        return [
            (_text(pynvml.nvmlDeviceGetName(each)), int(pynvml.nvmlDeviceGetMemoryInfo(each).total))
            for each in handles
        ]
    except pynvml.NVMLError:
        return []
    finally:
        pynvml.nvmlShutdown()


def _visible(count: int) -> list[int]:
    """Indices that CUDA_VISIBLE_DEVICES leaves; GPUs named by uuid are all counted, for lack of a cheap way to match."""
    value = os.environ.get("CUDA_VISIBLE_DEVICES")
    if value is None:
        return list(range(count))
    parts = [part.strip() for part in value.split(",") if part.strip()]
    if all(part.lstrip("-").isdigit() for part in parts):
        return [int(part) for part in parts if 0 <= int(part) < count]
    return list(range(count))[: len(parts)]


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
