"""The tabs of the job page beside watching and log: files, config, history."""

import pandas as pd
import streamlit as st

from lora_core.actions import configs, jobs, results
from lora_core.actions.workspace import Workspace
from lora_core.errors import StudioError
from lora_core.schema.artifact import Artifact, ArtifactKind
from lora_core.schema.job import Job, JobEvent
from pages.widgets import downloads, formats, session
from pages.widgets.badges import status_word
from pages.widgets.empty import empty_state
from pages.widgets.job_estimate import draw_expectations
from pages.widgets.plain import plain
from pages.widgets.times import local_time, zone_words


def draw_files(workspace: Workspace, job: Job) -> None:
    """Draw what can be taken home: the adapter, the metrics, the logs, the checkpoints."""
    adapter = results.find_adapter(workspace, job.id)
    checkpoints = results.list_artifacts(workspace, job.id, ArtifactKind.CHECKPOINT)
    if adapter is None and not checkpoints and job.current_step == 0:
        with empty_state(
            ":material/folder_open:",
            "No files yet",
            "Checkpoints, metrics and the adapter appear here as they are saved.",
            key="no_files",
        ):
            return
    if adapter is not None:
        _draw_adapter(adapter)
    with st.container(horizontal=True, vertical_alignment="center", key="files"):
        st.subheader("Checkpoints", anchor=False, width="content")
        st.space("stretch")
        downloads.link("Metrics (CSV)", "metrics", job.id, key="metrics_csv")
    if not checkpoints:
        st.caption("None is kept.")
    for checkpoint in checkpoints:
        _draw_checkpoint(workspace, checkpoint)


def draw_config(workspace: Workspace, job: Job) -> None:
    """Draw the config, and what differs from the preset it started from."""
    name, base = configs.starting_point(job.config)
    differences = {
        key: values for key, values in configs.diff_configs(base, job.config).items() if key != "preset"
    }
    st.subheader(f"Changed from {name}", anchor=False)
    if differences:
        rows = [
            {"Setting": key, name: _text(old), "This job": _text(new)}
            for key, (old, new) in differences.items()
        ]
        st.dataframe(pd.DataFrame(rows), hide_index=True, key="config_diff")
    else:
        st.caption("Nothing.")
    draw_expectations(workspace, job)
    st.subheader("Whole config", anchor=False)
    st.code(configs.config_to_yaml(job.config), language="yaml")


def draw_history(workspace: Workspace, job: Job) -> None:
    """Draw times, attempts and the audit trail."""
    _draw_facts(job)
    st.subheader("Attempts", anchor=False)
    attempts = [
        {
            "Attempt": attempt.number,
            "Runner": attempt.runner_name or attempt.runner_id[:8],
            "From step": attempt.start_step,
            "Started": local_time(attempt.started_at),
            "Ran": formats.duration(formats.run_time(attempt.started_at, attempt.ended_at)),
            "Outcome": attempt.outcome.value if attempt.outcome else "going on",
            "Reason": attempt.reason,
        }
        for attempt in jobs.list_attempts(workspace, job.id)
    ]
    if attempts:
        st.dataframe(pd.DataFrame(attempts), hide_index=True, key="attempts")
    else:
        st.caption("No runner has taken this job yet.")
    with st.container(horizontal=True, vertical_alignment="center", key="audit"):
        st.subheader("Audit trail", anchor=False, width="content")
        st.space("stretch")
        downloads.link("Audit trail (CSV)", "events", job.id, key="events_csv")
    page = jobs.list_events(workspace, job.id)
    events = [
        {
            "When": event.at,
            "Who": "you" if event.actor == workspace.user_id else event.actor,
            "What": event.action,
            "From and to": _transition(event),
            "Why": event.reason,
        }
        for event in page.items
    ]
    moment = st.column_config.DatetimeColumn(
        format="D MMM YYYY, HH:mm:ss", timezone=st.context.timezone, width=165
    )
    st.dataframe(
        pd.DataFrame(events).astype({"When": "datetime64[s, UTC]"}),
        hide_index=True,
        key="events",
        height="content",
        column_config={
            "When": moment,
            "Who": st.column_config.TextColumn(width=155),
            "What": st.column_config.TextColumn(width=175),
            "From and to": st.column_config.TextColumn(width=150),
            "Why": st.column_config.TextColumn(width=280),
        },
    )
    rest = f" These are the newest {len(events)}; the CSV has all." if page.cursor else ""
    st.caption(f"Times in {plain(zone_words())}; the CSV has them in UTC.{rest}")


def _transition(event: JobEvent) -> str:
    """Write a change of state as "Queued → Starting"; nothing where there was none."""
    if event.to_status is None:
        return ""
    before = f"{status_word(event.from_status)} " if event.from_status is not None else ""
    return f"{before}→ {status_word(event.to_status)}"


def _draw_facts(job: Job) -> None:
    moments = {"Submitted": job.created_at, "Started": job.started_at, "Ended": job.ended_at}
    facts = {label: local_time(moment) if moment else formats.UNKNOWN for label, moment in moments.items()}
    facts |= {"Ran": formats.duration(job.elapsed_seconds), "Cost": formats.cost(job.cost_usd)}
    with st.container(border=True, key="facts"):
        for column, (label, value) in zip(st.columns(len(facts)), facts.items(), strict=True):
            with column:
                st.caption(label)
                st.markdown(value)
        st.caption(f"Job id `{job.id}`")


def _draw_adapter(adapter: Artifact) -> None:
    with st.container(border=True, key="adapter_card"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown("**:material/extension: Adapter**", width="content")
            at = f"from step {adapter.step} · " if adapter.step is not None else ""
            st.caption(
                f"{at}{formats.size(adapter.bytes)} · PEFT folder with tokenizer and training config",
                width="content",
            )
            st.space("stretch")
            downloads.link("Download the adapter", "artifact", adapter.id, key="adapter_zip", primary=True)
        st.code(
            'from peft import PeftModel\nmodel = PeftModel.from_pretrained(base_model, "adapter/")',
            language="python",
        )


def _draw_checkpoint(workspace: Workspace, checkpoint: Artifact) -> None:
    with st.container(
        border=True, horizontal=True, vertical_alignment="center", key=f"checkpoint_{checkpoint.id}"
    ):
        st.markdown(f"**Step {checkpoint.step}**", width="content")
        if checkpoint.best:
            st.badge("Best", icon=":material/star:", color="green")
        loss = (
            f"validation loss {formats.loss(checkpoint.eval_loss)} · "
            if checkpoint.eval_loss is not None
            else ""
        )
        st.caption(
            f"{loss}{formats.size(checkpoint.bytes)} · {local_time(checkpoint.created_at)}", width="content"
        )
        st.space("stretch")
        st.button(
            "Pinned" if checkpoint.pinned else "Pin",
            icon=":material/keep:" if checkpoint.pinned else ":material/keep_off:",
            type="tertiary",
            key=f"pin_{checkpoint.id}",
            help="A pinned checkpoint stays when newer ones come.",
            on_click=_pin,
            args=(workspace, checkpoint),
        )
        downloads.link("Download", "artifact", checkpoint.id, key=f"zip_{checkpoint.id}")


def _pin(workspace: Workspace, checkpoint: Artifact) -> None:
    try:
        results.pin_checkpoint(workspace, checkpoint.id, pinned=not checkpoint.pinned)
    except StudioError as error:
        session.leave_word(plain(str(error)), ":material/error:")


def _text(value: object) -> str:
    return "–" if value is None else str(value)
