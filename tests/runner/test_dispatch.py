"""The part of a runner that sends: at most once, never in the way, and with an honest word about each message."""

import logging
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lora_core.actions.notification_routes import add_route, try_route
from lora_core.actions.workspace import Workspace
from lora_core.errors import Unavailable
from lora_core.notify import Refused, Uncertain, Unreachable
from lora_core.schema.base import utc_now
from lora_core.schema.job import EndOfAttempt, Outcome
from lora_core.schema.notification import DeliveryState, NotificationRoute
from lora_core.secrets import Secret
from lora_core.settings import LOCAL_USER, Settings
from lora_core.store.local import LocalStore
from lora_core.studio import Studio
from lora_core.vault import KEY_FILE
from runner.dispatch import MAX_TRIES, Dispatcher, find_vault
from tests.contracts.samples import Events, dataset_of, job_of, runner_of
from tests.lora_core.notify.receiver import receiving
from tests.runner.agent.bench import wait_until

ADDRESS = "json://127.0.0.1:9/hook/s3cr3t"


class Clock:
    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> datetime:
        return utc_now() + timedelta(seconds=self.ahead)


class Outbox:
    """Stands for the services: keeps what was sent, and does to a message what the test wants."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str, str]] = []
        self.error: Exception | None = None

    def __call__(self, url: Secret, title: str, body: str, *, team: bool) -> None:
        if self.error is not None:
            raise self.error
        self.sent.append((url.reveal(), title, body))


class Stage:
    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.settings = Settings(home=home, public_url="https://studio.example.org")
        self.clock = Clock()
        self.studio = Studio(self.settings)
        self.store = LocalStore(self.settings, self.clock)
        self.workspace: Workspace = self.studio.workspace()
        self.outbox = Outbox()
        self.monkeypatch = monkeypatch

    def dispatcher(self, **changes: Any) -> Dispatcher:
        values: dict[str, Any] = {"send": self.outbox} | changes
        port = values.pop("port", None) or self.store.dispatch_port()
        return Dispatcher(self.settings, port, lambda: find_vault(self.settings), **values)

    def add_route(self, url: str = ADDRESS, **fields: Any) -> NotificationRoute:
        return add_route(self.workspace, "Phone", url, **fields)

    def complete_a_job(self) -> str:
        port, stores = self.store.runner_port(), self.store.for_user(LOCAL_USER)
        dataset = dataset_of(LOCAL_USER)
        stores.datasets.add(dataset)
        job = stores.jobs.submit(job_of(LOCAL_USER, dataset.id, name="Tickets"))
        claim = port.claim(runner_of(), lease_seconds=30)
        assert claim is not None
        events = Events()
        shipped = [events.phase("training", start_step=0, total_steps=1000), events.train(10, 1.23456)]
        port.ship(job.id, 1, shipped)
        port.end(job.id, 1, EndOfAttempt(outcome=Outcome.COMPLETED))
        return job.id

    def route(self) -> NotificationRoute:
        assert self.workspace.routes is not None
        return self.workspace.routes.list()[-1]


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    opened = Stage(tmp_path / "home", monkeypatch)
    yield opened
    opened.store.close()
    opened.studio.close()


def test_a_message_is_sent_with_what_matters(stage: Stage) -> None:
    stage.add_route()
    job_id = stage.complete_a_job()
    assert stage.dispatcher().turn() == 1
    ((url, title, body),) = stage.outbox.sent
    assert (url, title) == (ADDRESS, "“Tickets” is completed")
    assert "Iterations 10/1,000, time " in body
    assert "Loss 1.2346" in body
    assert "Cost $0.00" in body
    assert body.endswith(f"https://studio.example.org/job?id={job_id}")
    assert stage.route().last_state is DeliveryState.SENT


def test_two_dispatchers_send_each_message_once(stage: Stage) -> None:
    for _ in range(3):
        stage.add_route()
    for _ in range(4):
        stage.complete_a_job()
    both = [threading.Thread(target=stage.dispatcher().turn) for _ in range(4)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert stage.dispatcher().turn() == 0
    assert len(stage.outbox.sent) == 12


def test_a_crash_while_sending_is_unknown_and_never_sent_again(stage: Stage) -> None:
    stage.add_route()
    stage.complete_a_job()
    stage.outbox.error = SystemExit()
    with pytest.raises(SystemExit):
        stage.dispatcher().turn()
    stage.outbox.error = None
    stage.clock.ahead = 600
    assert stage.dispatcher().turn() == 0
    assert stage.outbox.sent == []
    assert stage.route().last_state is DeliveryState.UNKNOWN


def test_an_unreachable_service_is_tried_again_with_growing_pauses_and_given_up(stage: Stage) -> None:
    stage.add_route()
    stage.complete_a_job()
    stage.outbox.error = Unreachable("Nobody there.")
    dispatcher, pauses = stage.dispatcher(), []
    for _ in range(MAX_TRIES):
        assert dispatcher.turn() == 1
        before = stage.clock.ahead
        while stage.route().last_state is DeliveryState.WAITING and dispatcher_finds_nothing(stage):
            stage.clock.ahead += 5
        pauses.append(stage.clock.ahead - before)
    assert stage.route().last_state is DeliveryState.FAILED
    assert "Given up after 6 tries" in stage.route().last_error
    assert pauses[:-1] == sorted(pauses[:-1])
    assert pauses[0] >= 10
    assert dispatcher.turn() == 0


def dispatcher_finds_nothing(stage: Stage) -> bool:
    now = stage.clock()
    connection = stage.store._database.connection()
    (moment,) = connection.execute("SELECT not_before FROM notification_deliveries").fetchone()
    return datetime.fromisoformat(moment) > now


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (Refused("HTTP 403"), DeliveryState.FAILED),
        (Uncertain("too slow"), DeliveryState.UNKNOWN),
        (ValueError("a fault of ours"), DeliveryState.UNKNOWN),
    ],
)
def test_what_may_have_arrived_or_was_refused_is_not_sent_again(
    stage: Stage, error: Exception, state: DeliveryState
) -> None:
    stage.add_route()
    stage.complete_a_job()
    stage.outbox.error = error
    stage.dispatcher().turn()
    assert stage.route().last_state is state
    stage.clock.ahead = 3600
    assert stage.dispatcher().turn() == 0


def test_a_changed_ciphertext_is_told_and_goes_nowhere(stage: Stage) -> None:
    stage.add_route()
    stage.complete_a_job()
    with stage.store._database.write() as connection:
        connection.execute(
            "UPDATE notification_routes SET ciphertext = 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'"
        )
    stage.dispatcher().turn()
    assert stage.outbox.sent == []
    assert stage.route().last_state is DeliveryState.FAILED


def test_a_service_that_hangs_does_not_hold_the_loop(stage: Stage) -> None:
    stage.add_route()
    stage.complete_a_job()
    release = threading.Event()

    def hang(*_: Any, **__: Any) -> None:
        release.wait(30)

    dispatcher = stage.dispatcher(send=hang, poll_seconds=0.0)
    for _ in range(100):
        dispatcher.tick()
    assert stage.route().last_state in (None, DeliveryState.SENDING)
    release.set()
    wait_until(lambda: dispatcher.tick() or stage.route().last_state is DeliveryState.SENT)


def test_a_store_that_is_away_is_asked_again_later(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    class Away:
        def claim_delivery(self, *_: Any, **__: Any) -> None:
            raise Unavailable("The store is away.")

    stage.add_route()
    dispatcher = stage.dispatcher(port=Away(), poll_seconds=0.0)
    with caplog.at_level(logging.WARNING):
        wait_until(lambda: dispatcher.tick() or caplog.records)
        for _ in range(50):
            dispatcher.tick()
    assert len(caplog.records) == 1


def test_a_studio_that_kept_no_secret_gets_no_key_file(stage: Stage) -> None:
    assert stage.dispatcher().turn() == 0
    assert not (stage.settings.root / KEY_FILE).exists()


def test_a_test_message_is_sent_to_a_real_server(stage: Stage) -> None:
    from lora_core.notify import send

    with receiving() as receiver:
        route = stage.add_route(receiver.url, events=())
        try_route(stage.workspace, route.id)
        stage.dispatcher(send=send).turn()
        (message,) = receiver.messages
    assert message["title"] == "A test from LoRA Studio"
    assert stage.route().last_state is DeliveryState.SENT
