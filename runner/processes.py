"""Children in a session of their own: started, found again after the agent's restart, and ended with all their children.

A child runs under a shell of a few hundred kilobytes that writes its own process id, waits, and writes the child's exit
code to a file. So the agent may die at any instant: the next one finds the process id and, later, the exit code.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

SOURCE_ROOT = Path(__file__).resolve().parent.parent

_WAITER = 'trap : TERM INT; echo $$ >"$0/pid"; "$@"; echo $? >"$0/exit_code"'
"""`trap :` keeps the shell alive through a signal to the group; unlike an ignored signal it is not inherited."""


class Child:
    """A process group that works for one folder. Not thread-safe.

    Args:
        folder: Where `pid` and `exit_code` are kept; its path also marks the process as ours.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._own: subprocess.Popen[bytes] | None = None
        self._group = 0

    @classmethod
    def start(
        cls, command: Sequence[str], folder: Path, log: Path, environment: Mapping[str, str]
    ) -> "Child":
        """Start a command in a new session with stdout and stderr in `log`; its working directory is the folder."""
        child = cls(folder)
        (folder / "exit_code").unlink(missing_ok=True)
        with log.open("ab") as output:
            child._own = subprocess.Popen(
                ["/bin/sh", "-c", _WAITER, str(folder), *command],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                start_new_session=True,
            )
        child._group = child._own.pid
        return child

    @classmethod
    def find(cls, folder: Path) -> "Child | None":
        """Return the child that another agent started in the folder, alive or ended; None if there was none."""
        try:
            group = int((folder / "pid").read_text())
        except (FileNotFoundError, ValueError):
            return None
        child = cls(folder)
        child._group = group
        return child

    @property
    def process_id(self) -> int:
        """Id of the process group."""
        return self._group

    def alive(self) -> bool:
        """Say whether the group's first process (the shell) still runs."""
        if self._own is not None:
            return self._own.poll() is None
        return self._is_ours()

    def exit_code(self) -> int | None:
        """Return the child's exit code, 128 + n after signal n; None if it runs or was killed with its shell."""
        try:
            return int((self._folder / "exit_code").read_text())
        except (FileNotFoundError, ValueError):
            return None

    def terminate(self) -> None:
        """Ask the whole group to end (SIGTERM)."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the whole group at once (SIGKILL), stragglers of an ended child included."""
        self._signal(signal.SIGKILL)
        if self._own is not None:
            try:
                self._own.wait(timeout=5)
            except (
                subprocess.TimeoutExpired
            ):  # in an uninterruptible call (a dead disk); alive() goes on saying so
                return

    def group_alive(self) -> bool:
        """Say whether any process of the group is left."""
        return any(member.status() != psutil.STATUS_ZOMBIE for member in self._members())

    def _signal(self, number: signal.Signals) -> None:
        if self._own is not None and self._own.poll() is None:
            os.killpg(self._group, number)
            return
        for member in self._members():
            try:
                member.send_signal(number)
            except psutil.NoSuchProcess:
                continue

    def _members(self) -> list[psutil.Process]:
        """Processes of the session; a session id lives as long as any member, so a reused number cannot be mistaken."""
        members = []
        for process in psutil.process_iter():
            try:
                if os.getsid(process.pid) == self._group and self._not_a_stranger(process):
                    members.append(process)
            except (ProcessLookupError, PermissionError, psutil.Error):
                continue
        return members

    def _not_a_stranger(self, process: psutil.Process) -> bool:
        """Guard against a process id that was given to somebody else after ours had ended."""
        return process.pid != self._group or self._own is not None or self._is_ours()

    def _is_ours(self) -> bool:
        try:
            process = psutil.Process(self._group)
            return process.status() != psutil.STATUS_ZOMBIE and str(self._folder) in process.cmdline()
        except psutil.Error:
            return False


def python_command(module: str, *arguments: str) -> list[str]:
    """The command line of one of our own modules."""
    return [sys.executable, "-m", module, *arguments]


SECRET_PREFIXES = ("SUPABASE_", "RUNPOD_", "LORA_STUDIO_", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "AWS_")
"""Variables that a child has no need of: keys of stores and providers, and the agent's own settings."""


def child_environment(extra: Mapping[str, str], *, hub: bool = False) -> dict[str, str]:
    """The agent's environment without its secrets.

    Args:
        extra: Variables to add or replace.
        hub: Whether the child talks to the Hugging Face Hub and so may have the person's token.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(SECRET_PREFIXES)
        or (hub and name.startswith(("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")))
    }
    paths = [str(SOURCE_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return kept | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"} | dict(extra)
