"""What every store of notifications must do."""

from __future__ import annotations

import pytest

from lora_core.schema.job import EndOfAttempt, Outcome
from lora_core.schema.run import EventKind
from tests.contracts.samples import (
    Studio,
)
from tests.contracts.store_contract.stage import StoreContract, walk


class NotificationStoreContract(StoreContract):
    def end(self, studio: Studio, outcome: Outcome) -> str:
        claim, _ = studio.running()
        studio.port.end(claim.job.id, claim.attempt, EndOfAttempt(outcome=outcome))
        return claim.job.id

    @pytest.mark.parametrize("outcome", [Outcome.COMPLETED, Outcome.FAILED, Outcome.PAUSED])
    def test_the_end_of_a_job_is_told_once(self, studio: Studio, outcome: Outcome) -> None:
        job_id = self.end(studio, outcome)
        studio.port.end(job_id, 1, EndOfAttempt(outcome=outcome))
        (told,) = studio.anne.notifications.list().items
        assert (told.job_id, told.kind, told.read_at) == (job_id, f"job_{outcome.value}", None)

    def test_a_released_job_is_not_told(self, studio: Studio) -> None:
        self.end(studio, Outcome.RELEASED)
        assert studio.anne.notifications.unread() == 0

    def test_an_alert_is_told_once(self, studio: Studio) -> None:
        claim, events = studio.running()
        alert = events.make(EventKind.ALERT, message="The loss is not finite.")
        for _ in range(2):
            studio.port.ship(claim.job.id, claim.attempt, [alert])
        assert [told.body for told in studio.anne.notifications.list().items] == ["The loss is not finite."]

    def test_another_person_is_told_nothing(self, studio: Studio) -> None:
        self.end(studio, Outcome.COMPLETED)
        assert (studio.ben.notifications.unread(), list(studio.ben.notifications.list().items)) == (0, [])

    def test_read_notifications_are_not_counted(self, studio: Studio) -> None:
        for _ in range(3):
            self.end(studio, Outcome.COMPLETED)
        newest = studio.anne.notifications.list().items[0]
        studio.anne.notifications.mark_read([newest.id])
        assert studio.anne.notifications.unread() == 2
        studio.anne.notifications.mark_read()
        assert studio.anne.notifications.unread() == 0

    def test_another_person_cannot_mark_them_read(self, studio: Studio) -> None:
        self.end(studio, Outcome.COMPLETED)
        studio.ben.notifications.mark_read([told.id for told in studio.anne.notifications.list().items])
        assert studio.anne.notifications.unread() == 1

    def test_lists_are_complete_over_pages(self, studio: Studio) -> None:
        for _ in range(5):
            self.end(studio, Outcome.COMPLETED)
        told = walk(lambda cursor: studio.anne.notifications.list(limit=2, cursor=cursor))
        assert len({notification.id for notification in told}) == 5
