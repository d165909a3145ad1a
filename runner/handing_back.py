"""Gives back an attempt that this machine cannot even begin, or take up: its disk is full, its folder is damaged."""

import logging
from collections.abc import Callable
from pathlib import Path

from lora_core.schema.job import EndOfAttempt, Outcome
from lora_core.schema.runner import Claim
from lora_core.settings import Settings
from lora_core.store.base import RunnerPort
from runner.calls import Call
from runner.disk import disk_is_full, is_full
from runner.processes import Child
from runner.run_folders import mark_ended

log = logging.getLogger(__name__)


class HandBack:
    """Attempts on their way back. Each is told once; if that fails, its lease runs out. Ticks; never waits.

    Args:
        settings: Folders.
        port: The store.
        wake: Called when a call has ended.
    """

    def __init__(self, settings: Settings, port: RunnerPort, wake: Callable[[], None]) -> None:
        self._settings = settings
        self._port = port
        self._wake = wake
        self._calls: list[Call[None]] = []

    @property
    def busy(self) -> bool:
        """Say whether the store has not heard of all of them."""
        return bool(self._calls)

    def begin(self, claim: Claim, root: Path, error: Exception) -> None:
        """Tell the store why an attempt cannot be, and end a trainer that nobody can follow."""
        child = Child.find(root)
        if child is not None:
            child.kill()
        mark_ended(claim, root, Outcome.FAILED)
        full = is_full(error)
        words = f"The runner could not begin in {root}: {type(error).__name__}: {error}"
        end = EndOfAttempt(
            outcome=Outcome.FAILED,
            reason="The disk is full." if full else "The runner failed.",
            error=str(disk_is_full(root, self._settings.root)) if full else words,
            transient=not full,
        )
        call: Call[None] = Call(self._wake)
        call.start(lambda: self._port.end(claim.job.id, claim.attempt, end))
        self._calls.append(call)

    def tick(self) -> None:
        """Take the store's answers."""
        for call in [each for each in self._calls if each.answered]:
            self._calls.remove(call)
            try:
                call.take()
            except Exception as error:
                log.warning("the store could not be told; the lease runs out: %s", error)
