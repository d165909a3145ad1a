"""What a person does with notification routes: look, add (checked, then encrypted), choose events, try, remove."""

from collections.abc import Sequence
from dataclasses import dataclass

from lora_core.actions.workspace import Workspace
from lora_core.errors import NotAllowed
from lora_core.notify import check_route_url, mail_url, mask, route_seal
from lora_core.schema.base import new_id, utc_now
from lora_core.schema.notification import NotificationKind, NotificationRoute
from lora_core.secrets import Secret
from lora_core.store.base import NotificationRouteStore
from lora_core.vault import has_key, open_vault

MAX_NAME = 60

DEFAULT_EVENTS = (NotificationKind.JOB_COMPLETED, NotificationKind.JOB_FAILED, NotificationKind.ALERT)


@dataclass(frozen=True)
class RoutesView:
    """Routes of a person.

    Attributes:
        routes: Oldest first.
        fault: Why none can be added here; empty if they can.
    """

    routes: Sequence[NotificationRoute]
    fault: str = ""


def read_routes(workspace: Workspace) -> RoutesView:
    """Return the routes, and whether this app can keep their addresses."""
    fault = ""
    if not has_key(workspace.settings):
        fault = (
            "This app has no LORA_STUDIO_ENCRYPTION_KEY, so addresses cannot be kept encrypted. "
            "Whoever runs it sets the same value for the app and for the runners that send (docs/notifications.md)."
        )
    return RoutesView(_store(workspace).list(), fault)


def add_route(
    workspace: Workspace,
    name: str,
    url: str,
    events: Sequence[NotificationKind] = DEFAULT_EVENTS,
    *,
    route_id: str = "",
) -> NotificationRoute:
    """Keep an address, encrypted. It cannot be read again by anybody but a runner that sends.

    Args:
        url: The address in apprise's form, or a Slack or Discord webhook as the service shows it.
        events: What is told over it.
        route_id: Made by the caller, so that a repeated click does not add two.

    Raises:
        ConfigError: The address or the name cannot be used, or this app has no key.
        NotAllowed: There are too many routes.
    """
    clean = " ".join(name.split())[:MAX_NAME]
    address = url.strip()
    settings = workspace.settings
    check_route_url(address, team=settings.team)
    shown = mask(address)
    if not clean:
        clean = shown
    route = NotificationRoute(
        id=route_id or new_id(),
        user_id=workspace.user_id,
        name=clean,
        shown=shown,
        events=tuple(dict.fromkeys(events)),
        created_at=utc_now(),
    )
    seal = route_seal(workspace.user_id, route.id)
    sealed = open_vault(settings).seal(Secret(address), seal)
    _store(workspace).add(route, ciphertext=sealed.ciphertext, key_id=sealed.key_id)
    return route


def add_mail_route(
    workspace: Workspace,
    name: str,
    to: str,
    *,
    server: str,
    port: int,
    user: str,
    password: str,
    events: Sequence[NotificationKind] = DEFAULT_EVENTS,
) -> NotificationRoute:
    """Keep a route by e-mail over a mail server, as `add_route` does.

    Raises:
        ConfigError: Something of it cannot be used; see `add_route`.
    """
    return add_route(workspace, name, mail_url(server, port, user, password, to), events)


def choose_events(workspace: Workspace, route_id: str, events: Sequence[NotificationKind]) -> None:
    """Choose what is told over a route.

    Raises:
        NotFound: No such route of this person.
    """
    _store(workspace).set_events(route_id, tuple(dict.fromkeys(events)))


def try_route(workspace: Workspace, route_id: str, *, test_id: str = "") -> None:
    """Have a runner send a test message over a route; what became of it stands in `read_routes` soon.

    Raises:
        NotFound: No such route of this person.
        NotAllowed: Tests of this route are waiting already.
    """
    _store(workspace).test(route_id, test_id or new_id())


def remove_route(workspace: Workspace, route_id: str) -> None:
    """Remove a route with its address."""
    _store(workspace).remove(route_id)


def _store(workspace: Workspace) -> NotificationRouteStore:
    if workspace.routes is None:
        raise NotAllowed("This studio has no notification routes.")
    return workspace.routes
