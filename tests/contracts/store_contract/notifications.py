"""What every store of notifications must do."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lora_core.schema.job import EndOfAttempt, JobStatus, Outcome
from lora_core.schema.notification import NotificationKind
from lora_core.schema.run import EventKind
from tests.contracts.samples import Events, Studio
from tests.contracts.store_contract.stage import StoreContract, walk


class NotificationStoreContract(StoreContract):
    def end(self, studio: Studio, outcome: Outcome) -> str:
        claim, _ = studio.running()
        studio.port.end(claim.job.id, claim.attempt, EndOfAttempt(outcome=outcome))
        return claim.job.id

    def told(self, studio: Studio) -> list[tuple[str, str]]:
        """Return (kind, title) of what Anne was told, oldest first."""
        items = studio.anne.notifications.list().items
        return [(item.kind, item.title) for item in sorted(items, key=lambda item: item.created_at)]

    @pytest.mark.parametrize(
        ("outcome", "words"),
        [
            (Outcome.COMPLETED, "is completed"),
            (Outcome.FAILED, "has failed"),
            (Outcome.PAUSED, "is paused"),
            (Outcome.CANCELLED, "is cancelled"),
        ],
    )
    def test_the_end_of_a_job_is_told_once(
        self, studio: Studio, pass_time: Callable[[float], None], outcome: Outcome, words: str
    ) -> None:
        claim, _ = studio.running()
        pass_time(1)
        for _ in range(2):
            studio.port.end(claim.job.id, 1, EndOfAttempt(outcome=outcome))
        assert self.told(studio)[1:] == [(f"job_{outcome.value}", f"“First try” {words}")]

    def test_the_start_of_a_job_is_told_once_in_its_life(
        self, studio: Studio, pass_time: Callable[[float], None]
    ) -> None:
        claim, events = studio.running()
        studio.port.ship(claim.job.id, 1, [events.phase("training", start_step=0)])
        pass_time(1)
        studio.port.end(claim.job.id, 1, EndOfAttempt(outcome=Outcome.RELEASED, reason="Shut down."))
        studio.port.ship(studio.claim().job.id, 2, [Events().phase("training", start_step=0)])
        assert self.told(studio) == [
            ("job_started", "“First try” has started"),
            ("job_queued_again", "“First try” is queued again"),
        ]
        started = studio.anne.notifications.list().items[-1]
        assert (started.job_id, started.body, started.read_at) == (
            claim.job.id,
            "workstation trains it.",
            None,
        )

    def test_each_time_that_a_job_is_queued_again_is_told_with_its_reason(
        self, studio: Studio, pass_time: Callable[[float], None]
    ) -> None:
        claim = studio.claimed()
        pass_time(31)
        claim = studio.claim()
        end = EndOfAttempt(outcome=Outcome.FAILED, reason="No network.", transient=True)
        studio.port.end(claim.job.id, 2, end)
        told = studio.anne.notifications.list().items
        assert [item.kind for item in told] == [NotificationKind.JOB_QUEUED_AGAIN] * 2
        assert {item.body for item in told} == {"The runner was lost.", studio.job(claim).status_reason}

    def test_what_a_person_does_with_a_waiting_job_is_not_told(self, studio: Studio) -> None:
        job = studio.submit()
        for status in (JobStatus.PAUSED, JobStatus.QUEUED, JobStatus.CANCELLED):
            studio.anne.jobs.move(job.id, status)
        assert studio.anne.notifications.unread() == 0

    def test_an_alert_is_told_once(self, studio: Studio) -> None:
        claim, events = studio.running()
        alert = events.make(EventKind.ALERT, message="The loss is not finite.")
        for _ in range(2):
            studio.port.ship(claim.job.id, claim.attempt, [alert])
        alerts = [item for item in studio.anne.notifications.list().items if item.kind == "alert"]
        assert [told.body for told in alerts] == ["The loss is not finite."]

    def test_another_person_is_told_nothing(self, studio: Studio) -> None:
        self.end(studio, Outcome.COMPLETED)
        assert (studio.ben.notifications.unread(), list(studio.ben.notifications.list().items)) == (0, [])

    def test_read_notifications_are_not_counted(self, studio: Studio) -> None:
        for _ in range(3):
            self.end(studio, Outcome.COMPLETED)
        assert studio.anne.notifications.unread() == 6
        newest = studio.anne.notifications.list().items[0]
        studio.anne.notifications.mark_read([newest.id])
        assert studio.anne.notifications.unread() == 5
        studio.anne.notifications.mark_read()
        assert studio.anne.notifications.unread() == 0

    def test_another_person_cannot_mark_them_read(self, studio: Studio) -> None:
        self.end(studio, Outcome.COMPLETED)
        studio.ben.notifications.mark_read([told.id for told in studio.anne.notifications.list().items])
        assert studio.anne.notifications.unread() == 2

    def test_lists_are_complete_over_pages(self, studio: Studio) -> None:
        for _ in range(5):
            self.end(studio, Outcome.COMPLETED)
        told = walk(lambda cursor: studio.anne.notifications.list(limit=2, cursor=cursor))
        assert len({notification.id for notification in told}) == 10
