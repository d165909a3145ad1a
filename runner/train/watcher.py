"""Listens while the trainer computes: requests of the runner, SIGTERM, and a reading of the machine every few seconds.

Acts on nothing but `cancel`: the training loop asks at safe points what is wanted.
"""

import os
import threading
import time
from typing import Any, Literal

import torch

from lora_core.schema.metrics import MetricKind
from lora_core.schema.run import Request
from runner.run_folder import RunFolder
from runner.train.hardware import gpu_readings, host_readings
from runner.train.journal import Journal

POLL_SECONDS = 0.2
SYSTEM_SECONDS = 10.0
CANCELLED = 143
"""Exit status after `cancel`, as of a process that SIGTERM ended: to the runner, which asked for it, no outcome."""

Stop = Literal["pause", "release"]


class StopRequested(Exception):
    """The trainer is asked to stop at a point where there is nothing to save."""

    def __init__(self, action: Stop) -> None:
        super().__init__(action)
        self.action = action


class Watcher(threading.Thread):
    """Polls `request.json` (one stat call) and echoes each request at once, so that a slow step delays no answer."""

    def __init__(self, folder: RunFolder, journal: Journal) -> None:
        super().__init__(name="watcher", daemon=True)
        self.stopping: Stop | None = None
        self.device = torch.device("cpu")
        self._folder = folder
        self._journal = journal
        self._save_wanted = threading.Event()
        self._done = threading.Event()
        self._seen: tuple[int, int] | None = None
        self._system_at = 0.0
        host_readings()  # CPU load is measured from one reading to the next

    def run(self) -> None:
        """Poll until `close`."""
        while not self._done.wait(POLL_SECONDS):
            self.poll()

    def poll(self) -> None:
        """Look once for a new request, and write a system point if one is due."""
        try:
            stat = self._folder.request_file.stat()
        except FileNotFoundError:
            pass
        else:
            if (stat.st_mtime_ns, stat.st_ino) != self._seen:
                self._seen = (stat.st_mtime_ns, stat.st_ino)
                if request := self._folder.read_request():
                    self._take(request)
        if time.monotonic() - self._system_at >= SYSTEM_SECONDS:
            self._system_at = time.monotonic()
            self._journal.metrics(
                MetricKind.SYSTEM, int(time.time()), **gpu_readings(self.device), extra=host_readings()
            )

    def stop(self, action: Stop) -> None:
        """Ask the trainer to stop; safe in a signal handler."""
        self.stopping = self.stopping or action

    def take_save(self) -> bool:
        """Say once per `checkpoint` request that one is wanted."""
        wanted = self._save_wanted.is_set()
        self._save_wanted.clear()
        return wanted

    def check(self) -> None:
        """Raise StopRequested if the trainer is asked to stop. For phases in which there is nothing to save."""
        if self.stopping:
            raise StopRequested(self.stopping)

    def close(self) -> None:
        """Stop polling."""
        self._done.set()
        if self.is_alive():
            self.join(timeout=5)

    def _take(self, request: Request) -> None:
        echo: dict[str, Any] = {"id": request.id, "action": request.action}
        self._journal.phase("request", **echo)
        match request.action:
            case "cancel":
                self._journal.log("Cancelled: nothing is saved.")
                os._exit(CANCELLED)
            case "checkpoint":
                self._save_wanted.set()
            case action:
                self.stop(action)
