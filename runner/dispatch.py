"""Sends notifications to people's routes: one at a time, on a thread of its own, each in a child process with a time limit.

Nothing here is waited for by the agent's loop. What happens if this process dies is decided by the store: a message that
was taken and not reported is never handed out again.
"""

import logging
import threading
import time
from collections.abc import Callable

from lora_core.errors import Conflict, StudioError, Unavailable
from lora_core.notify import NotifyError, Uncertain, Unreachable, describe, route_seal, send
from lora_core.schema.base import new_id
from lora_core.schema.notification import Delivery, DeliveryState
from lora_core.secrets import Secret
from lora_core.settings import Settings
from lora_core.store.base import DispatchPort
from lora_core.vault import KEY_FILE, Sealed, Unreadable, Vault, open_vault
from runner.calls import Backoff, Call

log = logging.getLogger(__name__)

ROLE = "dispatch"
POLL_SECONDS = 3.0
LEASE_SECONDS = 90.0
"""Well above the time limit of one message: what runs out of it was lost."""

MAX_TRIES = 6
FIRST_WAIT_SECONDS = 15.0
"""Pause before a message that could not be sent is tried again; it doubles. Six tries take about eight minutes."""

MOST_AT_ONCE = 20
"""Messages of one turn."""

REPORT_PAUSES = (0.5, 2.0, 5.0)
"""A report that does not get through is repeated after these; then the lease decides."""

Send = Callable[..., None]


class Dispatcher:
    """The part of an agent that sends. `tick` returns at once.

    Args:
        settings: The app's address, for links; whether this is a team's machine.
        port: The store's side of routes.
        find_vault: Returns the keys that open the addresses, or None if there can be no routes yet; asked at each turn,
            so a key that was added counts at once.
        wake: Called when there is something to take at the next tick.
        send: What sends one message; tests hand in their own.
    """

    def __init__(
        self,
        settings: Settings,
        port: DispatchPort,
        find_vault: Callable[[], Vault | None],
        *,
        wake: Callable[[], None] = lambda: None,
        poll_seconds: float = POLL_SECONDS,
        send: Send = send,
    ) -> None:
        self._settings = settings
        self._port = port
        self._find_vault = find_vault
        self._poll_seconds = poll_seconds
        self._send = send
        self._call: Call[int] = Call(wake)
        self._backoff = Backoff(first_seconds=5.0, longest_seconds=60.0)
        self._next = 0.0
        self._stopped = threading.Event()
        self._last = False

    def tick(self) -> None:
        """Look after the turn on its way, or begin one if it is time."""
        if self._call.answered:
            self._take()
        now = time.monotonic()
        if now >= self._next and self._backoff.ready and not self._call.busy and not self._stopped.is_set():
            self._next = now + self._poll_seconds
            self._call.start(self.turn)

    def stop(self) -> None:
        """Begin no further message; the one on its way is finished or left to its lease."""
        self._stopped.set()

    def last_turn(self) -> bool:
        """Finish the turn on its way, then make one more. Called again and again while the agent shuts down.

        Returns:
            Whether nothing is left to wait for.
        """
        if self._call.answered:
            self._take()
        if self._call.busy:
            return False
        if self._last or not self._backoff.ready:
            return True
        self._last = True
        self._call.start(self.turn)
        return False

    def turn(self) -> int:
        """Send what there is.

        Returns:
            How many messages were taken.
        """
        vault = self._find_vault()
        if vault is None:
            return 0
        taken = 0
        while taken < MOST_AT_ONCE and not self._stopped.is_set():
            delivery = self._port.claim_delivery(new_id(), vault.key_ids, lease_seconds=LEASE_SECONDS)
            if delivery is None:
                break
            taken += 1
            self._deliver(delivery, vault)
        return taken

    def _take(self) -> None:
        try:
            self._call.take()
        except StudioError as error:
            if self._backoff.failures == 0:
                log.warning("notifications cannot be looked for: %s", error)
            self._backoff.failed()
        except Exception:
            log.exception("sending notifications failed")
            self._backoff.failed()
        else:
            self._backoff.worked()

    def _deliver(self, delivery: Delivery, vault: Vault) -> None:
        state, error, wait = self._attempt(delivery, vault)
        log.info(
            "notification %s: %s", delivery.notification.id[:8], " ".join(filter(None, (state.value, error)))
        )
        for pause in (*REPORT_PAUSES, None):
            try:
                self._port.end_delivery(delivery, state, error=error, wait_seconds=wait)
            except Conflict as refusal:  # the route was removed meanwhile
                log.info("notification %s: %s", delivery.notification.id[:8], refusal)
            except Unavailable:
                if pause is None:
                    raise
                self._stopped.wait(pause)
                continue
            return

    def _attempt(self, delivery: Delivery, vault: Vault) -> tuple[DeliveryState, str, float]:
        """Send one message and say what became of it: state, reason, and the pause before another try."""
        told = delivery.notification
        title, body = describe(told, delivery.job, public_url=self._settings.public_url)
        try:
            self._send(_address(delivery, vault), title, body, team=self._settings.team)
        except Unreachable as error:
            if delivery.tries >= MAX_TRIES:
                return DeliveryState.FAILED, f"{error} Given up after {delivery.tries} tries.", 0.0
            return DeliveryState.WAITING, str(error), FIRST_WAIT_SECONDS * 2 ** (delivery.tries - 1)
        except Uncertain as error:
            return DeliveryState.UNKNOWN, str(error), 0.0
        except (NotifyError, Unreadable) as error:
            return DeliveryState.FAILED, str(error), 0.0
        except Exception:  # nothing is known about how far it got
            log.exception("a notification could not be sent")
            return DeliveryState.UNKNOWN, "Sending ended unexpectedly; the message may have arrived.", 0.0
        return DeliveryState.SENT, "", 0.0


def find_vault(settings: Settings) -> Vault | None:
    """Return the keys of this machine. None in an embedded studio that has kept no secret yet: it needs no key file.

    Raises:
        ConfigError: This team's machine was given no key, or what it was given is none.
    """
    given = settings.team or settings.encryption_key.get_secret_value().strip()
    if not given and not (settings.root / KEY_FILE).exists():
        return None
    return open_vault(settings)


def _address(delivery: Delivery, vault: Vault) -> Secret:
    seal = route_seal(delivery.notification.user_id, delivery.route_id)
    return vault.open(Sealed(delivery.ciphertext, delivery.key_id), seal)
