"""The choices at the top of the form for a new job: data set, base model, preset."""

from collections.abc import Sequence
from dataclasses import replace

import streamlit as st

from lora_core.actions import base_models, configs, jobs
from lora_core.actions.base_models import BaseModelChoice
from lora_core.actions.configs import Preset
from lora_core.actions.workspace import Workspace
from lora_core.errors import StudioError
from lora_core.schema.dataset import Dataset, DatasetStatus
from pages.widgets import session
from pages.widgets.errors import show_error
from pages.widgets.links import page_link
from pages.widgets.plain import plain
from pages.widgets.session import Draft

OTHER_MODEL = "Another model ..."
CARD_PIXELS = 140
"""Narrowest card of a preset: five fit beside each other on a desk, two on a phone."""


def choose_dataset(stored: Sequence[Dataset], draft: Draft) -> Dataset:
    """Draw the data sets; the address, the draft or the first that is ready says which is chosen at first."""
    st.subheader("1 · Data set", anchor=False)
    ids = [dataset.id for dataset in stored]
    by_id = {dataset.id: dataset for dataset in stored}
    ready = [dataset.id for dataset in stored if dataset.status is DatasetStatus.READY]
    wanted = [st.query_params.get("dataset", ""), draft.dataset_id, *ready, ids[0]]
    chosen = st.selectbox(
        "Data set",
        ids,
        index=ids.index(next(dataset_id for dataset_id in wanted if dataset_id in by_id)),
        format_func=lambda dataset_id: _dataset_words(by_id[dataset_id]),
        key="dataset",
        label_visibility="collapsed",
    )
    dataset = by_id[chosen]
    try:
        jobs.require_ready(dataset)
    except StudioError as error:
        show_error(error)
        page_link("Open the data set", "datasets", icon=":material/dataset:", id=dataset.id)
    return dataset


def choose_model(workspace: Workspace, draft: Draft) -> str:
    """Draw the base models and return the reference of the chosen one, empty while none is named."""
    st.subheader("2 · Base model", anchor=False)
    choices = {choice.info.id: choice for choice in base_models.list_base_models(workspace)}
    options = [*choices, OTHER_MODEL]
    current = draft.config.model.base
    chosen = st.selectbox(
        "Base model",
        options,
        index=options.index(current if current in choices else OTHER_MODEL),
        format_func=lambda model_id: _model_words(choices[model_id]) if model_id in choices else model_id,
        key=f"model_{draft.revision}",
        label_visibility="collapsed",
    )
    if chosen != OTHER_MODEL:
        _draw_model(choices[chosen])
        return chosen
    reference = st.text_input(
        "Hugging Face id or folder",
        "" if current in choices else current,
        placeholder="owner/name, or /home/me/models/mine",
        key=f"reference_{draft.revision}",
    ).strip()
    if reference:
        try:
            _draw_model(base_models.look_up_model(workspace, reference))
        except StudioError as error:
            show_error(error)
    return reference


def choose_preset(draft: Draft) -> None:
    """Draw the presets as cards; choosing one fills the form anew, the base model stays."""
    st.subheader("3 · Preset", anchor=False)
    presets = configs.list_presets()
    _draw_presets([preset for preset in presets if preset.group == "size"], draft)
    by_purpose = [preset for preset in presets if preset.group == "purpose"]
    chosen = any(preset.name == draft.config.preset for preset in by_purpose)
    with st.expander("Presets by purpose", expanded=chosen, icon=":material/category:", key="by_purpose"):
        _draw_presets(by_purpose, draft)


def _draw_presets(presets: Sequence[Preset], draft: Draft) -> None:
    grid = st.grid(len(presets), min_column_width=CARD_PIXELS)
    for preset in presets:
        with grid, st.container(border=True, height="stretch", key=f"preset_card_{preset.name}"):
            st.markdown(f"**{plain(preset.title)}**", help=plain(preset.source))
            st.caption(plain(preset.why))
            st.space("stretch")
            active = draft.config.preset == preset.name
            if st.button(
                "Chosen" if active else "Choose",
                icon=":material/check:" if active else None,
                type="primary" if active else "secondary",
                key=f"preset_{preset.name}",
                width="stretch",
            ):
                base = draft.config.model.base
                config = configs.change_config(preset.config(), {"model.base": base})
                session.keep_draft(replace(draft, config=config, revision=draft.revision + 1))
                st.rerun()


def _draw_model(choice: BaseModelChoice) -> None:
    info = choice.info
    facts = [
        f"{info.parameters / 1e6:,.0f}M parameters" if info.parameters else "",
        f"context {info.context_tokens:,} tokens" if info.context_tokens else "",
        f"licence {plain(info.licence)}" if info.licence else "",
        "on this machine" if choice.present else "is fetched when the job starts",
    ]
    st.caption(" · ".join(fact for fact in facts if fact))
    for note in (info.note, choice.note):
        if note:
            st.caption(plain(note))


def _dataset_words(dataset: Dataset) -> str:
    state = "" if dataset.status is DatasetStatus.READY else f" · {dataset.status.value.replace('_', ' ')}"
    return f"{dataset.name} · {dataset.rows:,} rows{state}"


def _model_words(choice: BaseModelChoice) -> str:
    return f"{choice.info.title}{' · on this machine' if choice.present else ''}"
