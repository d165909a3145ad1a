"""The form at the door of a team's studio, the card of a tab whose person has left, and the button to leave."""

from pathlib import Path
from typing import Any, Literal

import streamlit as st

HERE = Path(__file__).parent

Mode = Literal["sign_in", "join", "password", "left"]

_form = st.components.v2.component(
    "lora_studio_sign_in",
    html=(HERE / "sign_in.html").read_text(encoding="utf-8"),
    css=(HERE / "sign_in.css").read_text(encoding="utf-8"),
    js=(HERE / "sign_in.js").read_text(encoding="utf-8"),
)

_out = st.components.v2.component(
    "lora_studio_sign_out",
    html='<button type="button">Sign out</button><p role="alert" hidden></p>',
    css=(HERE / "sign_out.css").read_text(encoding="utf-8"),
    js=(HERE / "sign_out.js").read_text(encoding="utf-8"),
)


def sign_in_form(
    mode: Mode, *, email: str = "", invitation: str = "", token_hash: str = "", is_open: bool = False
) -> None:
    """Draw the form.

    Args:
        mode: What it begins with; a person can change to the other forms.
        email: Filled in.
        invitation: Code from a link; then no code is asked for.
        token_hash: What a mailed link to set a new password holds.
        is_open: Whether anybody may make an account.
    """
    _draw(mode, email=email, invitation=invitation, token_hash=token_hash, is_open=is_open)


def card_of_who_left(lead: str, action: str) -> None:
    """Draw a card that says why this tab shows nothing any more, with a button that loads it anew."""
    _draw("left", lead=lead, action=action)


def sign_out_button(*, key: str) -> None:
    """Draw the button that ends the session of this browser, in all its tabs."""
    _out(key=key, width="content")


def _draw(mode: Mode, **facts: Any) -> None:
    data = {"email": "", "invitation": "", "token_hash": "", "is_open": False, "lead": "", "action": ""}
    _form(key=f"door_{mode}", data={**data, **facts, "mode": mode})
