"""The life of one attempt, from claim to end, as a state machine that an agent drives by ticks. No tick ever waits.

FETCHING (data, checkpoint, base model come here) -> TRAINING (the child computes) -> STORING (adapter, metrics and
logs go to the store) -> CLOSING (the tail is shipped, the outcome told) -> OVER. A cancelled job tells its outcome
first and stores after; an attempt that has lost its job delivers what it can and tells no outcome.
"""

import logging
import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Any

from lora_core.errors import Conflict, StudioError
from lora_core.schema.artifact import ArtifactKind
from lora_core.schema.base import new_id
from lora_core.schema.job import EndOfAttempt, Outcome, RequestedAction
from lora_core.schema.metrics import MetricKind
from lora_core.schema.run import EventKind, Request, RunEvent, RunSpec
from lora_core.schema.runner import Claim, Directive
from lora_core.settings import Settings
from lora_core.store.base import RunnerPort
from runner.cadence import NEAR, Cadence
from runner.fetching import Fetching, Inputs
from runner.journal import Journal
from runner.keepsakes import gather_logs, write_metrics
from runner.machine import lock
from runner.outcome import Ending, KilledFor, judge
from runner.processes import Child, child_environment, python_command
from runner.run_folder import RunFolder, write_atomically
from runner.scripted.script import read_script
from runner.smaller import difference, retry_of
from runner.store_line import StoreLine
from runner.uploads import Uploads

log = logging.getLogger(__name__)

CANCEL_GRACE_SECONDS = 1.5
FIRST_STEP_FACTOR = 3
"""A trainer may take this many times the stall limit until its first step: loading, compiling, tokenising."""

TROUBLE_LIMIT = 20
"""Ticks in a row that may fail for a reason nobody foresaw before the attempt is given up."""

OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}


class Stage(StrEnum):
    """Where an attempt stands."""

    FETCHING = "fetching"
    TRAINING = "training"
    STORING = "storing"
    CLOSING = "closing"
    OVER = "over"


MAKE_TRIES = 20
"""How often a run folder is made anew where another agent removes its parent at the same moment."""


