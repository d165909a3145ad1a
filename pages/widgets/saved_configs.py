"""The configs of a person in the form for a new job: save these settings, take a saved one, compare, tidy up, or take a file."""

from collections.abc import Callable, Sequence

import pandas as pd
import streamlit as st

from lora_core.actions import configs, saved_configs
from lora_core.actions.workspace import Workspace
from lora_core.errors import StudioError
from lora_core.schema.config import TrainingConfig
from lora_core.schema.saved_config import SavedConfig
from pages.widgets import downloads, session
from pages.widgets.config_upload import draw_config_upload
from pages.widgets.errors import show_error, shown
from pages.widgets.plain import plain
from pages.widgets.times import ago

FORM = "These settings"
LISTED = 500

Use = Callable[[TrainingConfig], None]


def draw_configs(workspace: Workspace, config: TrainingConfig | None, use: Use, *, revision: int) -> None:
    """Draw the expander; nothing is asked of the store while it is closed.

    Args:
        config: What the form makes; None while it is not valid.
        use: Called with the config that is taken into the form.
        revision: Changes when the form is filled anew.
    """
    part = st.expander(
        "Configs: save, load, compare",
        icon=":material/bookmarks:",
        key="configs",
        on_change="rerun",
        bind="query-params",
    )
    if not part.open:
        return
    with part, shown():
        stored = saved_configs.list_configs(workspace, limit=LISTED).items
        _draw_save(workspace, stored, config)
        mine, file = st.tabs(["Saved", "From a file"], key="config_source")
        with mine:
            _draw_saved(workspace, stored, config, use)
        with file:
            draw_config_upload(use, revision=revision)


def _draw_save(workspace: Workspace, stored: Sequence[SavedConfig], config: TrainingConfig | None) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom", key="save_config_row"):
        name = st.text_input(
            "Save these settings as",
            max_chars=saved_configs.MAX_NAME,
            placeholder="A name, such as: support tone",
            key="config_name",
        )
        saves = st.button("Save", icon=":material/save:", key="save_config", disabled=config is None)
        taken = any(saved.name == " ".join(name.split()) for saved in stored)
        replaces = taken and st.button(
            "Replace", icon=":material/published_with_changes:", key="replace_config", disabled=config is None
        )
    if config is not None and (saves or replaces):
        try:
            saved = saved_configs.save_config(workspace, name, config, replace=replaces)
        except StudioError as error:
            show_error(error)
        else:
            _done(f"Saved as {plain(saved.name)}.")


def _draw_saved(
    workspace: Workspace, stored: Sequence[SavedConfig], config: TrainingConfig | None, use: Use
) -> None:
    if not stored:
        st.caption("None yet. What is saved here is there for every later job.")
        return
    by_id = {saved.id: saved for saved in stored}
    chosen, other = st.columns(2)
    saved = by_id[
        chosen.selectbox(
            "Saved config", list(by_id), format_func=lambda key: _words(by_id[key]), key="saved_config"
        )
    ]
    if saved.config is None:
        st.warning(plain(saved.fault), title="It cannot be read by this version", icon=":material/help:")
    else:
        others = [key for key, entry in by_id.items() if entry.config is not None and key != saved.id]
        options = [*([FORM] if config is not None else []), *others]
        compared = other.selectbox(
            "Compared with",
            options,
            format_func=lambda key: by_id[key].name if key in by_id else key,
            key="compared_config",
            placeholder="Nothing to compare with",
        )
        if compared is not None:
            against = by_id[compared].config if compared in by_id else config
            _draw_difference(saved, compared if compared == FORM else by_id[compared].name, against)
    _draw_actions(workspace, saved, use)


def _draw_difference(saved: SavedConfig, title: str, against: TrainingConfig | None) -> None:
    if saved.config is None or against is None:
        return
    rows = [
        {"Setting": key, "Saved": _text(here), "Compared": _text(there)}
        for key, (here, there) in configs.diff_configs(saved.config, against).items()
    ]
    if not rows:
        st.caption(f"The same as {'these settings' if title == FORM else plain(title)}.")
        return
    st.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        width="stretch",
        key="configs_difference",
        column_config={"Saved": saved.name, "Compared": title},
    )


def _draw_actions(workspace: Workspace, saved: SavedConfig, use: Use) -> None:
    with st.container(horizontal=True, vertical_alignment="center", key="saved_config_actions"):
        if saved.config is not None:
            if st.button("Use it", type="primary", icon=":material/check:", key="use_saved"):
                use(saved.config)
            downloads.link("YAML", "config", saved.id, key="config_yaml")
            if st.button("Duplicate", icon=":material/content_copy:", key="duplicate_config"):
                with shown():
                    copy = saved_configs.duplicate_config(workspace, saved.id)
                    _done(f"Saved as {plain(copy.name)}.")
        if st.button("Rename", icon=":material/edit:", key="rename_config"):
            _rename(workspace, saved)
        if st.button("Delete", icon=":material/delete:", key="delete_config"):
            _delete(workspace, saved)


@st.dialog("Rename config", icon=":material/edit:")
def _rename(workspace: Workspace, saved: SavedConfig) -> None:
    with st.form("rename_config_form", border=False):
        name = st.text_input("Name", saved.name, max_chars=saved_configs.MAX_NAME, key="new_config_name")
        if st.form_submit_button("Rename", type="primary", key="rename_config_do"):
            with shown():
                saved_configs.rename_config(workspace, saved.id, name)
                _done("Renamed.")


@st.dialog("Delete config", icon=":material/delete:")
def _delete(workspace: Workspace, saved: SavedConfig) -> None:
    st.markdown(
        f"Delete **{plain(saved.name)}**? This cannot be undone. Jobs made from it keep their config."
    )
    with st.container(horizontal=True, horizontal_alignment="right"):
        if st.button("Keep it", key="keep_config"):
            st.rerun()
        deletes = st.button(
            "Delete for good", type="primary", icon=":material/delete:", key="delete_config_do"
        )
    if deletes:
        with shown():
            saved_configs.delete_config(workspace, saved.id)
            _done("Deleted.")


def _done(words: str) -> None:
    session.leave_word(words, ":material/check:")
    st.rerun()


def _words(saved: SavedConfig) -> str:
    return f"{saved.name} · {'cannot be read' if saved.config is None else ago(saved.updated_at)}"


def _text(value: object) -> str:
    return "–" if value is None else str(value)
