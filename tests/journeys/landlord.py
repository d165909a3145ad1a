"""Rents a machine for every queued job of one person, as a placement service does. Knows a workspace and how to start one."""

import threading
from collections.abc import Callable

from lora_core.actions import jobs
from lora_core.actions.handout import Handout, hand_out_job
from lora_core.actions.workspace import Workspace
from lora_core.errors import NotAllowed, NotFound, Unavailable
from lora_core.schema.job import JobFilter, JobStatus

LOOK_SECONDS = 0.3
QUEUED = JobFilter(statuses=(JobStatus.QUEUED,))


class Landlord(threading.Thread):
    """Looks into the queue until stopped.

    Attributes:
        complaints: What went wrong, for the stage to raise at its end.
    """

    def __init__(self, workspace: Workspace, start: Callable[[Handout], None]) -> None:
        super().__init__(name="landlord", daemon=True)
        self.complaints: list[str] = []
        self._workspace = workspace
        self._start_machine = start
        self._stopped = threading.Event()

    def run(self) -> None:
        """Hand out what waits."""
        while not self._stopped.wait(LOOK_SECONDS):
            try:
                for job in jobs.list_jobs(self._workspace, QUEUED).items:
                    self._start_machine(hand_out_job(self._workspace, job.id))
            except (NotAllowed, NotFound, Unavailable):
                continue  # cancelled in between, or the project is away
            except Exception as error:
                self.complaints.append(repr(error))
                return

    def stop(self) -> None:
        """Rent no more."""
        self._stopped.set()
        self.join(30)