class AttemptRun:
    """One attempt of one job on this machine. Not thread-safe: one loop ticks it.

    A crash of the agent loses nothing: the next agent makes an AttemptRun of the same folder and goes on.

    Args:
        settings: Folders, times and the kind of trainer.
        port: The store.
        claim: What the store handed out.
        root: The attempt's run folder; what an earlier agent left in it is taken up.
        threads: CPU threads the trainer may use.
        wake: Called when a call to the store has ended.
        cadence: How often the store is called.

    Raises:
        Conflict: Another agent is at work in the folder.
    """

    def __init__(
        self,
        settings: Settings,
        port: RunnerPort,
        claim: Claim,
        root: Path,
        *,
        threads: int | None = None,
        wake: Callable[[], None] = lambda: None,
        cadence: Cadence = NEAR,
    ) -> None:
        _make_folder(root)
        self._hold = (root / "agent.lock").open("a")
        if not lock(self._hold):
            self._hold.close()
            raise Conflict(f"Another runner is at work in {root}.")
        self.claim = claim
        self.stage = Stage.FETCHING
        self._settings = settings
        self._port = port
        self._threads = threads
        self._wake = wake
        self._folder = RunFolder(root)
        _remember(claim, root)
        self._journal = Journal(self._folder)
        self._uploads = Uploads(port, claim.job, claim.attempt, self._folder, wake)
        self._line = StoreLine(
            port, claim.job.id, claim.attempt, self._journal, settings.lease_seconds, wake, cadence
        )
        self._fetching: Fetching | None = None
        self._child: Child | None = None
        self._orphaned = False
        self._end: EndOfAttempt | None = None
        self._fenced = False
        self._trouble = 0
        self._request: Directive = Directive()
        self._echoed: set[str] = set()
        self._releasing = False
        self._killed_for: KilledFor = ""
        self._kill_at: float | None = None
        self._phase: dict[str, Any] = {}
        self._stepped = False
        self._progressed_at = time.monotonic()
        self._stall_told = False
        self._result: dict[str, Any] = {}
        self._error = ""
        self._take_up()

    def __str__(self) -> str:
        return f"job {self.claim.job.id[:8]} attempt {self.claim.attempt}"

    @property
    def outcome(self) -> Outcome | None:
        """How it ended; None while it lasts."""
        if self._fenced:
            return Outcome.LOST
        return self._end.outcome if self._end else None

    def lease_age(self, now: float) -> float:
        """Seconds since the lease was last renewed, by the wall clock; 0 once no lease is wanted any more."""
        wanted = self.stage is not Stage.OVER and not self._line.told and not self._fenced
        return now - self._line.renewed_at.timestamp() if wanted else 0.0

    def tick(self) -> None:
        """Go on as far as possible without waiting. A fault nobody foresaw ends the attempt after a while, not the agent."""
        try:
            self._tick()
            self._trouble = 0
        except Exception as error:
            self._trouble += 1
            log.exception("%s: trouble while %s", self, self.stage.value)
            if self._trouble >= TROUBLE_LIMIT:
                self._trouble = 0
                self._give_up(f"The runner could not go on: {type(error).__name__}: {error}")

    def release(self) -> None:
        """Let go of the job because the runner shuts down: the trainer saves, and the job is queued again."""
        if self._releasing or self.stage not in (Stage.FETCHING, Stage.TRAINING):
            return
        self._releasing = True
        if self.stage is Stage.FETCHING:
            self._finish(EndOfAttempt(outcome=Outcome.RELEASED, reason="The runner was shut down."))
            return
        self._journal.log("The runner shuts down: the trainer is asked to save and stop.")
        if self._request.requested_action in (None, RequestedAction.CHECKPOINT):
            self._folder.write_request(Request(id=new_id(), action="release"))
        if self._kill_at is None:
            self._kill_within(self._settings.release_grace_seconds, "release")

    def abandon(self) -> None:
        """End trainer and children at once and let go. The folder stays as it is; a later agent takes it up."""
        self._kill()
        self._journal.close()
        self._hold.close()

    def _kill(self) -> None:
        if self._child is not None:
            self._child.kill()
        if self._fetching is not None:
            self._fetching.stop()
            self._fetching = None

    # Stages

    def _tick(self) -> None:
        if self.stage is Stage.FETCHING:
            self._fetch()
        elif self.stage is Stage.TRAINING:
            self._watch()
        elif self.stage is Stage.STORING:
            self._wait_until_stored()
        self._uploads.tick()
        while self._uploads.news:
            self._journal.log(self._uploads.news.pop(0))
        self._line.tick(
            renew=not self._line.told and not self._fenced,
            end=self._end if self.stage is Stage.CLOSING and not self._fenced else None,
        )
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
            self._fail("Could not be prepared.", str(error))
            return
        if inputs is not None:
            self._start_trainer(inputs)
            return
        share, message = self._fetching.progress()
        self._say_phase(name="fetching", progress=round(share, 2), message=message)
        if self._stalled():
            self._fail(
                "Fetching stalled.",
                f"Nothing arrived for {self._stall_seconds:g} seconds ({message})",
            )

    def _start_trainer(self, inputs: Inputs) -> None:
        job, scripted = self.claim.job, self._settings.trainer == "scripted"
        spec = RunSpec(
            job_id=job.id,
            job_name=job.name,
            attempt=self.claim.attempt,
            config=job.config,
            model_path=str(inputs.model_path),
            model_reference=job.config.model.base,
            train=inputs.train,
            validation=inputs.validation,
            resume_from=str(inputs.resume_from) if inputs.resume_from else None,
            threads=self._threads,
            script=read_script(self._settings.script) if scripted else None,
        )
        self._launch(spec)

    def _launch(self, spec: RunSpec) -> None:
        root, scripted = self._folder.root, spec.script is not None
        self._folder.spec_file.unlink(missing_ok=True)
        RunFolder.create(root, spec)
        self._say_phase(name="starting", message="Starting the trainer.")
        self._child = Child.start(
            python_command("runner.scripted" if scripted else "runner.train", str(root)),
            root,
            self._folder.log_file,
            child_environment({**OFFLINE, "TOKENIZERS_PARALLELISM": "false"}),
        )
        self._fetching = None
        self.stage = Stage.TRAINING
        log.info("%s: trainer started as process %d", self, self._child.process_id)

    def _start_smaller(self, code: int | None) -> bool:
        """Start a trainer that ran out of memory once more with a smaller micro-batch, from its newest checkpoint.

        Returns:
            Whether it was started.
        """
        if self._killed_for or self._releasing or self._request.requested_action is not None:
            return False
        spec = self._folder.spec()
        config = retry_of(code, spec.config, self.claim.job.config)
        if config is None:
            return False
        said = f"{self._error} Trying once more: {difference(spec.config, config)}."
        self._journal.say(EventKind.ALERT, rule="out_of_memory", message=said, action="retry")
        newest = max(self._folder.checkpoints.glob("step-??????"), default=None)
        resume_from = str(newest) if newest else spec.resume_from
        self._result, self._error, self._stepped = {}, "", False
        self._launch(spec.model_copy(update={"config": config, "resume_from": resume_from}))
        return True

    def _watch(self) -> None:
        """Follow the trainer; when it has ended, judge how."""
        assert self._child is not None
        alive = self._child.alive()
        self._observe(self._journal.collect())
        if not alive:
            self._child.kill()
            self._collect_rest()
            code = self._child.exit_code()
            if not self._start_smaller(code):
                self._finish(self._judge(code))
        elif self._kill_at is not None and time.monotonic() >= self._kill_at:
            self._kill_at = None
            self._journal.log("The trainer did not stop by itself and was killed.", "warning")
            self._child.kill()
        elif self._stalled():
            self._act_on_stall()

    def _act_on_stall(self) -> None:
        assert self._child is not None
        if self.claim.job.config.alerts.stall.action == "notify":
            if not self._stall_told:
                self._stall_told = True
                said = f"There was no progress for {self._stall_seconds:g} seconds."
                self._journal.say(EventKind.ALERT, rule="stall", message=said, action="notify")
            return
        self._killed_for = "stall"
        self._moved()
        self._journal.log("The trainer made no progress and was killed.", "error")
        self._child.kill()

    def _wait_until_stored(self) -> None:
        if not self._uploads.idle:
            return
        assert self._end is not None
        if self._end.outcome is Outcome.COMPLETED and not self._uploads.has_stored("adapter"):
            why = " ".join(self._uploads.failed)
            error = f"{why} It is kept on the runner's machine in {self._folder.adapter}."
            self._end = EndOfAttempt(
                outcome=Outcome.FAILED, reason="The adapter could not be stored.", error=error
            )
            self._journal.log(error, "error")
        self.stage = Stage.CLOSING
        self._line.hurry()

    def _finish(self, end: EndOfAttempt) -> None:
        """The computing is over: queue what is to be kept, and close."""
        log.info("%s: %s. %s", self, end.outcome.value, end.error or end.reason)
        if self._fetching is not None:
            self._fetching.stop()
            self._fetching = None
        self._echo(self._request)
        self._end = end
        level = "error" if end.outcome is Outcome.FAILED else "info"
        self._journal.log(f"{end.outcome.value.capitalize()}. {end.error or end.reason}".strip(), level)
        if self._child is not None:
            self._say_phase(name="uploading", message="Storing what the job made.")
            self._queue_keepsakes(end)
        self.stage = Stage.CLOSING if end.outcome is Outcome.CANCELLED else Stage.STORING
        self._line.hurry()

    def _queue_keepsakes(self, end: EndOfAttempt) -> None:
        if end.outcome is Outcome.COMPLETED:
            step = self._result.get("best_step") or self._result.get("step")
            self._uploads.put(ArtifactKind.ADAPTER, "adapter", lambda: self._folder.adapter, step=step)
        self._uploads.put(ArtifactKind.METRICS, "metrics", lambda: write_metrics(self._folder))
        self._uploads.put(ArtifactKind.LOGS, "logs", lambda: gather_logs(self._folder))

    def _fail(self, reason: str, error: str) -> None:
        self._finish(EndOfAttempt(outcome=Outcome.FAILED, reason=reason, error=error))

    def _give_up(self, error: str) -> None:
        """Last resort; if even closing does not work, the lease runs out and another runner goes on."""
        self._kill()
        if self._end is None:
            self._end = EndOfAttempt(outcome=Outcome.FAILED, reason="The runner failed.", error=error)
            self.stage = Stage.CLOSING
        else:
            self._leave(keep=True)

    def _fence(self, why: str) -> None:
        """Somebody else owns the job, or it has ended: end our trainer, then deliver what may still be delivered."""
        log.warning("%s: lost (%s); ending the trainer and leaving the job alone", self, why)
        self._fenced = True
        self._kill()
        if self._child is not None:
            self._collect_rest()
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
        root = self._folder.root
        if keep:
            write_atomically(root / "ended", str(self.outcome or "").encode())
            _remember(self.claim.model_copy(update={"job_token": ""}), root)  # it has no use any more
        else:
            shutil.rmtree(root, ignore_errors=True)
        self._hold.close()

    # What the person wants

    def _obey(self, directive: Directive) -> None:
        action = directive.requested_action
        if action is None or directive == self._request:
            return
        self._request = directive
        log.info("%s: asked to %s", self, action.value)
        if self.stage is Stage.FETCHING:
            if action is not RequestedAction.CHECKPOINT:
                outcome = Outcome.CANCELLED if action is RequestedAction.CANCEL else Outcome.PAUSED
                self._finish(
                    EndOfAttempt(outcome=outcome, reason=f"{outcome.value.capitalize()} before it began.")
                )
        elif self.stage is Stage.TRAINING and self._child is not None:
            self._folder.write_request(Request(id=directive.request_id or new_id(), action=action.value))
            if action is RequestedAction.CANCEL:
                self._child.terminate()
                self._kill_within(CANCEL_GRACE_SECONDS, "cancel")

    def _echo(self, request: Directive) -> None:
        """Acknowledge a request in the place of a trainer that could not."""
        if request.requested_action is not None and request.request_id not in self._echoed:
            self._echoed.add(request.request_id)
            self._journal.say(
                EventKind.PHASE, name="request", id=request.request_id, action=request.requested_action.value
            )

    def _kill_within(self, seconds: float, why: KilledFor) -> None:
        self._killed_for = why
        self._kill_at = time.monotonic() + seconds

    # What the trainer says

    def _observe(self, events: list[RunEvent]) -> None:
        for event in events:
            data = event.data
            if event.kind is EventKind.PHASE and data.get("name") == "request":
                self._echoed.add(str(data.get("id", "")))
            elif event.kind is EventKind.PHASE:
                if data != self._phase:
                    self._moved()
                self._phase = data
            elif event.kind is EventKind.METRICS and data.get("kind") != MetricKind.SYSTEM:
                self._stepped = True
                self._moved()
            elif event.kind is EventKind.CHECKPOINT:
                self._moved()
                self._mirror_checkpoint(data)
            elif event.kind is EventKind.SAMPLE:
                self._moved()
            elif event.kind is EventKind.RESULT:
                self._result = data
                self._error = str(data.get("error") or self._error)
            elif event.kind is EventKind.LOG and data.get("level") == "error":
                self._error = str(data.get("text") or self._error)

    def _mirror_checkpoint(self, data: dict[str, Any]) -> None:
        if not data.get("dropped"):
            path = (self._folder.root / str(data.get("path", ""))).resolve()
            if not path.is_relative_to(self._folder.root.resolve()):
                self._journal.log(
                    f"A checkpoint outside of the run folder was passed over: {path}", "warning"
                )
                return
            self._uploads.put_checkpoint(
                path, int(data.get("step", 0)), best=bool(data.get("best")), eval_loss=data.get("eval_loss")
            )
        self._uploads.drop_rotated()

    def _collect_rest(self) -> None:
        """Copy the whole tail of an ended trainer."""
        while events := self._journal.collect(last=True):
            self._observe(events)

    def _say_phase(self, **phase: Any) -> None:
        """Tell a phase of the agent's own if it is news; news are progress."""
        if phase != self._phase:
            self._phase = phase
            self._journal.say(EventKind.PHASE, **phase)
            self._moved()

    def _moved(self) -> None:
        self._progressed_at = time.monotonic()
        self._stall_told = False

    def _stalled(self) -> bool:
        factor = 1 if self._stepped or self.stage is Stage.FETCHING else FIRST_STEP_FACTOR
        return time.monotonic() - self._progressed_at > self._stall_seconds * factor

    @property
    def _stall_seconds(self) -> float:
        """The limit of the machine's owner where one is set, else the job's own."""
        if "stall_seconds" in self._settings.model_fields_set:
            return self._settings.stall_seconds
        return self.claim.job.config.alerts.stall.minutes * 60

    def _judge(self, code: int | None) -> EndOfAttempt:
        return judge(
            Ending(
                code=code,
                requested=self._request.requested_action,
                killed_for=self._killed_for,
                orphaned=self._orphaned,
                result=self._result,
                error=self._error,
                has_adapter=self._folder.adapter.is_dir(),
                log_file=self._folder.log_file,
                stall_seconds=self._stall_seconds,
                stall_pauses=self.claim.job.config.alerts.stall.action == "pause",
            )
        )

    # After another agent

    def _take_up(self) -> None:
        """Find out how far an earlier agent came. A trainer that lives is followed on; one that ended is judged."""
        self._child = Child.find(self._folder.root)
        if self._child is None:
            return
        self.stage = Stage.TRAINING
        self._orphaned = not self._child.alive()
        for event in self._journal.replay():
            self._observe([event])
        self._moved()
        self._journal.log("A new runner process took up this attempt.")


