"""A new job, step by step: data, base model, preset, the few knobs that matter, a review, and the start."""

from collections.abc import Sequence
from dataclasses import replace

import streamlit as st

from lora_core.actions import configs, datasets
from lora_core.actions.workspace import Workspace
from lora_core.errors import ConfigError
from lora_core.schema.config import TrainingConfig
from lora_core.schema.dataset import Dataset, DatasetFormat
from pages.widgets import session
from pages.widgets.config_form import alert_inputs, config_inputs, section_keys, sections
from pages.widgets.empty import empty_state
from pages.widgets.errors import show_error, shown
from pages.widgets.links import open_page
from pages.widgets.saved_configs import draw_configs
from pages.widgets.session import Draft
from pages.widgets.train_choices import choose_dataset, choose_model, choose_preset
from pages.widgets.train_review import draw_rate_advice, draw_review

DEFAULT_PRESET = "balanced"
MAIN_KNOBS = (
    "optimisation.epochs",
    "optimisation.learning_rate",
    "adapter.rank",
    "adapter.alpha",
    "data.max_length",
    "data.validation_fraction",
    "optimisation.micro_batch_size",
    "optimisation.accumulation_steps",
)
ELSEWHERE = ("model.base", "data.validation_dataset_id")
"""Fields that are not among the settings: chosen above, or only in the YAML view."""


def render() -> None:
    """Draw the form."""
    st.title("New job", anchor=False)
    with shown():
        workspace = session.workspace()
        stored = datasets.list_datasets(workspace, limit=200).items
        if not stored:
            _draw_no_data()
            return
        _draw_form(workspace, stored)


def _draw_form(workspace: Workspace, stored: Sequence[Dataset]) -> None:
    draft = session.draft(configs.config_from_preset(DEFAULT_PRESET))
    dataset = choose_dataset(stored, draft)
    model = choose_model(workspace, draft)
    choose_preset(draft)
    config = _draw_knobs(workspace, draft, dataset, model)
    _draw_expert(draft, config)
    _draw_configs(workspace, draft, config)
    if config is not None:
        session.keep_draft(replace(draft, config=config, dataset_id=dataset.id))
        draw_review(workspace, draft, dataset, config)


def _draw_knobs(workspace: Workspace, draft: Draft, dataset: Dataset, model: str) -> TrainingConfig | None:
    """Draw the inputs and return the config they make, or None while it is not valid."""
    st.subheader("4 · Settings", anchor=False)
    changes = config_inputs(draft.config, MAIN_KNOBS, revision=draft.revision)
    advice = st.container(key="advice")
    with st.expander("More settings", icon=":material/tune:", key="more_settings"):
        for section, title in sections().items():
            rest = [key for key in section_keys(section) if key not in (*MAIN_KNOBS, *ELSEWHERE)]
            if rest:
                st.markdown(f"**{title}**")
                changes |= config_inputs(draft.config, rest, revision=draft.revision)
    with st.expander("Alerts", icon=":material/notification_important:", key="alerts"):
        st.caption("What the job watches itself for, and what it does when it happens.")
        changes |= alert_inputs(draft.config, revision=draft.revision)
    if model:
        changes["model.base"] = model
    if dataset.format is DatasetFormat.TEXT and changes["data.loss_on"] != "all":
        changes["data.loss_on"] = "all"
        st.caption("Plain text has no answers, so every token is learned.")
    try:
        if not model:
            raise ConfigError("No base model is chosen.", "Enter a Hugging Face id or a folder above.")
        config = configs.change_config(draft.config, changes)
    except ConfigError as error:
        show_error(error)
        return None
    with advice:
        draw_rate_advice(workspace, draft, config)
    return config


def _draw_expert(draft: Draft, config: TrainingConfig | None) -> None:
    with st.expander("The same as YAML", icon=":material/code:", key="expert"):
        current = configs.config_to_yaml(config or draft.config)
        text = st.text_area(
            "Training config",
            current,
            height=420,
            key=f"yaml_{draft.revision}_{hash(current)}",
            label_visibility="collapsed",
        )
        if st.button("Apply", icon=":material/check:", key="apply_yaml"):
            try:
                session.keep_draft(
                    replace(draft, config=configs.config_from_yaml(text), revision=draft.revision + 1)
                )
            except ConfigError as error:
                show_error(error)
            else:
                st.rerun()


def _draw_configs(workspace: Workspace, draft: Draft, config: TrainingConfig | None) -> None:
    def use(chosen: TrainingConfig) -> None:
        session.keep_draft(replace(draft, config=chosen, revision=draft.revision + 1))
        st.rerun()

    draw_configs(workspace, config, use, revision=draft.revision)


def _draw_no_data() -> None:
    with empty_state(
        ":material/dataset:", "First, some data", "A job needs a data set to learn from.", key="no_data"
    ):
        if st.button("Upload a data set", type="primary", icon=":material/upload:", key="to_datasets"):
            open_page("datasets")
