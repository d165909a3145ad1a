"""The life of one attempt, from claim to end, as a state machine that an agent drives by ticks. No tick ever waits.

FETCHING (data, checkpoint, base model come here) -> TRAINING (the child computes) -> STORING (adapter, metrics and
logs go to the store) -> CLOSING (the tail is shipped, the outcome told) -> OVER. A cancelled job tells its outcome
first and stores after; an attempt that has lost its job delivers what it can and tells no outcome.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from pathlib import Path

from lora_core.errors import StudioError
from lora_core.schema.job import EndOfAttempt, Outcome, RequestedAction
from lora_core.schema.runner import Claim, Directive
from lora_core.settings import Settings
from lora_core.store.base import RunnerPort
from runner.cadence import NEAR, Cadence
from runner.clocks import SYSTEM, Clocks
from runner.disk import disk_is_full, give_back_reserve, is_full
from runner.fetching import Fetching, may_pass
from runner.holding import Hold
from runner.journal import Journal
from runner.keepsakes import queue_keepsakes
from runner.launching import spec_of
from runner.obeying import Wishes
from runner.run_folder import RunFolder
from runner.run_folders import UNKNOWN, Origin, mark_ended, note_end, noted_end, remove_run
from runner.store_line import StoreLine
from runner.training import Training, stall_seconds
from runner.uploads import Uploads
from runner.watching import Watch

log = logging.getLogger(__name__)

TROUBLE_LIMIT = 20
"""Ticks in a row that may fail for a reason nobody foresaw before the attempt is given up."""


class Stage(StrEnum):
    """Where an attempt stands."""

    FETCHING = "fetching"
    TRAINING = "training"
    STORING = "storing"
    CLOSING = "closing"
    OVER = "over"


class AttemptRun:
    """One attempt of one job on this machine. Not thread-safe: one loop ticks it.

    A crash of the agent loses nothing: the next agent makes an AttemptRun of the same folder and goes on.

    Args:
        settings: Folders, times and the kind of trainer.
        port: The store.
        claim: What the store handed out.
        root: The attempt's run folder.
        earlier: It was handed out to an earlier agent, and what that left in the folder is taken up.
        threads: CPU threads the trainer may use.
        wake: Called when a call to the store has ended.
        cadence: How often the store is called.
        clocks: What time it is.
        here: Which machine this is, and since when it is up.

    Raises:
        Conflict: Another agent is at work in the folder, or it ended the attempt just now.
    """

    def __init__(
        self,
        settings: Settings,
        port: RunnerPort,
        claim: Claim,
        root: Path,
        *,
        earlier: bool = False,
        threads: int | None = None,
        wake: Callable[[], None] = lambda: None,
        cadence: Cadence = NEAR,
        clocks: Clocks = SYSTEM,
        here: Origin = UNKNOWN,
    ) -> None:
        self._hold = Hold(root, claim, here, earlier=earlier)
        self._folder = RunFolder(root)
        try:
            self._journal = Journal(self._folder)
        except BaseException:
            self._hold.let_go()
            raise
        self.claim = claim
        self.stage = Stage.FETCHING
        self._settings = settings
        self._port = port
        self._threads = threads
        self._wake = wake
        self._uploads = Uploads(port, claim.job, claim.attempt, self._folder, wake, clocks.awake)
        self._watch = Watch(self._folder, self._journal, self._uploads, clocks.awake)
        self._wishes = Wishes(self._folder, self._journal, clocks.awake)
        self._training = Training(settings, claim, self._folder, self._journal, self._watch, self._wishes)
        self._line = StoreLine(
            port, claim.job.id, claim.attempt, self._journal, settings.lease_seconds, wake, cadence, clocks
        )
        self._fetching: Fetching | None = None
        self._end: EndOfAttempt | None = None
        self._end_noted = False
        self._fenced = False
        self._trouble = 0
        if earlier:
            try:
                self._take_up()
            except BaseException:
                self._journal.close()
                self._hold.let_go()
                raise

    def __str__(self) -> str:
        return f"job {self.claim.job.id[:8]} attempt {self.claim.attempt}"

    @property
    def root(self) -> Path:
        """Its run folder."""
        return self._folder.root

    @property
    def outcome(self) -> Outcome | None:
        """How it ended; None while it lasts."""
        if self._fenced:
            return Outcome.LOST
        return self._end.outcome if self._end else None

    @property
    def is_settled(self) -> bool:
        """Say whether a look into the queue can do it no harm.

        A look gives back jobs whose lease ran out, so ours has to be fresh; and who has lost its job first delivers what it
        has made since, so that whoever goes on with it has that.
        """
        if self.stage is Stage.OVER or self._line.told:
            return True
        return not self._fenced and self._line.lease_age() < self._settings.lease_seconds * 0.8

    def note(self, text: str) -> None:
        """Tell in the job's log what happened to the machine. Whether the lease still holds is open until it is renewed."""
        self._line.doubt_lease()
        if self.stage is not Stage.OVER:
            with suppress(OSError):
                self._journal.log(text, "warning")

    def tick(self) -> None:
        """Go on as far as possible without waiting. A fault nobody foresaw ends the attempt after a while, not the agent."""
        try:
            self._tick()
            self._trouble = 0
        except Exception as error:
            self._trouble += 1
            if self._trouble == 1 or not is_full(error):
                log.exception("%s: trouble while %s", self, self.stage.value)
            if is_full(error):
                give_back_reserve(self._folder.root, trains=self._training.alive)
            if self._trouble >= TROUBLE_LIMIT:
                self._trouble = 0
                self._give_up(error)

    def release(self) -> None:
        """Let go of the job because the runner shuts down: the trainer saves, and the job is queued again."""
        if self._wishes.releasing or self.stage not in (Stage.FETCHING, Stage.TRAINING):
            return
        self._wishes.releasing = True
        if self.stage is Stage.FETCHING:
            self._finish(EndOfAttempt(outcome=Outcome.RELEASED, reason="The runner was shut down."))
        else:
            try:
                self._wishes.release(self._settings.release_grace_seconds)
            except OSError as error:  # a full disk: it goes on from the checkpoint before
                log.warning("%s: the trainer cannot be asked to save, and is ended: %s", self, error)

    def abandon(self) -> None:
        """End trainer and children at once and let go. The folder stays as it is; a later agent takes it up."""
        self._kill()
        self._journal.close()
        self._hold.let_go()

    def _kill(self) -> None:
        self._training.kill()
        self._stop_fetching()

    def _stop_fetching(self) -> None:
        if self._fetching is not None:
            self._fetching.stop()
            self._fetching = None

    # Stages

    def _tick(self) -> None:
        if self.stage is Stage.FETCHING:
            self._fetch()
        elif self.stage is Stage.TRAINING:
            self._train()
        elif self.stage is Stage.STORING:
            self._wait_until_stored()
        self._uploads.tick(self._journal.confirmed)
        while self._uploads.news:
            self._journal.log(*self._uploads.news.pop(0))
        self._line.tick(renew=not (self._line.told or self._fenced), end=self._end_to_tell())
        if (self._line.refusals or self._uploads.conflict) and not self._fenced and not self._line.told:
            self._fence(self._line.refusal)
        elif not self._fenced:
            self._obey(self._line.directive)
        self._leave_if_over()

    def _fetch(self) -> None:
        if self._fetching is None:
            self._journal.log("The job was claimed; fetching what it needs.")
            self._fetching = Fetching(self._settings, self._port, self.claim, self._folder.root, self._wake)
        try:
            inputs = self._fetching.tick()
        except StudioError as error:
            self._fail("Could not be prepared.", str(error), transient=may_pass(error))
            return
        if inputs is not None:
            self._training.start(spec_of(self.claim, inputs, self._settings, self._threads))
            self._fetching = None
            self.stage = Stage.TRAINING
            return
        share, message = self._fetching.progress()
        self._watch.say_phase(name="fetching", progress=round(share, 2), message=message)
        limit = stall_seconds(self._settings, self.claim.job.config.alerts.stall.minutes)
        if self._watch.idle_seconds() > limit:
            waited = f"Nothing arrived for {limit:g} seconds ({message})"
            self._fail("Fetching stalled.", f"{waited} {self._fetching.trouble}".strip(), transient=True)

    def _train(self) -> None:
        end = self._training.tick()
        if end is not None:
            self._finish(end)

    def _obey(self, directive: Directive) -> None:
        if not self._wishes.hear(directive):
            return
        action = self._wishes.action
        log.info("%s: asked to %s", self, action)
        if self.stage is Stage.FETCHING and action is not RequestedAction.CHECKPOINT:
            outcome = Outcome.CANCELLED if action is RequestedAction.CANCEL else Outcome.PAUSED
            reason = f"{outcome.value.capitalize()} before it began."
            self._finish(EndOfAttempt(outcome=outcome, reason=reason))
        elif self.stage is Stage.TRAINING:
            self._training.obey()
        elif self.stage is Stage.STORING and action is RequestedAction.CANCEL:
            self._wishes.echo(self._watch.echoed)
            self._end = EndOfAttempt(outcome=Outcome.CANCELLED, reason="Cancelled by request.")
            self._journal.log("Cancelled while what it made was being stored.")
            self.stage = Stage.CLOSING
            self._line.hurry()

    def _take_up(self) -> None:
        """Find out how far an earlier agent came. A trainer that lives is followed on; one that ended is judged."""
        self._line.doubt_lease()
        self._end = noted_end(self._folder.root)
        if self._end is not None:
            self._end_noted, self.stage = True, Stage.CLOSING
            self._line.maybe_told = self._journal.caught_up
            self._training.take_up(restarted=self._hold.restarted)
            if self._training.begun:
                queue_keepsakes(self._uploads, self._folder, self._end, self._watch.result)
            return
        said = (
            "The machine was restarted; a new runner process"
            if self._hold.restarted
            else "A new runner process"
        )
        self._training.take_up(restarted=self._hold.restarted)
        if self._training.begun:
            self.stage = Stage.TRAINING
        self._journal.log(f"{said} took up this attempt.", "warning" if self._hold.restarted else "info")

    # The end

    def _finish(self, end: EndOfAttempt) -> None:
        """The computing is over: queue what is to be kept, and close."""
        log.info("%s: %s. %s", self, end.outcome.value, end.error or end.reason)
        self._stop_fetching()
        self._wishes.echo(self._watch.echoed)
        self._end = end
        level = "error" if end.outcome is Outcome.FAILED else "info"
        self._journal.log(f"{end.outcome.value.capitalize()}. {end.error or end.reason}".strip(), level)
        if self._training.begun:
            self._watch.say_phase(name="uploading", message="Storing what the job made.")
            queue_keepsakes(self._uploads, self._folder, end, self._watch.result)
        self.stage = Stage.CLOSING if end.outcome is Outcome.CANCELLED else Stage.STORING
        self._line.hurry()

    def _wait_until_stored(self) -> None:
        if not self._uploads.idle:
            return
        assert self._end is not None
        if self._end.outcome is Outcome.COMPLETED and not self._uploads.has_stored("adapter"):
            why = " ".join(self._uploads.failed.values())
            error = f"{why} It is kept on the runner's machine in {self._folder.adapter}."
            self._end = EndOfAttempt(
                outcome=Outcome.FAILED,
                reason="The adapter could not be stored.",
                error=error,
                transient=not self._uploads.failed_for_good,
            )
            self._journal.log(error, "error")
        self.stage = Stage.CLOSING
        self._line.hurry()

    def _end_to_tell(self) -> EndOfAttempt | None:
        """Return the outcome once it may be told. It is noted first: the store may know it when this process dies."""
        if self.stage is not Stage.CLOSING or self._fenced or self._end is None:
            return None
        if not self._end_noted:
            note_end(self._folder.root, self._end)
            self._end_noted = True
        return self._end

    def _fail(self, reason: str, error: str, *, transient: bool = False) -> None:
        self._finish(EndOfAttempt(outcome=Outcome.FAILED, reason=reason, error=error, transient=transient))

    def _give_up(self, error: Exception) -> None:
        """Last resort; if even closing does not work, the lease runs out and another runner goes on."""
        self._kill()
        if self._end is not None:
            self._leave(keep=True)
            return
        reason = "The runner failed."
        said = f"The runner could not go on: {type(error).__name__}: {error}"
        if is_full(error):
            reason, said = "The disk is full.", str(disk_is_full(self._folder.root, self._settings.root))
        self._end = EndOfAttempt(
            outcome=Outcome.FAILED, reason=reason, error=said, transient=not is_full(error)
        )
        self.stage = Stage.CLOSING

    def _fence(self, why: str) -> None:
        """Somebody else owns the job, or it has ended: end our trainer, then deliver what may still be delivered."""
        log.warning("%s: lost (%s); ending the trainer and leaving the job alone", self, why)
        self._fenced = True
        self._kill()
        if self._training.begun:
            self._watch.collect_rest()
        self._journal.log(
            "This runner lost the job: its lease ran out, or the job was ended elsewhere.", "warning"
        )
        self.stage = Stage.CLOSING
        self._line.hurry()

    def _leave_if_over(self) -> None:
        if self.stage is not Stage.CLOSING or not (self._fenced or self._line.told):
            return
        refused = self._uploads.conflict or self._line.refusals > self._fenced
        if refused or (self._journal.caught_up and self._uploads.idle):
            failed = self._fenced or self._uploads.failed or self.outcome is Outcome.FAILED
            self._leave(keep=bool(failed))

    def _leave(self, *, keep: bool) -> None:
        self.stage = Stage.OVER
        self._journal.close()
        if keep:
            (self._folder.root / "reserve").unlink(missing_ok=True)
            mark_ended(self.claim, self._folder.root, str(self.outcome or ""))
        else:
            remove_run(self._folder.root)
        self._hold.let_go()
