"""Which column plays which part: shown, and changed by hand where detection is unsure or the person knows better."""

import streamlit as st

from lora_core.actions.datasets import DatasetView, map_columns
from lora_core.schema.dataset import CheckReport, ColumnMapping, Dataset, DatasetFormat
from pages.widgets import session
from pages.widgets.dataset_actions import draw_convert_button
from pages.widgets.dataset_words import FORMAT
from pages.widgets.errors import shown
from pages.widgets.plain import plain

_SYSTEM = ("system", "System prompt", False)
_TOOLS = ("tools", "Functions it may call", False)
PARTS: dict[DatasetFormat, tuple[tuple[str, str, bool], ...]] = {
    DatasetFormat.MESSAGES: (("messages", "Turns", True), _SYSTEM, _TOOLS),
    DatasetFormat.SHAREGPT: (("messages", "Turns", True), _SYSTEM, _TOOLS),
    DatasetFormat.ALPACA: (
        ("instruction", "Instruction", True),
        ("input", "Input", False),
        ("output", "Answer to learn", True),
        _SYSTEM,
    ),
    DatasetFormat.PROMPT_COMPLETION: (
        ("prompt", "Prompt", True),
        ("completion", "Answer to learn", True),
        _SYSTEM,
        _TOOLS,
    ),
    DatasetFormat.PREFERENCE: (
        ("chosen", "Chosen answer", True),
        ("rejected", "Rejected answer", True),
        ("prompt", "Prompt", False),
        _SYSTEM,
        _TOOLS,
    ),
    DatasetFormat.UNPAIRED_PREFERENCE: (
        ("prompt", "Prompt, or the whole conversation", True),
        ("completion", "Answer, if it is not the last turn", False),
        ("label", "True if it is good", True),
        _SYSTEM,
        _TOOLS,
    ),
    DatasetFormat.TEXT: (("text", "Text", True),),
}
"""Parts of each format: field of ColumnMapping, label, and whether it must be chosen."""

DEFAULT_COLUMN = "the format's own name"


def draw_mapping(view: DatasetView) -> None:
    """Draw the editor: format, then a column for each of its parts."""
    dataset, report = view.dataset, view.dataset.report
    if report is None:
        return
    if not report.columns:
        st.caption("This file has no columns: every line is a text.")
        return
    chosen_format, known = _start(dataset, report)
    if dataset.format is DatasetFormat.UNKNOWN:
        st.info(plain(report.format_reason), icon=":material/alt_route:")
    formats = list(PARTS)
    dataset_format = st.radio(
        "How are the rows laid out?",
        formats,
        index=formats.index(chosen_format) if chosen_format in formats else None,
        format_func=lambda choice: FORMAT[choice][0],
        captions=[FORMAT[choice][1] for choice in formats],
        key=f"format_{dataset.id}",
        disabled=view.busy,
    )
    if dataset_format is None:
        return
    mapping, missing = _columns(dataset, report, dataset_format, known, disabled=view.busy)
    if missing:
        st.caption(f"Still to choose: {', '.join(missing)}.")
    with st.container(horizontal=True, key="mapping_buttons"):
        uses = st.button(
            "Use these columns and check again",
            type="primary",
            icon=":material/fact_check:",
            key="map",
            disabled=view.busy or bool(missing),
        )
        draw_convert_button(dataset, busy=view.busy)
    if uses:
        with shown():
            map_columns(session.workspace(), dataset.id, dataset_format, mapping)
            st.rerun()


def _start(dataset: Dataset, report: CheckReport) -> tuple[DatasetFormat, ColumnMapping]:
    """What the editor shows first: what is in use, or what the check suggests."""
    if dataset.format is not DatasetFormat.UNKNOWN:
        return dataset.format, dataset.mapping
    return report.suggested_format, report.mapping


def _columns(
    dataset: Dataset,
    report: CheckReport,
    dataset_format: DatasetFormat,
    known: ColumnMapping,
    *,
    disabled: bool,
) -> tuple[ColumnMapping, list[str]]:
    """Draw one choice for each part; return the mapping and the labels of parts that are missing."""
    chosen: dict[str, str | None] = {}
    missing = []
    parts = PARTS[dataset_format]
    for cell, (part, label, required) in zip(st.columns(max(len(parts), 3)), parts, strict=False):
        column = getattr(known, part) or _own_column(part, report.columns)
        chosen[part] = cell.selectbox(
            label if required else f"{label} (optional)",
            report.columns,
            index=report.columns.index(column) if column in report.columns else None,
            format_func=plain,
            placeholder="Choose a column" if required else "None",
            key=f"column_{dataset.id}_{dataset_format.value}_{part}",
            disabled=disabled,
        )
        if required and chosen[part] is None:
            missing.append(label)
    return ColumnMapping(**chosen), missing


def _own_column(part: str, columns: tuple[str, ...]) -> str | None:
    names = ("messages", "conversations", "conversation") if part == "messages" else (part,)
    return next((name for name in names if name in columns), None)
