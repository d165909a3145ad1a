"""The one studio of this process, opened once and shared by pages and routes, and the view of whoever asks."""

from collections.abc import Callable
from functools import cache

from starlette.datastructures import Headers

from lora_core.actions.sessions import SignedIn
from lora_core.actions.workspace import Workspace
from lora_core.errors import SignedOut
from lora_core.studio import AnyStudio, TeamStudio
from lora_core.studio import open_studio as make_studio
from pages.frame.cookies import session_in


@cache
def open_studio() -> AnyStudio:
    """Open the studio that the environment names at the first call; later calls return the same one."""
    return make_studio()


def team() -> TeamStudio | None:
    """Return the studio of a team, or None in the embedded mode, where nobody signs in."""
    studio = open_studio()
    return studio if isinstance(studio, TeamStudio) else None


def person_in(headers: Headers) -> SignedIn | None:
    """Return who of a team sent a request; None if nobody is signed in at that browser."""
    studio = team()
    return session_in(headers, studio.sessions, studio.settings) if studio else None


def who_is_in() -> Callable[[Headers], bool] | None:
    """Return how the guard can tell whether somebody of a team sent a request; None in the embedded mode."""
    return (lambda headers: person_in(headers) is not None) if team() else None


def open_workspace(headers: Headers) -> Workspace:
    """Return the view of the person who sent a request. The embedded mode has one person and no sign-in.

    Raises:
        SignedOut: It is a team's studio and nobody is signed in at that browser.
    """
    studio = open_studio()
    if not isinstance(studio, TeamStudio):
        return studio.workspace()
    person = session_in(headers, studio.sessions, studio.settings)
    if person is None:
        raise SignedOut("You are signed out.", "Reload the page and sign in.")
    return person.keep_once("routes", lambda: studio.workspace(person))
