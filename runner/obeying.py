"""What is wanted of a trainer, by the person or by a runner that stops, and how long it has to obey. Knows no store."""

import time
from collections.abc import Callable

from lora_core.schema.base import new_id
from lora_core.schema.job import RequestedAction
from lora_core.schema.run import EventKind, Request
from lora_core.schema.runner import Directive
from runner.journal import Journal
from runner.outcome import KilledFor
from runner.processes import Child
from runner.run_folder import RunFolder

CANCEL_GRACE_SECONDS = 1.5


class Wishes:
    """The newest wish about one trainer, passed on by its `request.json`.

    Attributes:
        directive: What the person wanted last.
        killed_for: Why the agent killed the trainer, or is about to; empty if it does not.
        releasing: The runner shuts down and lets go of the job.
    """

    def __init__(
        self, folder: RunFolder, journal: Journal, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.directive = Directive()
        self.killed_for: KilledFor = ""
        self.releasing = False
        self._folder = folder
        self._journal = journal
        self._clock = clock
        self._kill_at: float | None = None

    @property
    def action(self) -> RequestedAction | None:
        """What the person wanted last, if anything."""
        return self.directive.requested_action

    @property
    def none(self) -> bool:
        """Say whether nobody wants the trainer to end, so that it may go on or start anew."""
        ends = self.action not in (None, RequestedAction.CHECKPOINT)
        return not (self.killed_for or self.releasing or ends)

    def hear(self, directive: Directive) -> bool:
        """Take what the store says the person wants.

        Returns:
            Whether it is news.
        """
        if directive.requested_action is None or directive == self.directive:
            return False
        self.directive = directive
        return True

    def pass_on(self, child: Child) -> None:
        """Tell the trainer; one that is to be cancelled has not long to live, told or not.

        Raises:
            OSError: It could not be told, the disk is full perhaps; what is wanted is news once more.
        """
        wanted, action = self.directive, self.directive.requested_action
        assert action is not None
        try:
            self._folder.write_request(Request(id=wanted.request_id or new_id(), action=action.value))
        except OSError:
            if action is not RequestedAction.CANCEL:
                self.directive = Directive()
            raise
        finally:
            if action is RequestedAction.CANCEL:
                child.terminate()
                self._kill_within(CANCEL_GRACE_SECONDS, "cancel")

    def release(self, grace_seconds: float) -> None:
        """Ask the trainer to save and stop; a person's wish to pause or cancel stands."""
        if self._kill_at is None:
            self._kill_within(grace_seconds, "release")
        self._journal.log("The runner shuts down: the trainer is asked to save and stop.")
        if self.action in (None, RequestedAction.CHECKPOINT):
            self._folder.write_request(Request(id=new_id(), action="release"))

    def is_overdue(self) -> bool:
        """Say, once, that the trainer has had its time."""
        if self._kill_at is None or self._clock() < self._kill_at:
            return False
        self._kill_at = None
        return True

    def echo(self, echoed: set[str]) -> None:
        """Acknowledge the wish in the place of a trainer that could not.

        Args:
            echoed: Ids of what was acknowledged already.
        """
        if self.action is not None and self.directive.request_id not in echoed:
            echoed.add(self.directive.request_id)
            self._journal.say(
                EventKind.PHASE, name="request", id=self.directive.request_id, action=self.action.value
            )

    def _kill_within(self, seconds: float, why: KilledFor) -> None:
        self.killed_for = why
        self._kill_at = self._clock() + seconds
