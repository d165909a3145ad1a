"""The background process: announces itself, claims jobs and tasks, and tends what it holds. Holds no torch, no data.

The loop never waits for a store: calls run on threads of their own, computing runs in children.
"""

import logging
import threading
import time
from pathlib import Path
from typing import TypeVar

from lora_core.errors import Conflict, Forbidden, NotAllowed, SignedOut, StudioError
from lora_core.schema.base import utc_now
from lora_core.schema.job import Outcome
from lora_core.schema.runner import Claim, RunnerInfo, Task
from lora_core.settings import Settings
from lora_core.store.base import RunnerPort, TaskPort
from runner.attempt import AttemptRun, Stage
from runner.cadence import NEAR, Cadence
from runner.calls import Backoff, Call
from runner.clocks import SYSTEM, Clocks, GapWatch
from runner.dispatch import Dispatcher
from runner.handing_back import HandBack
from runner.run_folders import UNKNOWN, Origin, origin_of, prune_runs, untended
from runner.tasks import TaskRun, clear_stale_tasks

log = logging.getLogger(__name__)

T = TypeVar("T")

TASK_SLOTS = 2
LAST_CALLS_SECONDS = 60.0
"""After the grace for saving, time for the last uploads."""

LAST_MESSAGES_SECONDS = 30.0
"""For notifications about what ended last; what is not sent then is sent by the next runner."""

REFUSALS = (SignedOut, Forbidden, Conflict, NotAllowed)
REFUSED_SECONDS = 60.0
"""Pause after the store has refused the runner itself: that does not pass by itself."""

ADOPT_SECONDS = 5.0
"""Pause between looks for attempts whose agent on this machine has died: sooner than their lease runs out."""

SETTLE_SECONDS = 10.0
"""After a sleep of the machine, or a jump of its clock, nothing is claimed for so long: leases may look older than they are,
and every agent of this machine has to renew its own before one of them gives back what ran out."""

KEEP_ENDED_RUNS = 10
"""Run folders of failed attempts kept on this machine for a look inside; older ones are removed."""


