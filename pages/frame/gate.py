"""The gate of a team's studio: in every run of the script it asks who is at this browser. It draws the door, and no page.

The gate decides what is drawn. What a person may read and write is decided by the database, with that person's own token.
"""

from dataclasses import dataclass
from enum import Enum

import streamlit as st
from starlette.datastructures import Headers

from pages import sign_in
from pages.frame.opened import open_studio, person_in, team
from pages.widgets import session
from pages.widgets.sign_in import card_of_who_left


class Place(Enum):
    """Where a browser tab stands."""

    INSIDE = "inside"
    """Pages may be drawn; the person's workspace is attached."""

    DOOR = "door"
    LEFT = "left"
    """Its person has signed out, here or in another tab."""

    TAKEN_OVER = "taken over"
    """Somebody else has signed in at this browser since."""

    NOWHERE = "nowhere"
    """The studio cannot be opened; that was said."""


@dataclass(frozen=True)
class Arrival:
    """Who stands before the frame.

    Attributes:
        operator: Whether to offer the operator's page.
    """

    place: Place
    in_team: bool = False
    operator: bool = False


def arrive() -> Arrival:
    """Let in who is signed in, and everybody in the embedded mode, where there is one person and no sign-in."""
    studio = team()
    if studio is None:
        session.attach(open_studio().workspace())
        return Arrival(Place.INSIDE)
    person = person_in(request_headers())
    if person is None:
        return Arrival(Place.LEFT if session.leave() else Place.DOOR, in_team=True)
    if not session.admit(person, lambda: studio.workspace(person)):
        return Arrival(Place.TAKEN_OVER, in_team=True)
    return Arrival(Place.INSIDE, in_team=True, operator=person.operator)


def draw_outside(place: Place) -> None:
    """Draw what stands in place of a page for who is not in."""
    if place is Place.LEFT:
        card_of_who_left("You are signed out.", "Sign in again")
    elif place is Place.TAKEN_OVER:
        card_of_who_left("Somebody else has signed in at this browser.", "Load the page again")
    elif place is Place.DOOR:
        studio = team()
        sign_in.render(is_open=studio is not None and studio.sessions.sign_up_is_open())


def request_headers() -> Headers:
    """Return the headers with which this browser tab has connected."""
    return Headers(dict(st.context.headers))
