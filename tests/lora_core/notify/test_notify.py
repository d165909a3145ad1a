"""Addresses that may be used, what messages say, and sending to a server on this machine."""

import math
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from lora_core.errors import ConfigError
from lora_core.notify import (
    ALLOWED_SCHEMES,
    NotifyError,
    Refused,
    Uncertain,
    Unreachable,
    check_route_url,
    describe,
    mask,
    send,
)
from lora_core.notify.routes import check_form, check_public
from lora_core.schema.config import TrainingConfig
from lora_core.schema.job import Job, JobStatus
from lora_core.schema.notification import Notification
from lora_core.secrets import Secret
from tests.lora_core.notify.receiver import Receiver, receiving

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SLACK = "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#general"
DISCORD = "https://discord.com/api/webhooks/4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as opened:
        yield opened


class TestAddresses:
    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    def test_every_allowed_scheme_is_one_of_the_library(self) -> None:
        from apprise.manager_plugins import NotificationManager

        known = NotificationManager()
        assert [scheme for scheme in ALLOWED_SCHEMES if scheme not in known] == []

    @pytest.mark.parametrize(
        "url",
        [
            SLACK,
            DISCORD,
            "mailtos://ada:pass@smtp.example.org?to=ada@example.org",
            "ntfys://ntfy.example.org/topic",
            "json://127.0.0.1:8080/hook",
        ],
    )
    def test_usual_addresses_are_allowed(self, url: str) -> None:
        check_route_url(url, team=False)

    @pytest.mark.parametrize(
        "url",
        [
            "",
            "hello",
            "file:///etc/passwd",
            "dbus://",
            "syslog://localhost",
            "https://example.org/hook",
            "https://discord.com/login",
            "http://discord.com/api/webhooks/1/2",
            "json://a b",
            "json://a\nb",
            "json://" + "a" * 2000,
            "slack://one",
            "json://example.org/?retry=9",
            "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ?template=/etc/passwd",
            "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#general?template=/etc/passwd",
            "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ?to=a;template=/etc/passwd",
            "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ?%74emplate%20=/etc/passwd",
            f"{DISCORD}?template=/etc/passwd",
            "mailto://ada:pass@example.org?pgppub=/etc/passwd",
        ],
    )
    def test_others_are_not(self, url: str) -> None:
        with pytest.raises(ConfigError):
            check_route_url(url, team=False)

    @pytest.mark.parametrize(
        "url",
        [
            "json://127.0.0.1/",
            "json://10.1.2.3:80/",
            "json://169.254.169.254/latest",
            "json://[::1]/",
            "json://[::ffff:192.168.0.1]/",
            "json://localhost/",
            "json://printer.local/",
            "mailto://ada:pass@example.org?smtp=127.0.0.1",
            "gotify://2130706433/token",
        ],
    )
    def test_a_team_allows_no_private_address(self, url: str) -> None:
        check_form(url)
        with pytest.raises(ConfigError, match="public addresses only"):
            check_public(url)

    def test_a_name_that_leads_to_a_private_address_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def resolved(*_: Any, **__: Any) -> list[Any]:
            return [(socket.AF_INET, 1, 6, "", ("192.168.7.7", 0))]

        monkeypatch.setattr(socket, "getaddrinfo", resolved)
        with pytest.raises(ConfigError, match="public addresses only"):
            check_public("json://innocent.example.org/")

    @pytest.mark.parametrize(
        "url", [SLACK, DISCORD, "ntfy://secrettopic", "json://u:p4ss@example.org/s3cr3t"]
    )
    def test_a_label_shows_no_secret(self, url: str) -> None:
        label = mask(url)
        assert label
        assert not any(
            part in label
            for part in ("T1JJ", "A1BR", "TIia", "4174", "JHMH", "secrettopic", "p4ss", "s3cr3t")
        )


