"""Sends one message through a child process, within a time limit. The address goes there by stdin and comes back in no error.

What went wrong is told by what may follow: unreachable (nothing was sent, so again later is safe), refused (again would
not help), uncertain (it may have arrived, so never again).
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import msgspec

from lora_core.errors import ConfigError, StudioError
from lora_core.notify.routes import check_form, check_public
from lora_core.secrets import Secret

SEND_SECONDS = 20.0
"""Time for one message, the start of the child included."""

MAX_TITLE = 250
MAX_BODY = 3000

_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "ftp_proxy")
_KEPT_OUT = ("LORA_STUDIO_", "SUPABASE_", "RUNPOD_", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "AWS_")
"""Variables that may hold secrets of ours: the child has no use for them."""


class NotifyError(StudioError):
    """A message that was not sent, or may not have been."""


class Unreachable(NotifyError):
    """No connection came about: nothing was sent."""


class Refused(NotifyError):
    """The service answered and did not take the message, or the address is not allowed."""


class Uncertain(NotifyError):
    """Time ran out while the message was on its way: it may have arrived."""


def check_route_url(url: str, *, team: bool) -> None:
    """Check an address before it is kept.

    Args:
        team: Refuse addresses of private networks: the machine that sends is not the person's own.

    Raises:
        ConfigError: It is not allowed, or the service's form is another; nothing of it is in the message.
    """
    scheme = check_form(url)
    if team:
        check_public(url)
    try:
        answer = _ask({"do": "check", "url": url, "team": team}, SEND_SECONDS)
    except Uncertain as error:
        raise ConfigError("The address could not be checked in time.", "Try again.") from error
    if answer.get("state") != "fine":
        raise ConfigError(
            f"This is not the form of a {scheme} address.",
            "The help beside the field shows it; docs/notifications.md has more.",
        )


def send(url: Secret, title: str, body: str, *, team: bool, seconds: float = SEND_SECONDS) -> None:
    """Send one message.

    Args:
        team: Connect to public addresses only, whatever a name resolves to at that moment.
        seconds: After this time the child is ended.

    Raises:
        Unreachable: Nothing was sent; it can be tried again.
        Refused: It was not accepted.
        Uncertain: It may have arrived.
    """
    try:
        check_form(url.reveal())
        if team:
            check_public(url.reveal())
    except ConfigError as error:
        raise Refused(error.message, error.next_step) from error
    message = {
        "do": "send",
        "url": url.reveal(),
        "title": title[:MAX_TITLE],
        "body": body[:MAX_BODY],
        "team": team,
    }
    answer = _ask(message, seconds)
    state, status = answer.get("state"), answer.get("status")
    if state == "sent":
        return
    if state == "unreachable":
        raise Unreachable("The service cannot be reached.", "Check the host of the address.")
    if state == "private":
        raise Refused("In a team, messages go to public addresses only.")
    if state == "malformed":
        raise Refused("The address is not understood (any more).", "Enter it again.")
    if state == "refused":
        told = f" (HTTP {int(status)})" if isinstance(status, int) else ""
        raise Refused(f"The service did not accept the message{told}.", "Check the address and its token.")
    raise Uncertain("Sending ended unexpectedly; the message may have arrived.")


def _ask(message: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """Give the child one task and read its answer, `{}` if it gave none."""
    child = subprocess.Popen(
        [sys.executable, "-m", "lora_core.notify.child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=_environment(team=bool(message["team"])),
        start_new_session=True,  # a Ctrl-C for the runner does not end it halfway
    )
    try:
        output, _ = child.communicate(msgspec.json.encode(message), timeout=seconds)
    except subprocess.TimeoutExpired as error:
        child.kill()
        child.communicate()
        raise Uncertain(
            f"The service did not answer within {seconds:g} s; the message may have arrived."
        ) from error
    try:
        answer = msgspec.json.decode(output)
    except msgspec.DecodeError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _environment(*, team: bool) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_KEPT_OUT)}
    if team:  # the guard sees where a connection goes; behind a proxy it would see the proxy only
        kept = {name: value for name, value in kept.items() if name.lower() not in _PROXIES}
    return kept | {"PYTHONPATH": os.pathsep.join(part for part in sys.path if part)}
