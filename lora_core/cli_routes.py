"""Commands about ways to be told outside the studio. Addresses hold secrets: they come by stdin or are asked for."""

import sys
import time
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from lora_core.actions import notification_routes as routes
from lora_core.actions import runners
from lora_core.actions.workspace import Workspace
from lora_core.cli_parts import err, explained, find_named, open_workspace, out
from lora_core.errors import ConfigError
from lora_core.schema.notification import DeliveryState, NotificationKind, NotificationRoute
from lora_core.secrets import Secret

app = typer.Typer()

RouteArgument = Annotated[
    str, typer.Argument(metavar="ROUTE", help="Its id, the beginning of one, or its name.")
]
EventOption = Annotated[
    list[NotificationKind] | None,
    typer.Option("--event", help="Tell this; repeatable. Default: completed, failed and alerts."),
]

TEST_SECONDS = 60.0
ASK_AGAIN_SECONDS = 0.5
STATES = {
    DeliveryState.WAITING: "waits for a runner",
    DeliveryState.SENDING: "is being sent",
    DeliveryState.SENT: "sent",
    DeliveryState.FAILED: "not sent",
    DeliveryState.UNKNOWN: "may have arrived",
}


@app.command("routes")
def list_routes() -> None:
    """List your notification routes: where each leads, what is told over it, and what became of the newest message."""
    with explained():
        view = routes.read_routes(open_workspace())
        table = Table("id", "name", "leads to", "tells", "newest message")
        for route in view.routes:
            told = ", ".join(event.value for event in route.events) or "nothing"
            table.add_row(route.id[:8], escape(route.name), escape(route.shown), told, escape(_newest(route)))
        out.print(table if view.routes else "No routes yet. Add one with `add-route`.")
        if view.fault:
            err.print(view.fault, highlight=False)


@app.command()
def add_route(
    name: Annotated[str, typer.Argument(help="What you call it; empty for the service's name.")] = "",
    event: EventOption = None,
) -> None:
    """Add a route by its address, which is read from stdin or asked for without showing it; prints the route's id.

    The address is a Slack or Discord webhook as the service shows it, or one of the forms in docs/notifications.md.
    """
    with explained():
        workspace = open_workspace()
        _check_fault(workspace)
        address = _read_secret("Address", "Give it on stdin, such as `add-route Team < address.txt`.")
        _added(workspace, routes.add_route(workspace, name, address.reveal(), _events(event)))


@app.command()
def add_mail_route(
    to: Annotated[str, typer.Argument(metavar="TO", help="E-mail address that gets the messages.")],
    server: Annotated[str, typer.Option(help="Mail server (SMTP), such as smtp.example.org.")],
    user: Annotated[str, typer.Option(help="For signing in there; its password is asked for.")] = "",
    port: Annotated[
        int, typer.Option(min=1, max=65535, help="465 for TLS from the start; others begin it later.")
    ] = 587,
    name: Annotated[str, typer.Option(help="What you call the route.")] = "",
    event: EventOption = None,
) -> None:
    """Add a route by e-mail over a mail server; the password is read from stdin or asked for. Prints the route's id."""
    with explained():
        workspace = open_workspace()
        _check_fault(workspace)
        password = ""
        if user:
            password = _read_secret(f"Password of {user} at {server}", "Give it on stdin.").reveal()
        mail = routes.add_mail_route(
            workspace, name, to, server=server, port=port, user=user, password=password, events=_events(event)
        )
        _added(workspace, mail)


@app.command("test-route")
def try_route(
    route: RouteArgument,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Wait until it is known what became of it.")
    ] = True,
) -> None:
    """Have a runner send a test message over a route. Exit status 1 if it was not sent."""
    with explained():
        workspace = open_workspace()
        found = _find(workspace, route)
        routes.try_route(workspace, found.id)
        if not wait:
            out.print(f"{found.name}: asked for a test message.", markup=False, highlight=False)
            return
        _tell_if_nobody_sends(workspace)
        tried = _wait_for_news(workspace, found.id)
        out.print(f"{tried.name}: {_newest(tried)}.", markup=False, highlight=False, soft_wrap=True)
        if tried.last_state is not DeliveryState.SENT:
            raise typer.Exit(1)


@app.command()
def choose_events(
    route: RouteArgument,
    event: Annotated[
        list[NotificationKind] | None,
        typer.Argument(metavar="[EVENT]...", help="What is told over it; none for nothing."),
    ] = None,
) -> None:
    """Choose what is told over a route."""
    with explained():
        workspace = open_workspace()
        found = _find(workspace, route)
        routes.choose_events(workspace, found.id, event or ())
        told = ", ".join(kind.value for kind in event or ()) or "nothing"
        out.print(f"{found.name}: tells {told}.", markup=False, highlight=False, soft_wrap=True)


@app.command()
def remove_route(route: RouteArgument) -> None:
    """Remove a route with its address."""
    with explained():
        workspace = open_workspace()
        found = _find(workspace, route)
        routes.remove_route(workspace, found.id)
        out.print(f"{found.name}: removed.", markup=False, highlight=False)


def _check_fault(workspace: Workspace) -> None:
    """Refuse before a person has typed an address that could not be kept."""
    if fault := routes.read_routes(workspace).fault:
        raise ConfigError(fault)


def _read_secret(prompt: str, next_step: str) -> Secret:
    if sys.stdin.isatty():
        return Secret(str(typer.prompt(prompt, hide_input=True, err=True)))
    line = sys.stdin.readline().strip()
    if not line:
        raise ConfigError(f"There is nothing on stdin: {prompt.lower()} is missing.", next_step)
    return Secret(line)


def _events(chosen: list[NotificationKind] | None) -> tuple[NotificationKind, ...]:
    return tuple(chosen) if chosen else routes.DEFAULT_EVENTS


def _added(workspace: Workspace, route: NotificationRoute) -> None:
    told = ", ".join(event.value for event in route.events)
    err.print(f"{route.name} ({route.shown}): tells {told}.", markup=False, highlight=False, soft_wrap=True)
    _tell_if_nobody_sends(workspace)
    out.print(route.id)


def _tell_if_nobody_sends(workspace: Workspace) -> None:
    machines = runners.read_runners(workspace).machines
    if not any(runners.is_online(machine) and "dispatch" in machine.roles for machine in machines):
        err.print("No runner that sends is online: start one with `python -m runner`, or `make start`.")


def _wait_for_news(workspace: Workspace, route_id: str) -> NotificationRoute:
    until = time.monotonic() + TEST_SECONDS
    while True:
        route = _find(workspace, route_id)
        open_still = route.last_state in (DeliveryState.WAITING, DeliveryState.SENDING)
        if not open_still or route.last_error or time.monotonic() > until:
            return route
        time.sleep(ASK_AGAIN_SECONDS)


def _find(workspace: Workspace, wanted: str) -> NotificationRoute:
    return find_named(routes.read_routes(workspace).routes, wanted, "route")


def _newest(route: NotificationRoute) -> str:
    if route.last_state is None:
        return "none yet"
    at = f" at {route.last_at:%Y-%m-%d %H:%M:%S} UTC" if route.last_at else ""
    why = f": {route.last_error}" if route.last_error else ""
    return f"{STATES[route.last_state]}{at}{why}".removesuffix(".")
