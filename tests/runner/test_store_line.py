"""The line to a store that is away for an hour: few calls, nothing lost, and back within a minute. No time is waited."""

from collections.abc import Sequence
from pathlib import Path

from lora_core.errors import DiskFull, StoreError, Unavailable
from lora_core.schema.job import EndOfAttempt, Outcome
from lora_core.schema.run import RunEvent
from lora_core.schema.runner import Directive
from runner.journal import Journal
from runner.run_folder import RunFolder
from runner.store_line import StoreLine
from tests.runner.agent.bench import Machine, wait_until

END = EndOfAttempt(outcome=Outcome.COMPLETED)


class Store:
    """As much of a RunnerPort as a line needs; `away` is what it raises."""

    def __init__(self) -> None:
        self.away: StoreError | None = None
        self.calls = self.renewals = 0
        self.seqs: list[int] = []
        self.ended: list[EndOfAttempt] = []

    def renew(self, job_id: str, attempt: int, *, lease_seconds: float) -> Directive:
        self.renewals += 1
        self._call()
        return Directive()

    def ship(self, job_id: str, attempt: int, events: Sequence[RunEvent]) -> None:
        self._call()
        self.seqs += [event.seq for event in events]

    def end(self, job_id: str, attempt: int, end: EndOfAttempt) -> None:
        self._call()
        self.ended.append(end)

    def _call(self) -> None:
        self.calls += 1
        if self.away is not None:
            raise self.away


class Rig:
    """A line whose time a test lets pass."""

    def __init__(self, root: Path) -> None:
        self.machine = Machine()
        self.store = Store()
        self.journal = Journal(RunFolder(root))
        self.woken = 0
        clocks = self.machine.clocks
        self.line = StoreLine(self.store, "job", 1, self.journal, 30.0, self._wake, clocks=clocks)  # type: ignore[arg-type]

    def _wake(self) -> None:
        self.woken += 1

    def live(self, seconds: int, end: EndOfAttempt | None = None) -> None:
        """Let time pass, a tick a second; every call is answered before the next tick."""
        for _ in range(seconds):
            self.machine.wait(1)
            self.line.tick(renew=not self.line.told, end=end)
            wait_until(lambda: self.woken == self.store.calls, "the answer")


def test_an_hour_away_costs_a_call_every_few_seconds_and_no_event(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.live(3)
    rig.store.away = Unavailable("It is away.")
    before = rig.store.calls
    for number in range(60):
        rig.journal.log(f"minute {number}")
        rig.live(60)
    assert rig.store.calls - before < 800
    assert rig.line.lease_age() > 3500
    rig.store.away = None
    rig.live(15)
    assert rig.line.lease_age() < 5
    assert rig.store.seqs == list(range(1, 61))
    rig.live(5, END)
    assert rig.store.ended == [END]
    assert rig.line.refusals == 0


def test_a_store_whose_disk_is_full_is_away_and_costs_no_event(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.journal.log("one")
    rig.store.away = DiskFull("No space.")
    rig.live(600, END)
    rig.store.away = None
    rig.live(60, END)
    assert (rig.store.seqs, rig.store.ended) == ([1], [END])


def test_a_lease_is_as_old_as_the_call_that_renewed_it_and_a_sleep_counts(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.live(2)
    assert rig.line.lease_age() < 5
    rig.machine.set_clock(-7200)
    assert rig.line.lease_age() < 5
    rig.machine.sleep(100)
    assert rig.line.lease_age() > 100
    rig.live(3)
    assert rig.line.lease_age() < 5


def test_a_lease_in_doubt_is_renewed_at_once(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.live(2)
    rig.line.doubt_lease()
    assert rig.line.lease_age() > 1e9
    rig.live(2)
    assert rig.line.lease_age() < 5


def test_a_slow_store_hears_of_more_than_renewals(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    for _ in range(6):
        rig.journal.log("something")
        rig.live(1)
        rig.machine.wait(60)  # a renewal is due again at every tick
    assert rig.store.seqs == list(range(1, len(rig.store.seqs) + 1))
    assert len(rig.store.seqs) >= 3


def test_an_outcome_whose_answer_was_lost_is_told_again_and_nothing_is_renewed_meanwhile(
    tmp_path: Path,
) -> None:
    rig = Rig(tmp_path)
    rig.live(3)
    rig.store.away = Unavailable("The answer was lost.")
    wait_until(lambda: rig.live(1, END) or rig.line.maybe_told, "the outcome to be told")
    renewed = rig.store.renewals
    rig.journal.log("Stored adapter.")
    rig.live(120, END)
    rig.store.away = None
    rig.live(30, END)
    assert (rig.store.ended, rig.store.seqs, rig.line.told) == ([END], [1], True)
    assert rig.store.renewals == renewed
    assert rig.line.refusals == 0


def test_an_outcome_that_an_earlier_agent_may_have_told_is_told_before_anything_is_renewed(
    tmp_path: Path,
) -> None:
    rig = Rig(tmp_path)
    rig.line.maybe_told = True
    rig.live(5, END)
    assert (rig.store.ended, rig.store.renewals, rig.line.told) == ([END], 0, True)
