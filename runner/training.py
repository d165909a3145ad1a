"""The middle of an attempt: one trainer at a time, started or taken up, followed until it ended, and judged. No store."""

import logging

from lora_core.schema.job import EndOfAttempt
from lora_core.schema.run import EventKind, ExitCode, RunSpec
from lora_core.schema.runner import Claim
from lora_core.settings import Settings
from runner.disk import disk_is_full
from runner.journal import Journal
from runner.launching import launch, newest_checkpoint
from runner.obeying import Wishes
from runner.oom import SAID as OOM_SAID
from runner.oom import oom_kills, was_oom
from runner.outcome import Ending, judge
from runner.processes import Child
from runner.run_folder import RunFolder
from runner.smaller import difference, retry_of
from runner.watching import Watch

log = logging.getLogger(__name__)

FIRST_STEP_FACTOR = 3
"""A trainer may take this many times the stall limit until its first step: loading, compiling, tokenising."""


class Training:
    """The trainer of one attempt. Ticks; never waits.

    Args:
        settings: Folders and times.
        claim: The job.
        folder: The attempt's run folder.
        journal: Where the agent's own words go.
        watch: What the trainer says.
        wishes: What is wanted of it.
    """

    def __init__(
        self,
        settings: Settings,
        claim: Claim,
        folder: RunFolder,
        journal: Journal,
        watch: Watch,
        wishes: Wishes,
    ) -> None:
        self._settings = settings
        self._config = claim.job.config
        self._folder = folder
        self._journal = journal
        self._watch = watch
        self._wishes = wishes
        self._child: Child | None = None
        self._orphaned = False
        self._restarted = False
        self._oom_kills: int | None = None
        self._stall_told_of: float | None = None

    @property
    def begun(self) -> bool:
        """Say whether there is, or was, a trainer."""
        return self._child is not None

    @property
    def alive(self) -> bool:
        """Say whether a trainer is at work."""
        return self._child is not None and self._child.alive()

    def start(self, spec: RunSpec) -> None:
        """Start a trainer."""
        self._watch.say_phase(name="starting", message="Starting the trainer.")
        self._oom_kills = oom_kills()
        self._child = launch(self._folder, spec)
        log.info("job %s: trainer started as process %d", spec.job_id[:8], self._child.process_id)

    def take_up(self, *, restarted: bool) -> None:
        """Find the trainer that an earlier agent started, if it came so far, alive or ended.

        Args:
            restarted: The machine was started anew since.
        """
        self._child = Child.find(self._folder.root)
        if self._child is not None:
            self._orphaned = not self._child.alive()
            self._restarted = restarted
            self._watch.replay()

    def tick(self) -> EndOfAttempt | None:
        """Follow the trainer.

        Returns:
            How it ended; None while it works.
        """
        assert self._child is not None
        alive = self._child.alive()
        self._watch.collect()
        if not alive:
            self._child.kill()
            self._watch.collect_rest()
            code = self._exit_code(self._child)
            return None if self._start_smaller(code) else self._judge(code)
        if self._wishes.is_overdue():
            self._journal.log("The trainer did not stop by itself and was killed.", "warning")
            self._child.kill()
        elif self._stalled():
            self._act_on_stall()
        return None

    def obey(self) -> None:
        """Pass on what the person wants now."""
        if self._child is not None:
            self._wishes.pass_on(self._child)

    def kill(self) -> None:
        """End the trainer, and all that it started, at once."""
        if self._child is not None:
            self._child.kill()

    def _exit_code(self, child: Child) -> int | None:
        """How the trainer ended; one that the kernel ended for lack of memory could not say so itself."""
        code = child.exit_code()
        if not self._wishes.killed_for and was_oom(code, self._oom_kills, oom_kills()):
            self._watch.error = OOM_SAID
            return ExitCode.OUT_OF_MEMORY
        return code

    def _start_smaller(self, code: int | None) -> bool:
        """Start a trainer that ran out of memory once more with a smaller micro-batch, from its newest checkpoint.

        Returns:
            Whether it was started.
        """
        if not self._wishes.none:
            return False
        spec = self._folder.spec()
        config = retry_of(code, spec.config, self._config)
        if config is None:
            return False
        said = f"{self._watch.error} Trying once more: {difference(spec.config, config)}."
        self._journal.say(EventKind.ALERT, rule="out_of_memory", message=said, action="retry")
        self._watch.begin_anew()
        resume_from = newest_checkpoint(self._folder) or spec.resume_from
        self.start(spec.model_copy(update={"config": config, "resume_from": resume_from}))
        return True

    def _stalled(self) -> bool:
        factor = 1 if self._watch.stepped else FIRST_STEP_FACTOR
        return self._watch.idle_seconds() > self._stall_seconds * factor

    def _act_on_stall(self) -> None:
        assert self._child is not None
        if self._config.alerts.stall.action == "notify":
            if self._stall_told_of != self._watch.progressed_at:
                self._stall_told_of = self._watch.progressed_at
                said = f"There was no progress for {self._stall_seconds:g} seconds."
                self._journal.say(EventKind.ALERT, rule="stall", message=said, action="notify")
            return
        self._wishes.killed_for = "stall"
        self._watch.moved()
        self._journal.log("The trainer made no progress and was killed.", "error")
        self._child.kill()

    @property
    def _stall_seconds(self) -> float:
        return stall_seconds(self._settings, self._config.alerts.stall.minutes)

    def _judge(self, code: int | None) -> EndOfAttempt:
        return judge(
            Ending(
                code=code,
                requested=self._wishes.action,
                killed_for=self._wishes.killed_for,
                orphaned=self._orphaned,
                restarted=self._restarted,
                result=self._watch.result,
                error=self._watch.error,
                has_adapter=self._folder.adapter.is_dir(),
                log_file=self._folder.log_file,
                stall_seconds=self._stall_seconds,
                stall_pauses=self._config.alerts.stall.action == "pause",
                disk_full=str(disk_is_full(self._folder.root, self._settings.root)),
            )
        )


def stall_seconds(settings: Settings, minutes: float) -> float:
    """Return how long nothing may happen: the limit of the machine's owner where one is set, else the job's own."""
    return settings.stall_seconds if "stall_seconds" in settings.model_fields_set else minutes * 60
