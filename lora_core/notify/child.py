"""The process that sends one message: `python -m lora_core.notify.child`, one JSON document on stdin, one on stdout.

Every connection passes a guard: it notes whether one came about at all, and in a team lets none through to a private
address, whatever name, redirect or second look-up led there. It reads nothing else and writes nothing.
"""

import logging
import re
import socket
import sys
from typing import Any

import msgspec

from lora_core.notify.routes import is_public

CONNECT_SECONDS = 6.0
READ_SECONDS = 10.0
_STATUS = re.compile(r"error=(\d{3})\b")


class Guard:
    """Watches the connections of this process. There is one; it is never taken off."""

    def __init__(self, *, public_only: bool) -> None:
        self.connected = False
        self.blocked = False
        self._public_only = public_only

    def put_up(self) -> None:
        """Let every later connection pass here."""
        connect = socket.socket.connect

        def guarded(sock: socket.socket, address: Any) -> None:
            if self._public_only and not self._allows(sock, address):
                self.blocked = True
                raise OSError("The address is not a public one.")
            connect(sock, address)
            self.connected = True

        socket.socket.connect = guarded  # type: ignore[method-assign, assignment]

    def _allows(self, sock: socket.socket, address: Any) -> bool:
        return sock.family in (socket.AF_INET, socket.AF_INET6) and is_public(str(address[0]))


class Status(logging.Handler):
    """Keeps the HTTP status that the library mentions in its log; the text itself, which has secrets, is dropped."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.value: int | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Look at one record."""
        if found := _STATUS.search(record.getMessage()):
            self.value = int(found.group(1))


def main() -> None:
    """Do the one task of stdin."""
    task = msgspec.json.decode(sys.stdin.buffer.read())
    answer = _do(task)
    sys.stdout.buffer.write(msgspec.json.encode(answer))


def _do(task: dict[str, Any]) -> dict[str, Any]:
    guard = Guard(public_only=bool(task["team"]))
    guard.put_up()
    import apprise

    status = Status()
    for name in ("apprise", "urllib3", "requests"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [status], False
    logging.getLogger("apprise").setLevel(logging.INFO)
    asset = apprise.AppriseAsset(
        storage_mode=apprise.PersistentStoreMode.MEMORY, app_id="LoRA Studio", http_redirects=False
    )
    # One address, never a list of them: `add` would split at commas.
    route = apprise.Apprise.instantiate(task["url"], asset=asset, suppress_exceptions=True)
    reads_files = getattr(route, "template", None) or getattr(route, "use_pgp", False)
    if not isinstance(route, apprise.NotifyBase) or reads_files:
        return {"state": "malformed"}
    if task["do"] == "check":
        return {"state": "fine"}
    route.socket_connect_timeout, route.socket_read_timeout = CONNECT_SECONDS, READ_SECONDS
    try:
        sent = bool(
            route.notify(body=task["body"], title=task["title"], body_format=apprise.NotifyFormat.TEXT)
        )
    except Exception:
        sent = False
    if sent:
        return {"state": "sent"}
    if guard.connected:
        return {"state": "refused", "status": status.value}
    return {"state": "private" if guard.blocked else "unreachable"}


if __name__ == "__main__":
    main()
