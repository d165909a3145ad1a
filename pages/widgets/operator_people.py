"""The people of a team as the operator sees them: totals of this month, and the quota of each."""

from collections.abc import Sequence
from typing import Any, TypeVar

import pandas as pd
import streamlit as st

from lora_core.actions import team
from lora_core.errors import StudioError
from lora_core.schema.people import PersonTotals, Quota
from pages.widgets import formats, session
from pages.widgets.plain import plain

Number = TypeVar("Number", int, float)

DIALOG = "quota"
GB = 1e9
NUMBER_WIDTH = 150


def draw_numbers(people: Sequence[PersonTotals]) -> None:
    """Draw what the whole team comes to."""
    cells = [
        ("People", f"{len(people)}", "group"),
        ("Live jobs", f"{sum(person.live_jobs for person in people)}", "play_circle"),
        ("GPU hours", f"{sum(person.gpu_hours for person in people):,.1f}", "memory"),
        ("Storage", formats.size(sum(person.storage_bytes for person in people)), "database"),
        ("Spend", formats.cost(sum(person.usd for person in people)), "payments"),
    ]
    with st.grid(len(cells), min_column_width=NUMBER_WIDTH, key="numbers"):
        for label, value, icon in cells:
            with st.container(border=True, height="stretch"):
                st.metric(label, value, icon=f":material/{icon}:")


def draw_people(people: Sequence[PersonTotals]) -> None:
    """Draw the table and the button to the quotas."""
    with st.container(horizontal=True, vertical_alignment="center", key="people_header"):
        st.subheader("People", anchor=False, width="content")
        st.space("stretch")
        st.button(
            "Set a quota",
            icon=":material/speed:",
            key="quota",
            disabled=not people,
            on_click=session.open_dialog,
            args=(DIALOG,),
        )
    if people and session.dialog_is_open(DIALOG):
        _quota(people)
    st.dataframe(
        pd.DataFrame([_row(person) for person in people]).astype({"Last sign-in": "datetime64[s, UTC]"}),
        hide_index=True,
        key="people",
        height="content",
        placeholder=formats.UNKNOWN,
        column_config=_columns(),
    )
    st.caption("GPU hours and spend are of this calendar month (UTC).")


def used_share(person: PersonTotals) -> float | None:
    """Return the largest share of any quota that a person has used, or None where nothing limits them."""
    quota = person.quota
    if quota is None:
        return None
    pairs = [
        (person.live_jobs, quota.max_live_jobs),
        (person.gpu_hours, quota.gpu_hours_per_month),
        (person.storage_bytes, quota.storage_bytes),
        (person.usd, quota.usd_per_month),
    ]
    shares = [used / limit if limit else 1.0 for used, limit in pairs if limit is not None]
    return max(shares) if shares else None


def _row(person: PersonTotals) -> dict[str, object]:
    share = used_share(person)
    return {
        "Person": person.email,
        "Role": "Operator" if person.operator else "",
        "Of quota": None if share is None else round(min(share, 1.0) * 100),
        "Live jobs": person.live_jobs,
        "GPU hours": round(person.gpu_hours, 2),
        "Storage": formats.size(person.storage_bytes),
        "Spend": person.usd,
        "Jobs": person.jobs,
        "Last sign-in": person.last_sign_in_at,
    }


def _columns() -> dict[str, Any]:
    column = st.column_config
    return {
        "Person": column.TextColumn(width=190),
        "Role": column.TextColumn(width=75),
        "Of quota": column.ProgressColumn(
            min_value=0,
            max_value=100,
            format="%d%%",
            width=105,
            help="The largest share of any of their quotas.",
        ),
        "Live jobs": column.NumberColumn(width=70),
        "GPU hours": column.NumberColumn(format="%.1f", width=80),
        "Storage": column.TextColumn(width=75, help="Data sets and artifacts together."),
        "Spend": column.NumberColumn(format="dollar", width=75),
        "Jobs": column.NumberColumn(width=55, help="Of all time, without deleted ones."),
        "Last sign-in": column.DatetimeColumn(format="D MMM YYYY", timezone=st.context.timezone, width=105),
    }


@st.dialog("Quota", icon=":material/speed:", on_dismiss=session.close_dialog)
def _quota(people: Sequence[PersonTotals]) -> None:
    by_id = {person.user_id: person for person in people}
    chosen = st.selectbox(
        "Person", list(by_id), format_func=lambda user_id: by_id[user_id].email, key="quota_person"
    )
    person = by_id[chosen]
    with st.form(f"quota_form_{chosen}", border=False):
        st.caption(
            "An empty field does not limit. What is in use already stays; new jobs and uploads are refused above it."
        )
        quota = _fields(person)
        if st.form_submit_button("Save the quota", type="primary", icon=":material/check:", key="quota_do"):
            _save(person, quota)


def _save(person: PersonTotals, quota: Quota) -> None:
    try:
        team.set_quota(session.workspace(), quota)
    except StudioError as error:
        st.error(plain(str(error)), icon=":material/error:")
    else:
        session.close_dialog()
        session.leave_word(f"Saved the quota of {plain(person.email)}.", ":material/check:")
        st.rerun()


def _fields(person: PersonTotals) -> Quota:
    """Draw one field a limit, filled with the present one; its label and help are the schema's."""
    now = person.quota or Quota(user_id=person.user_id)
    storage_gb = None if now.storage_bytes is None else now.storage_bytes / GB
    live_jobs = _field(person, "max_live_jobs", now.max_live_jobs, step=1)
    running = _field(person, "running_jobs", now.running_jobs, step=1)
    hours = _field(person, "gpu_hours_per_month", now.gpu_hours_per_month, step=10.0, unit="a month")
    storage = _field(person, "storage_bytes", storage_gb, step=10.0, unit="in GB")
    usd = _field(person, "usd_per_month", now.usd_per_month, step=5.0, unit="in dollars a month")
    return Quota(
        user_id=person.user_id,
        max_live_jobs=live_jobs,
        running_jobs=running,
        gpu_hours_per_month=hours,
        storage_bytes=None if storage is None else round(storage * GB),
        usd_per_month=usd,
    )


def _field(
    person: PersonTotals, name: str, now: Number | None, *, step: Number, unit: str = ""
) -> Number | None:
    field, key = Quota.model_fields[name], f"{name}_{person.user_id}"
    session.prefill(key, now)
    value: Number | None = st.number_input(
        f"{field.title} {unit}".strip(),
        value=None,
        min_value=type(step)(0),
        step=step,
        help=field.description,
        placeholder="no limit",
        key=key,
    )
    return value
