"""A new job, step by step: data, base model, preset, the few knobs that matter, a review, and the start."""

from collections.abc import Sequence
from dataclasses import replace

import streamlit as st

from lora_core.actions import base_models, configs, datasets, jobs
from lora_core.actions.base_models import BaseModelChoice
from lora_core.actions.workspace import Workspace
from lora_core.errors import ConfigError, StudioError
from lora_core.schema.config import TrainingConfig
from lora_core.schema.dataset import Dataset, DatasetFormat, DatasetStatus
from pages.widgets import formats, session
from pages.widgets.config_form import config_inputs, section_keys, sections
from pages.widgets.empty import empty_state
from pages.widgets.errors import show_error, shown
from pages.widgets.links import open_page, page_link
from pages.widgets.plain import plain
from pages.widgets.session import Draft

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
FACT_HELP = {
    "Rows per update": "Micro-batch x accumulation: the effective batch.",
    "Updates": "From rows, batch, epochs and step limit. Packing makes it fewer.",
}
OTHER_MODEL = "Another model ..."


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
    dataset = _choose_dataset(stored, draft)
    model = _choose_model(workspace, draft)
    _choose_preset(draft)
    config = _draw_knobs(draft, dataset, model)
    _draw_expert(draft, config)
    if config is not None:
        session.keep_draft(replace(draft, config=config, dataset_id=dataset.id))
        _draw_review(workspace, draft, dataset, config)


def _choose_dataset(stored: Sequence[Dataset], draft: Draft) -> Dataset:
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


def _choose_model(workspace: Workspace, draft: Draft) -> str:
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


def _choose_preset(draft: Draft) -> None:
    st.subheader("3 · Preset", anchor=False)
    presets = configs.list_presets()
    for column, preset in zip(st.columns(len(presets)), presets, strict=True):
        with column, st.container(border=True, height="stretch", key=f"preset_card_{preset.name}"):
            st.markdown(f"**{plain(preset.title)}**")
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
                chosen = configs.change_config(preset.config(), {"model.base": base})
                session.keep_draft(replace(draft, config=chosen, revision=draft.revision + 1))
                st.rerun()


def _draw_knobs(draft: Draft, dataset: Dataset, model: str) -> TrainingConfig | None:
    """Draw the inputs and return the config they make, or None while it is not valid."""
    st.subheader("4 · Settings", anchor=False)
    changes = config_inputs(draft.config, MAIN_KNOBS, revision=draft.revision)
    with st.expander("More settings", icon=":material/tune:", key="more_settings"):
        for section, title in sections().items():
            rest = [key for key in section_keys(section) if key not in (*MAIN_KNOBS, *ELSEWHERE)]
            st.markdown(f"**{title}**")
            changes |= config_inputs(draft.config, rest, revision=draft.revision)
    if model:
        changes["model.base"] = model
    if dataset.format is DatasetFormat.TEXT and changes["data.loss_on"] != "all":
        changes["data.loss_on"] = "all"
        st.caption("Plain text has no answers, so every token is learned.")
    try:
        if not model:
            raise ConfigError("No base model is chosen.", "Enter a Hugging Face id or a folder above.")
        return configs.change_config(draft.config, changes)
    except ConfigError as error:
        show_error(error)
        return None


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


def _draw_review(workspace: Workspace, draft: Draft, dataset: Dataset, config: TrainingConfig) -> None:
    st.subheader("5 · Review and start", anchor=False)
    optimisation = config.optimisation
    _, start = configs.starting_point(config)
    changed = {
        key: values for key, values in configs.diff_configs(start, config).items() if key != "model.base"
    }
    facts = {
        "Rows": dataset.rows,
        "Rows per update": optimisation.micro_batch_size * optimisation.accumulation_steps,
        "Updates": configs.expected_updates(config, dataset.rows),
        "Changed settings": len(changed),
    }
    with st.container(border=True, key="review"):
        with st.container(horizontal=True, gap="large", key="facts"):
            for label, value in facts.items():
                st.metric(label, formats.count(value), width="content", help=FACT_HELP.get(label))
        for key, (old, new) in changed.items():
            st.caption(f"{plain(key)}: {plain(str(old))} → **{plain(str(new))}**")
        proposed = f"{dataset.name} · {config.model.base}"[: jobs.MAX_NAME]
        name = st.text_input("Name of the job", proposed, max_chars=jobs.MAX_NAME, key="name")
        fits = _fits(dataset, config)
        if not jobs.online_runners(workspace):
            st.warning(
                "The job will wait until one is. Start one with `python -m runner`, or restart the studio with `make start`.",
                title="No runner is online",
                icon=":material/power_off:",
            )
        if st.button("Start", type="primary", icon=":material/play_arrow:", key="start", disabled=not fits):
            _start(workspace, draft, dataset, config, name)


def _fits(dataset: Dataset, config: TrainingConfig) -> bool:
    """Show why this config cannot be trained on this data set, if so."""
    try:
        jobs.check_fit(config, dataset)
    except ConfigError as error:
        show_error(error)
        return False
    return dataset.status is DatasetStatus.READY


def _start(workspace: Workspace, draft: Draft, dataset: Dataset, config: TrainingConfig, name: str) -> None:
    try:
        job = jobs.submit_job(workspace, name=name, dataset_id=dataset.id, config=config, job_id=draft.job_id)
    except StudioError as error:
        show_error(error)
        return
    session.drop_draft()
    open_page("job", id=job.id)


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


def _draw_no_data() -> None:
    with empty_state(
        ":material/dataset:", "First, some data", "A job needs a data set to learn from.", key="no_data"
    ):
        if st.button("Upload a data set", type="primary", icon=":material/upload:", key="to_datasets"):
            open_page("datasets")


def _dataset_words(dataset: Dataset) -> str:
    state = "" if dataset.status is DatasetStatus.READY else f" · {dataset.status.value.replace('_', ' ')}"
    return f"{dataset.name} · {dataset.rows:,} rows{state}"


def _model_words(choice: BaseModelChoice) -> str:
    return f"{choice.info.title}{' · on this machine' if choice.present else ''}"