class TestSending:
    def test_a_message_arrives(self, receiver: Receiver) -> None:
        send(Secret(receiver.url), "A title", "A body", team=False)
        (message,) = receiver.messages
        assert (message["title"], message["message"]) == ("A title", "A body")

    def test_a_refused_message_says_so_without_the_address(self, receiver: Receiver) -> None:
        receiver.status = 403
        error = failed(receiver.url, Refused)
        assert "403" in str(error)
        assert len(receiver.messages) == 1
        assert "s3cr3t" not in repr(error)

    def test_where_nobody_listens_nothing_was_sent(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            failed(f"json://127.0.0.1:{free.getsockname()[1]}/s3cr3t", Unreachable)

    def test_a_service_that_hangs_leaves_it_uncertain(self, receiver: Receiver) -> None:
        receiver.pause_seconds = 30
        with pytest.raises(Uncertain) as caught:
            send(Secret(receiver.url), "t", "b", team=False, seconds=4)
        assert "s3cr3t" not in str(caught.value)

    def test_a_redirect_is_not_followed(self, receiver: Receiver) -> None:
        with receiving() as other:
            receiver.status, receiver.location = 307, f"http://127.0.0.1:{other.port}/"
            with pytest.raises(NotifyError):
                send(Secret(receiver.url), "t", "b", team=False)
            assert other.messages == []

    def test_a_team_checks_again_when_it_sends(self, receiver: Receiver) -> None:
        failed(receiver.url, Refused, team=True)
        assert receiver.messages == []

    def test_a_team_checks_the_connection_itself(
        self, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As if the name had led elsewhere when it was checked."""
        monkeypatch.setattr("lora_core.notify.sending.check_public", lambda url: None)
        assert "public addresses" in str(failed(receiver.url, Refused, team=True))
        assert receiver.messages == []


class TestWords:
    def test_a_message_has_iterations_time_losses_cost_and_link(self) -> None:
        title, body = describe(told(), job(), public_url="https://studio.example.org/")
        assert title == "“Tickets” has failed"
        assert body.splitlines() == [
            "CUDA out of memory.",
            "Tickets: failed",
            "Iterations 120/1,000, time 01:02:03",
            "Loss 1.2346, validation loss 1.5000, best 1.4000",
            "Cost $1.50",
            "https://studio.example.org/job?id=j1",
        ]

    def test_without_a_job_the_text_is_the_notification(self) -> None:
        assert describe(told(), None, public_url="https://x.org") == (
            "“Tickets” has failed",
            "CUDA out of memory.",
        )

    def test_what_is_not_known_is_left_out(self) -> None:
        _, body = describe(told(), job(train_loss=None, eval_loss=None, best_eval_loss=None, total_steps=0))
        assert "oss" not in body
        assert "http" not in body
        assert "Iterations 120, time" in body

    def test_a_loss_that_is_no_number_is_told_as_such(self) -> None:
        assert "Loss nan" in describe(told(), job(train_loss=math.nan))[1]


def failed(url: str, kind: type[NotifyError], *, team: bool = False) -> NotifyError:
    with pytest.raises(kind) as caught:
        send(Secret(url), "t", "b", team=team)
    assert "s3cr3t" not in str(caught.value)
    return caught.value


def told() -> Notification:
    return Notification(
        id="n1",
        user_id="ada",
        job_id="j1",
        kind="job_failed",
        title="“Tickets” has failed",
        body="CUDA out of memory.",
        created_at=NOW,
    )


def job(**changes: Any) -> Job:
    values: dict[str, Any] = {
        "status": JobStatus.FAILED,
        "current_step": 120,
        "total_steps": 1000,
        "elapsed_seconds": 3723.9,
        "train_loss": 1.23456,
        "eval_loss": 1.5,
        "best_eval_loss": 1.4,
        "cost_usd": 1.5,
    }
    return Job(
        id="j1",
        user_id="ada",
        name="Tickets",
        dataset_id="d1",
        config=TrainingConfig(),
        created_at=NOW,
        updated_at=NOW,
        **(values | changes),
    )
