"""What a trainer says, and when it last made progress. Decides nothing; knows no store and no process."""

import time
from collections.abc import Callable
from typing import Any

from lora_core.schema.metrics import MetricKind
from lora_core.schema.run import EventKind, RunEvent
from runner.journal import Journal
from runner.run_folder import RunFolder
from runner.uploads import Uploads


class Watch:
    """One attempt's trainer, as its events show it. Checkpoints it tells of are handed on to be stored.

    Args:
        folder: The run folder.
        journal: Where its events are copied to.
        uploads: What stores its checkpoints.
        clock: Seconds that stand still while the machine sleeps: a trainer that slept too has not stalled.

    Attributes:
        phase: The newest phase.
        stepped: Whether it has made a step.
        result: Data of its result event.
        error: Its last error.
        echoed: Ids of the requests it has acknowledged.
        progressed_at: When it last made progress, by the clock.
    """

    def __init__(
        self,
        folder: RunFolder,
        journal: Journal,
        uploads: Uploads,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.phase: dict[str, Any] = {}
        self.stepped = False
        self.result: dict[str, Any] = {}
        self.error = ""
        self.echoed: set[str] = set()
        self._folder = folder
        self._journal = journal
        self._uploads = uploads
        self._clock = clock
        self.progressed_at = clock()

    def collect(self) -> None:
        """Take what it has said since."""
        self._observe(self._journal.collect())

    def collect_rest(self) -> None:
        """Take the whole tail of a trainer that has ended."""
        while events := self._journal.collect(last=True):
            self._observe(events)

    def replay(self) -> None:
        """Take what an earlier agent has heard."""
        for event in self._journal.replay():
            self._observe([event])
        self.moved()

    def begin_anew(self) -> None:
        """Forget how the last trainer ended: another one starts."""
        self.result, self.error, self.stepped = {}, "", False

    def say_phase(self, **phase: Any) -> None:
        """Tell a phase of the agent's own if it is news; news are progress."""
        if phase != self.phase:
            self.phase = phase
            self._journal.say(EventKind.PHASE, **phase)
            self.moved()

    def moved(self) -> None:
        """Count this moment as progress."""
        self.progressed_at = self._clock()

    def idle_seconds(self) -> float:
        """Return for how long there was no progress, in seconds."""
        return self._clock() - self.progressed_at

    def _observe(self, events: list[RunEvent]) -> None:
        for event in events:
            data = event.data
            if event.kind is EventKind.PHASE and data.get("name") == "request":
                self.echoed.add(str(data.get("id", "")))
            elif event.kind is EventKind.PHASE:
                if data != self.phase:
                    self.moved()
                self.phase = data
            elif event.kind is EventKind.METRICS and data.get("kind") != MetricKind.SYSTEM:
                self.stepped = True
                self.moved()
            elif event.kind is EventKind.CHECKPOINT:
                self.moved()
                self._mirror_checkpoint(data)
            elif event.kind is EventKind.SAMPLE:
                self.moved()
            elif event.kind is EventKind.RESULT:
                self.result = data
                self.error = str(data.get("error") or self.error)
            elif event.kind is EventKind.LOG and data.get("level") == "error":
                self.error = str(data.get("text") or self.error)

    def _mirror_checkpoint(self, data: dict[str, Any]) -> None:
        if not data.get("dropped"):
            path = (self._folder.root / str(data.get("path", ""))).resolve()
            if not path.is_relative_to(self._folder.root.resolve()):
                self._journal.log(
                    f"A checkpoint outside of the run folder was passed over: {path}", "warning"
                )
                return
            self._uploads.put_checkpoint(
                path,
                int(data.get("step", 0)),
                best=bool(data.get("best")),
                eval_loss=data.get("eval_loss"),
                after=self._journal.size,
            )
        self._uploads.drop_rotated()
