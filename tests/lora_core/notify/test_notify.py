"""Addresses that may be used, and sending to a server on this machine. What messages say is in `test_words.py`."""

import socket
from collections.abc import Iterator
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
    mask,
    send,
)
from lora_core.notify.routes import check_form, check_public
from lora_core.secrets import Secret
from tests.lora_core.notify.receiver import Receiver, receiving

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


def failed(url: str, kind: type[NotifyError], *, team: bool = False) -> NotifyError:
    with pytest.raises(kind) as caught:
        send(Secret(url), "t", "b", team=team)
    assert "s3cr3t" not in str(caught.value)
    return caught.value
