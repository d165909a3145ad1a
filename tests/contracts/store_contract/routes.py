"""What every store of notification routes must do, and every port that hands out their messages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta

import pytest

from lora_core.errors import Conflict, NotAllowed, NotFound
from lora_core.schema.base import new_id
from lora_core.schema.job import EndOfAttempt, Outcome
from lora_core.schema.notification import Delivery, DeliveryState, NotificationKind, NotificationRoute
from lora_core.store.base import DispatchPort
from tests.contracts.samples import ANNE, BEN, START, Studio
from tests.contracts.store_contract.stage import StoreContract

KEY = "key-1"
ENDS = (NotificationKind.JOB_COMPLETED, NotificationKind.JOB_FAILED)


def route_of(events: Sequence[NotificationKind] = ENDS, user_id: str = ANNE) -> NotificationRoute:
    """Make a route as a person adds it."""
    return NotificationRoute(
        id=new_id(), user_id=user_id, name="Phone", shown="Slack", events=tuple(events), created_at=START
    )


class RouteContract(StoreContract):
    @pytest.fixture
    def dispatch(self) -> DispatchPort:
        """Return what a dispatcher may do."""
        raise NotImplementedError

    def add(self, studio: Studio, *events: NotificationKind, key_id: str = KEY) -> NotificationRoute:
        route = route_of(events or ENDS)
        studio.anne.routes.add(route, ciphertext="c1pher", key_id=key_id)
        return route

    def end(self, studio: Studio, outcome: Outcome = Outcome.COMPLETED) -> str:
        claim, _ = studio.running()
        studio.port.end(claim.job.id, claim.attempt, EndOfAttempt(outcome=outcome))
        return claim.job.id

    def take(
        self, port: DispatchPort, *, keys: Sequence[str] = (KEY,), lease: float = 30.0
    ) -> Delivery | None:
        return port.claim_delivery(new_id(), keys, lease_seconds=lease)

    # Routes of a person

    def test_a_route_is_listed_without_its_address(self, studio: Studio) -> None:
        route = self.add(studio)
        (listed,) = studio.anne.routes.list()
        assert listed.model_copy(update={"created_at": START}) == route
        assert "c1pher" not in repr(listed)

    def test_adding_a_route_again_changes_nothing(self, studio: Studio) -> None:
        route = self.add(studio)
        studio.anne.routes.add(route, ciphertext="c1pher", key_id=KEY)
        assert len(studio.anne.routes.list()) == 1
        with pytest.raises(Conflict):
            studio.anne.routes.add(route, ciphertext="other", key_id=KEY)

    def test_there_are_twenty_routes_at_most(self, studio: Studio) -> None:
        for _ in range(20):
            self.add(studio)
        with pytest.raises(NotAllowed, match="20 routes already"):
            self.add(studio)

    def test_another_person_neither_sees_nor_changes_a_route(self, studio: Studio) -> None:
        route = self.add(studio)
        assert list(studio.ben.routes.list()) == []
        studio.ben.routes.remove(route.id)
        with pytest.raises(NotFound):
            studio.ben.routes.set_events(route.id, ())
        with pytest.raises(NotFound):
            studio.ben.routes.test(route.id, new_id())
        (listed,) = studio.anne.routes.list()
        assert listed.events == ENDS

    def test_events_are_chosen_anew(self, studio: Studio) -> None:
        route = self.add(studio)
        studio.anne.routes.set_events(route.id, (NotificationKind.ALERT,))
        assert studio.anne.routes.list()[0].events == (NotificationKind.ALERT,)

    def test_a_removed_route_gets_nothing(self, studio: Studio, dispatch: DispatchPort) -> None:
        route = self.add(studio)
        self.end(studio)
        studio.anne.routes.remove(route.id)
        studio.anne.routes.remove(route.id)
        assert list(studio.anne.routes.list()) == []
        assert self.take(dispatch) is None

    # Deliveries

    def test_a_message_is_handed_out_once(self, studio: Studio, dispatch: DispatchPort) -> None:
        route = self.add(studio)
        job_id = self.end(studio)
        delivery = self.take(dispatch)
        assert delivery is not None
        assert (delivery.route_id, delivery.ciphertext, delivery.key_id) == (route.id, "c1pher", KEY)
        assert delivery.notification.kind == "job_completed"
        assert delivery.job is not None
        assert (delivery.job.id, delivery.tries) == (job_id, 1)
        assert self.take(dispatch) is None
        dispatch.end_delivery(delivery, DeliveryState.SENT)
        dispatch.end_delivery(delivery, DeliveryState.SENT)
        assert self.take(dispatch) is None
        (listed,) = studio.anne.routes.list()
        assert (listed.last_state, listed.last_error) == (DeliveryState.SENT, "")
        assert listed.last_at is not None

    def test_every_route_gets_its_own(self, studio: Studio, dispatch: DispatchPort) -> None:
        routes = {self.add(studio).id for _ in range(3)}
        self.end(studio)
        taken = [self.take(dispatch) for _ in range(4)]
        assert {delivery.route_id for delivery in taken if delivery} == routes
        assert taken[-1] is None

    def test_only_chosen_events_are_told(self, studio: Studio, dispatch: DispatchPort) -> None:
        self.add(studio, NotificationKind.ALERT)
        self.end(studio)
        assert self.take(dispatch) is None

    def test_what_came_before_the_route_is_not_told(self, studio: Studio, dispatch: DispatchPort) -> None:
        self.end(studio)
        told = max(studio.anne.notifications.list().items, key=lambda item: item.created_at)
        later = route_of().model_copy(update={"created_at": told.created_at + timedelta(seconds=1)})
        studio.anne.routes.add(later, ciphertext="c1pher", key_id=KEY)
        assert self.take(dispatch) is None

    def test_routes_of_other_keys_are_left_alone(self, studio: Studio, dispatch: DispatchPort) -> None:
        self.add(studio, key_id="key-2")
        self.end(studio)
        assert self.take(dispatch) is None
        assert self.take(dispatch, keys=()) is None
        assert self.take(dispatch, keys=(KEY, "key-2")) is not None

    def test_a_claim_whose_answer_was_lost_is_answered_again(
        self, studio: Studio, dispatch: DispatchPort
    ) -> None:
        self.add(studio)
        self.end(studio)
        claim_id = new_id()
        first = dispatch.claim_delivery(claim_id, (KEY,), lease_seconds=30)
        assert first is not None
        assert dispatch.claim_delivery(claim_id, (KEY,), lease_seconds=30) == first

    def test_a_lost_dispatcher_leaves_it_unknown_and_it_is_not_sent_again(
        self, studio: Studio, dispatch: DispatchPort, pass_time: Callable[[float], None]
    ) -> None:
        self.add(studio)
        self.end(studio)
        delivery = self.take(dispatch)
        assert delivery is not None
        pass_time(60)
        assert self.take(dispatch) is None
        (listed,) = studio.anne.routes.list()
        assert listed.last_state is DeliveryState.UNKNOWN
        assert "may have arrived" in listed.last_error
        dispatch.end_delivery(delivery, DeliveryState.SENT)  # the report came late
        assert studio.anne.routes.list()[0].last_state is DeliveryState.SENT

    def test_what_was_not_sent_is_tried_again_after_the_pause(
        self, studio: Studio, dispatch: DispatchPort, pass_time: Callable[[float], None]
    ) -> None:
        self.add(studio)
        self.end(studio)
        delivery = self.take(dispatch)
        assert delivery is not None
        dispatch.end_delivery(delivery, DeliveryState.WAITING, error="Nobody there.", wait_seconds=60)
        assert self.take(dispatch) is None
        (listed,) = studio.anne.routes.list()
        assert (listed.last_state, listed.last_error) == (DeliveryState.WAITING, "Nobody there.")
        pass_time(61)
        again = self.take(dispatch)
        assert again is not None
        assert again.tries == 2
        with pytest.raises(Conflict):
            dispatch.end_delivery(delivery, DeliveryState.SENT)

    def test_a_failed_message_is_told_with_its_reason(self, studio: Studio, dispatch: DispatchPort) -> None:
        self.add(studio)
        self.end(studio)
        delivery = self.take(dispatch)
        assert delivery is not None
        dispatch.end_delivery(delivery, DeliveryState.FAILED, error="HTTP 403")
        (listed,) = studio.anne.routes.list()
        assert (listed.last_state, listed.last_error) == (DeliveryState.FAILED, "HTTP 403")
        with pytest.raises(Conflict):
            dispatch.end_delivery(delivery, DeliveryState.WAITING)
        assert self.take(dispatch) is None

    def test_old_news_is_not_told(
        self, studio: Studio, dispatch: DispatchPort, pass_time: Callable[[float], None]
    ) -> None:
        self.add(studio)
        self.end(studio)
        pass_time(25 * 3600)
        assert self.take(dispatch) is None

    def test_a_message_is_told_after_its_job_was_deleted(
        self, studio: Studio, dispatch: DispatchPort
    ) -> None:
        self.add(studio)
        studio.anne.jobs.delete(self.end(studio))
        delivery = self.take(dispatch)
        assert delivery is None or delivery.job is None

    # Tests of a route

    def test_a_test_goes_to_its_route_alone_and_rings_no_bell(
        self, studio: Studio, dispatch: DispatchPort
    ) -> None:
        route, _ = self.add(studio), self.add(studio)
        wanted = new_id()
        for _ in range(2):
            studio.anne.routes.test(route.id, wanted)
        assert studio.anne.notifications.unread() == 0
        delivery = self.take(dispatch)
        assert delivery is not None
        assert (delivery.route_id, delivery.notification.kind, delivery.job) == (route.id, "test", None)
        assert self.take(dispatch) is None

    def test_tests_do_not_pile_up(self, studio: Studio) -> None:
        route = self.add(studio)
        for _ in range(3):
            studio.anne.routes.test(route.id, new_id())
        with pytest.raises(NotAllowed, match="waiting for a runner"):
            studio.anne.routes.test(route.id, new_id())

    def test_a_route_is_its_own_persons(self, studio: Studio, dispatch: DispatchPort) -> None:
        studio.ben.routes.add(route_of(user_id=BEN), ciphertext="b", key_id=KEY)
        self.end(studio)
        assert self.take(dispatch) is None