def _remember(claim: Claim, root: Path) -> None:
    """Keep the claim for the next agent. Nobody else may read it: in a team it holds the job's token."""
    write_atomically(root / "claim.json", claim.model_dump_json().encode(), private=True)


def recall(root: Path) -> Claim | None:
    """Return the claim of a run folder whose attempt has not ended; None if there is nothing to take up."""
    if (root / "ended").exists():
        return None
    try:
        return Claim.model_validate_json((root / "claim.json").read_bytes())
    except (FileNotFoundError, ValueError):
        return None


def run_folders(runs: Path) -> list[Path]:
    """Return the folders of all attempts on this machine. Other agents tidy up there: what goes meanwhile is left out."""
    return [attempt for job in _folders(runs) for attempt in _folders(job)]


def prune_runs(runs: Path, keep: int) -> None:
    """Remove folders of ended attempts but the newest `keep`, and empty folders of jobs."""
    ended: list[tuple[float, Path]] = []
    for folder in run_folders(runs):
        with suppress(FileNotFoundError):
            ended.append(((folder / "ended").stat().st_mtime, folder))
    for _, folder in sorted(ended, reverse=True)[keep:]:
        shutil.rmtree(folder, ignore_errors=True)
    for folder in _folders(runs):
        with suppress(OSError):  # not empty, or gone
            folder.rmdir()


def _folders(parent: Path) -> list[Path]:
    try:
        with os.scandir(parent) as entries:
            return sorted(Path(entry.path) for entry in entries if entry.is_dir())
    except FileNotFoundError:
        return []


def _make_folder(root: Path) -> None:
    """Make a run folder, though another agent may just be removing its empty parent."""
    for _ in range(MAKE_TRIES):
        with suppress(FileNotFoundError):
            root.mkdir(parents=True, exist_ok=True)
            return
    root.mkdir(parents=True, exist_ok=True)