class Agent:
    """The runner of one machine. `run` blocks; `stop` may be called from a signal handler or another thread.

    Args:
        settings: Folders and times.
        jobs: The store's side of jobs.
        tasks: The store's side of tasks; None for a runner that does none.
        info: This machine and the runner's identity; jobs are claimed if `train` is among its roles.
        slots: Training jobs at a time.
        once: End when there is nothing (more) to do, or nothing may be done.
        cadence: How often the store is called.
        dispatcher: What sends notifications; None for a runner that sends none.
        clocks: What time it is.
        here: Which machine this is, and since when it is up.

    Attributes:
        outcome: How the last attempt ended.
        refusal: Why the store does not let this runner work, as last heard; empty if it does.
    """

    def __init__(
        self,
        settings: Settings,
        jobs: RunnerPort,
        tasks: TaskPort | None,
        info: RunnerInfo,
        *,
        slots: int = 1,
        once: bool = False,
        cadence: Cadence = NEAR,
        dispatcher: Dispatcher | None = None,
        clocks: Clocks = SYSTEM,
        here: Origin = UNKNOWN,
    ) -> None:
        self._settings = settings
        self._jobs = jobs
        self._tasks = tasks
        self.info = info.model_copy(update={"slots": slots})
        self._slots = slots
        self._once = once
        self._cadence = cadence
        self._dispatcher = dispatcher
        self._clocks = clocks
        self._here = here
        self._gaps = GapWatch(clocks)
        self._settle_until = 0.0
        self._adopt_at = 0.0
        self._left_alone: set[Path] = set()
        self.outcome: Outcome | None = None
        self.refusal = ""
        self._threads = max(1, info.cpus // slots)
        self._waking = threading.Event()
        wake = self._waking.set
        self._hand_back = HandBack(settings, jobs, wake)
        self._announcing: Call[None] = Call(wake)
        self._claiming: Call[Claim | None] = Call(wake)
        self._claiming_task: Call[Task | None] = Call(wake)
        self._backoff = Backoff()
        self._refused = Backoff(first_seconds=REFUSED_SECONDS, longest_seconds=REFUSED_SECONDS)
        self._announce_refusal = ""
        self._announce_at = 0.0
        self._claim_at = 0.0
        self._stops = 0
        self._stopping_since = 0.0
        self._nothing_found = 0
        self.runs: list[AttemptRun] = []
        self.task_runs: list[TaskRun] = []

    def run(self) -> None:
        """Work until stopped (or, with `once`, until nothing is left), then let go of everything."""
        self.take_up()
        while not self._finished():
            self._waking.wait(self._settings.poll_seconds)
            self._waking.clear()
            self.tick()
        self._send_last()
        log.info("stopped")

    def stop(self) -> None:
        """Let go of the jobs, saving them; called again, at once."""
        self._stops += 1
        self._waking.set()

    def take_up(self) -> None:
        """Go on with attempts that an earlier agent of this machine left behind, trainers alive or not."""
        prune_runs(self._settings.runs, KEEP_ENDED_RUNS)
        clear_stale_tasks(self._settings)
        if "train" in self.info.roles:
            self._adopt()

    def _adopt(self) -> None:
        """Take up what no living agent of this machine tends. Each folder is locked by the agent at work in it."""
        self._adopt_at = self._clocks.awake() + ADOPT_SECONDS
        ours = {run.root for run in self.runs} | self._left_alone
        for folder, claim in untended(self._settings.runs, ours):
            try:
                if origin_of(folder).is_elsewhere(self._here):
                    raise Conflict("its folder was copied from another machine")
                self._jobs.take_up(claim)
            except Conflict as error:
                log.info("job %s is left alone: %s", claim.job.id[:8], error)
                self._left_alone.add(folder)
                continue
            self._begin(claim, folder, earlier=True)

    def tick(self) -> None:
        """One turn: tend, announce, claim."""
        self._notice_gap()
        if self._stops:
            self._stop_working()
        for run in self.runs:
            run.tick()
        for task_run in self.task_runs:
            task_run.tick()
        self._sweep()
        self._take_claims()
        self._announce()
        if self._dispatcher is not None:
            self._dispatcher.tick()
        if not self._stops:
            if "train" in self.info.roles and self._clocks.awake() >= self._adopt_at:
                self._adopt()
            self._look_for_work()

    def _notice_gap(self) -> None:
        gap = self._gaps.look()
        if gap is None:
            return
        log.warning("%s", gap)
        self._settle_until = self._clocks.awake() + SETTLE_SECONDS
        for run in self.runs:
            run.note(str(gap))

    # Claims

    def _look_for_work(self) -> None:
        now = time.monotonic()
        if now < self._claim_at or not self._backoff.ready or not self._refused.ready:
            return
        self._claim_at = now + max(self._settings.poll_seconds, self._cadence.claim_seconds)
        state, lease, tasks = self._state(), self._settings.lease_seconds, self._tasks
        free = "train" in self.info.roles and len(self.runs) < self._slots
        if free and not self._claiming.busy and self._is_settled():
            self._claiming.start(lambda: self._claim(state, lease))
        if tasks is not None and len(self.task_runs) < TASK_SLOTS and not self._claiming_task.busy:
            self._claiming_task.start(lambda: tasks.claim_task(state, lease_seconds=lease))

    def _claim(self, state: RunnerInfo, lease_seconds: float) -> Claim | None:
        """Look again before asking: the machine may have fallen asleep on the way here."""
        return None if self._gaps.peek() else self._jobs.claim(state, lease_seconds=lease_seconds)

    def _is_settled(self) -> bool:
        return self._clocks.awake() >= self._settle_until and all(run.is_settled for run in self.runs)

    def _take_claims(self) -> None:
        if self._claiming.answered:
            claim = self._answer(self._claiming)
            if claim is not None:
                self._begin(claim, self._settings.runs / claim.job.id / str(claim.attempt))
        if self._claiming_task.answered:
            task = self._answer(self._claiming_task)
            if task is not None and self._tasks is not None:
                log.info("task %s: %s", task.id[:8], task.kind.value)
                self._begin_task(self._tasks, task)

    def _begin_task(self, port: TaskPort, task: Task) -> None:
        try:
            run = TaskRun(self._settings, port, task, self._waking.set, self._cadence)
        except OSError as error:  # a full disk
            log.error("task %s cannot be begun and is left to its lease: %s", task.id[:8], error)
            self._backoff.failed()
            return
        self.task_runs.append(run)

    def _answer(self, call: Call[T | None]) -> T | None:
        try:
            answer = call.take()
        except REFUSALS as error:
            if str(error) != self.refusal:
                log.error("the store refuses this runner: %s", error)
            self.refusal = str(error)
            self._refused.failed()
            return None
        except StudioError as error:
            if self._backoff.failures == 0:
                log.warning("the store does not answer: %s", error)
            self._backoff.failed()
            return None
        except Exception:
            log.exception("looking for work failed")
            self._backoff.failed()
            return None
        self._backoff.worked()
        self._refused.worked()
        self.refusal = ""
        if answer is None:
            self._nothing_found += 1
        else:  # there may be more
            self._claim_at, self._nothing_found = 0.0, 0
        return answer

    def _begin(self, claim: Claim, root: Path, *, earlier: bool = False) -> None:
        try:
            run = AttemptRun(
                self._settings,
                self._jobs,
                claim,
                root,
                earlier=earlier,
                threads=self._threads,
                wake=self._waking.set,
                cadence=self._cadence,
                clocks=self._clocks,
                here=self._here,
            )
        except Conflict:
            return  # another agent of this machine is at work in that folder
        except Exception as error:  # a damaged folder, a full disk
            log.exception("job %s attempt %d cannot be begun in %s", claim.job.id[:8], claim.attempt, root)
            self._left_alone.add(root)
            self._hand_back.begin(claim, root, error)
            return
        log.info("%s: %s (%s)", run, "taken up again" if earlier else "claimed", claim.job.name)
        self.runs.append(run)
        if self._stops:
            run.release()

    # Housekeeping

    def _announce(self) -> None:
        if self._announcing.answered:
            try:
                self._announcing.take()
            except REFUSALS as error:
                if str(error) != self._announce_refusal:
                    log.warning("this runner cannot make itself known: %s", error)
                self._announce_refusal = str(error)
            except Exception as error:  # a sign of life that is missed ends no runner
                log.debug("could not announce: %s", error)
        now = time.monotonic()
        if now >= self._announce_at and not self._announcing.busy:
            self._announce_at = now + self._cadence.announce_seconds
            state = self._state()
            self._announcing.start(lambda: self._jobs.announce(state))

    def _state(self) -> RunnerInfo:
        state = (
            "stopping" if self._stops else "training" if self.runs else "busy" if self.task_runs else "idle"
        )
        return self.info.model_copy(update={"state": state, "seen_at": utc_now()})

    def _sweep(self) -> None:
        over = [run for run in self.runs if run.stage is Stage.OVER]
        if over:
            self.outcome = over[-1].outcome
            self.runs = [run for run in self.runs if run.stage is not Stage.OVER]
            prune_runs(self._settings.runs, KEEP_ENDED_RUNS)
            self._claim_at, self._nothing_found = 0.0, 0
        self._hand_back.tick()
        self.task_runs = [task_run for task_run in self.task_runs if not task_run.over]

    def _stop_working(self) -> None:
        """Release once; at the second signal, or long after the first, end everything at once."""
        now = time.monotonic()
        if not self._stopping_since:
            self._stopping_since = now
            log.info("stopping: jobs are saved and released (press Ctrl-C again to stop at once)")
            for task_run in self.task_runs:
                task_run.stop()
        for run in self.runs:
            run.release()
        if (
            self._stops > 1
            or now - self._stopping_since > self._settings.release_grace_seconds + LAST_CALLS_SECONDS
        ):
            for run in self.runs:
                log.warning("%s: left as it is; it goes on at the next start", run)
                run.abandon()
            self.runs = []

    def _send_last(self) -> None:
        """Tell how the last jobs ended before going, if that is a matter of seconds. A second Ctrl-C does not wait."""
        if self._dispatcher is None:
            return
        until = time.monotonic() + LAST_MESSAGES_SECONDS
        while not self._dispatcher.last_turn() and self._stops < 2 and time.monotonic() < until:
            self._waking.wait(0.1)
        self._dispatcher.stop()

    def _finished(self) -> bool:
        busy = (
            self.runs
            or self.task_runs
            or self._hand_back.busy
            or self._claiming.busy
            or self._claiming_task.busy
        )
        if self._stops > 1:
            return not self.runs
        if self._once and self.refusal and not self.runs and not self.task_runs:
            return True
        return not busy and (self._stops > 0 or (self._once and self._nothing_found >= 2))
