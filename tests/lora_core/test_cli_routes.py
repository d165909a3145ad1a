"""Commands about notification routes: addresses come by stdin, are shown by nothing, and every command says what it did."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner, Result

from lora_core import cli_routes
from lora_core.actions import notification_routes as routes
from lora_core.cli import app
from lora_core.schema.base import new_id
from lora_core.schema.notification import DeliveryState, NotificationKind, NotificationRoute
from lora_core.studio import Studio
from lora_core.vault import open_vault
from tests.lora_core.actions.scenes import RUNNER
from tests.lora_core.test_cli import Command, run, studio

__all__ = ["run", "studio"]

ADDRESS = "json://ada:p4ssw0rd@example.org/s3cr3t"
Typed = Callable[..., Result]


@pytest.fixture
def typed(run: Command) -> Typed:
    """A command that finds something on stdin."""

    def invoke(text: str, *words: object) -> Result:
        return CliRunner().invoke(app, [str(word) for word in words], input=text, catch_exceptions=False)

    return invoke


@pytest.fixture
def route(typed: Typed, studio: Studio) -> NotificationRoute:
    assert typed(ADDRESS, "add-route", "Hook").exit_code == 0
    (added,) = routes.read_routes(studio.workspace()).routes
    return added


def only_route(studio: Studio) -> NotificationRoute:
    (route,) = routes.read_routes(studio.workspace()).routes
    return route


def deliver(studio: Studio, state: DeliveryState, error: str = "") -> None:
    """Do what a runner does with the message that waits."""
    port = studio.dispatch_port()
    delivery = port.claim_delivery(
        new_id(), open_vault(studio.workspace().settings).key_ids, lease_seconds=30
    )
    assert delivery is not None
    port.end_delivery(delivery, state, error=error)


def test_an_added_route_is_listed_without_its_secrets(run: Command, typed: Typed, studio: Studio) -> None:
    added = typed(f"{ADDRESS}\n", "add-route", "My hook", "--event", "job_failed", "--event", "alert")
    assert added.exit_code == 0
    assert added.stdout.strip() == only_route(studio).id
    assert "My hook (Webhook (JSON) at example.org): tells job_failed, alert." in added.stderr
    assert "No runner that sends is online" in added.stderr
    listed = run("routes")
    assert all(word in listed.stdout for word in ("My hook", "example.org", "job_failed, alert", "none yet"))
    for result in (added, listed):
        assert not any(secret in result.output for secret in ("p4ssw0rd", "s3cr3t"))


def test_the_address_is_asked_for_on_stdin_alone(typed: Typed, studio: Studio) -> None:
    nothing = typed("", "add-route", "Hook")
    assert (nothing.exit_code, "address is missing" in nothing.stderr) == (1, True)
    assert typed("", "add-route", "Hook", ADDRESS).exit_code == 2
    assert not routes.read_routes(studio.workspace()).routes


def test_a_refused_address_is_not_repeated(typed: Typed) -> None:
    result = typed("file:///etc/s3cr3t\n", "add-route")
    assert (result.exit_code, "file is not among the services" in result.stderr) == (1, True)
    assert "s3cr3t" not in result.output


def test_a_route_by_mail_takes_its_password_from_stdin(typed: Typed, studio: Studio) -> None:
    words = ("add-mail-route", "ada@example.org", "--server", "smtp.example.org", "--user", "ada")
    result = typed("p4ssw0rd\n", *words)
    assert result.exit_code == 0, result.output
    assert only_route(studio).shown == "E-mail via smtp.example.org"
    assert "p4ssw0rd" not in result.output


def test_events_are_chosen_and_unknown_ones_refused(
    run: Command, studio: Studio, route: NotificationRoute
) -> None:
    every = [kind.value for kind in NotificationKind]
    result = run("choose-events", "Hook", *every)
    assert result.stdout == f"Hook: tells {', '.join(every)}.\n"
    assert only_route(studio).events == tuple(NotificationKind)
    assert run("choose-events", route.id[:6]).stdout == "Hook: tells nothing.\n"
    assert run("choose-events", "Hook", "job_exploded").exit_code == 2


def test_a_test_message_that_is_not_waited_for_is_asked_for(
    run: Command, studio: Studio, route: NotificationRoute
) -> None:
    assert run("test-route", "Hook", "--no-wait").stdout == "Hook: asked for a test message.\n"
    assert only_route(studio).last_state is DeliveryState.WAITING


@pytest.mark.parametrize(
    ("state", "error", "words", "code"),
    [
        (DeliveryState.SENT, "", "Hook: sent at ", 0),
        (DeliveryState.FAILED, "HTTP 403.", "HTTP 403.\n", 1),
        (DeliveryState.UNKNOWN, "Time ran out.", "Hook: may have arrived at ", 1),
        (DeliveryState.WAITING, "The service cannot be reached.", "Hook: waits for a runner at ", 1),
    ],
)
def test_a_test_message_is_waited_for_and_its_end_is_told(
    run: Command,
    studio: Studio,
    route: NotificationRoute,
    monkeypatch: pytest.MonkeyPatch,
    state: DeliveryState,
    error: str,
    words: str,
    code: int,
) -> None:
    studio.runner_port().announce(RUNNER.model_copy(update={"roles": ("train", "dispatch")}))
    clock = SimpleNamespace(sleep=lambda _: deliver(studio, state, error), monotonic=time.monotonic)
    monkeypatch.setattr(cli_routes, "time", clock)
    result = run("test-route", "Hook")
    assert (result.exit_code, words in result.stdout) == (code, True), result.output


def test_a_removed_route_is_gone(run: Command, studio: Studio, route: NotificationRoute) -> None:
    assert run("remove-route", "Hook").stdout == "Hook: removed.\n"
    assert "No routes yet" in run("routes").stdout
    again = run("remove-route", "Hook")
    assert (again.exit_code, "You have no route 'Hook'" in again.stderr) == (1, True)


def test_nothing_of_an_address_is_in_the_database_in_clear(
    studio: Studio, route: NotificationRoute, tmp_path: Path
) -> None:
    kept = b"".join(file.read_bytes() for file in (tmp_path / "home").glob("studio.sqlite3*"))
    assert b"s3cr3t" not in kept
    assert json.dumps(route.model_dump(mode="json")).count("example.org") == 1
