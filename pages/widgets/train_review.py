"""The end of the form for a new job: what it comes to, and the start."""

from dataclasses import replace

import streamlit as st

from lora_core.actions import base_models, configs, jobs
from lora_core.actions.audit import require_something_to_learn
from lora_core.actions.workspace import Workspace
from lora_core.errors import ConfigError, StudioError
from lora_core.schema.config import TrainingConfig
from lora_core.schema.dataset import Dataset, DatasetStatus
from lora_core.schema.methods import why_untrainable
from pages.widgets import formats, session
from pages.widgets.dataset_audit import draw_audit_hint
from pages.widgets.errors import show_error
from pages.widgets.links import open_page
from pages.widgets.plain import plain
from pages.widgets.session import Draft
from pages.widgets.train_estimate import draw_estimate

FACT_HELP = {
    "Rows per update": "Micro-batch x accumulation: the effective batch.",
    "Updates": "From rows, batch, epochs and step limit.",
}


def draw_review(workspace: Workspace, draft: Draft, dataset: Dataset, config: TrainingConfig) -> None:
    """Draw rows, updates and changed settings; the button submits the job under the draft's id."""
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
        draw_audit_hint(dataset, config)
        expected_seconds = draw_estimate(workspace, draft, dataset, config)
        proposed = f"{dataset.name} · {config.model.base}"[: jobs.MAX_NAME]
        name = st.text_input("Name of the job", placeholder=proposed, max_chars=jobs.MAX_NAME, key="name")
        fits = _fits(dataset, config)
        if not jobs.online_runners(workspace):
            st.warning(
                "The job will wait until one is. Start one with `python -m runner`, or restart the studio with `make start`.",
                title="No runner is online",
                icon=":material/power_off:",
            )
        if st.button("Start", type="primary", icon=":material/play_arrow:", key="start", disabled=not fits):
            _start(workspace, draft, dataset, config, name.strip() or proposed, expected_seconds)


def draw_rate_advice(workspace: Workspace, draft: Draft, config: TrainingConfig) -> None:
    """Offer the learning rate that the model's width suggests, where the chosen one is far below it."""
    rate = base_models.look_up_model(workspace, config.model.base).learning_rate
    if rate is None or config.optimisation.learning_rate * 2 > rate:
        return
    with st.container(horizontal=True, vertical_alignment="center", key="rate_advice"):
        st.caption(
            f":material/lightbulb: Models of this width learn faster at {rate:.1e}. "
            f"{config.optimisation.learning_rate:.1e} is slower and safer.",
            width="content",
        )
        if st.button(f"Use {rate:.1e}", key="use_rate"):
            changed = configs.change_config(config, {"optimisation.learning_rate": rate})
            session.keep_draft(replace(draft, config=changed, revision=draft.revision + 1))
            st.rerun()


def _fits(dataset: Dataset, config: TrainingConfig) -> bool:
    """Show why this config cannot be trained on this data set, if so."""
    try:
        jobs.check_fit(config, dataset)
        require_something_to_learn(config, dataset)
    except ConfigError as error:
        show_error(error)
        return False
    return dataset.status is DatasetStatus.READY and why_untrainable(dataset.format) is None


def _start(
    workspace: Workspace,
    draft: Draft,
    dataset: Dataset,
    config: TrainingConfig,
    name: str,
    expected_seconds: float | None,
) -> None:
    try:
        job = jobs.submit_job(
            workspace,
            name=name,
            dataset_id=dataset.id,
            config=config,
            job_id=draft.job_id,
            estimated_seconds=expected_seconds,
        )
    except StudioError as error:
        show_error(error)
        return
    session.drop_draft()
    open_page("job", id=job.id)
