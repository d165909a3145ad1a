"""What the check of a data set found: the summary cards, the faults by line, and the lengths."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from lora_core.actions.base_models import list_base_models
from lora_core.actions.datasets import DatasetView, droppable, measure_tokens
from lora_core.schema.dataset import CheckReport, Dataset, DatasetFormat, DropKind, RowIssue
from pages.widgets import downloads, session
from pages.widgets.dataset_actions import ask_drop
from pages.widgets.dataset_similar import draw_similar
from pages.widgets.dataset_words import FORMAT, many
from pages.widgets.errors import shown
from pages.widgets.histogram import draw_histogram
from pages.widgets.plain import plain

CARD_WIDTH = 155


def draw_summary(dataset: Dataset, report: CheckReport) -> None:
    """Draw the cards at the top: rows, problems, format, length."""
    grid = st.grid(4, min_column_width=CARD_WIDTH, key="summary")
    good = f"{report.good_rows:,} can be learned from"
    if dataset.format is DatasetFormat.UNKNOWN:
        good = "what is good shows once columns are mapped"
    elif report.good_rows == report.rows:
        good = "all can be learned from"
    _card(grid, "Rows", f"{report.rows:,}", good, icon=":material/table_rows:")
    problems = f"{report.error_rows:,}" if report.error_rows else "None"
    notes = (
        [many(report.warning_rows, "row with a warning", "rows with warnings")] if report.warning_rows else []
    )
    notes += [many(report.duplicate_rows, "duplicate")] if report.duplicate_rows else []
    _card(grid, "Bad rows", problems, " · ".join(notes) or "no warnings", icon=":material/rule:")
    title = FORMAT[dataset.format][0]
    by_hand = dataset.format is not DatasetFormat.UNKNOWN and dataset.format is not report.format
    sure = "chosen by hand" if by_hand else f"{report.confidence:.0%} sure"
    if dataset.format is DatasetFormat.UNKNOWN:
        sure = "choose it under Columns"
    _card(grid, "Format", title, sure, icon=":material/schema:", help=plain(report.format_reason) or None)
    if report.tokens:
        lengths, unit = report.tokens.lengths, "tokens"
    else:
        lengths, unit = report.characters, "characters"
    if lengths:
        spread = f"{unit}; 95 % are under {lengths.p95:,.0f}, the longest has {lengths.maximum:,.0f}"
        _card(grid, "Median row", f"{lengths.median:,.0f}", spread, icon=":material/straighten:")


def draw_issues(view: DatasetView) -> None:
    """Draw the faults with their line numbers, and what can be done about them."""
    dataset, report = view.dataset, view.dataset.report
    if report is None:
        return
    _offer_drop(view)
    draw_similar(view)
    if not (report.errors or report.warnings):
        st.markdown(":material/check_circle: Every row is fine.")
        return
    if report.issue_counts:
        st.caption(" · ".join(f"{_words(code)}: {count:,}" for code, count in report.issue_counts.items()))
    st.dataframe(
        _table([("Error", report.errors), ("Warning", report.warnings)]),
        hide_index=True,
        key="issues",
        alt="Problems by line, most serious first",
        column_config={
            "Line": st.column_config.NumberColumn(width=80, format="localized"),
            "Kind": st.column_config.TextColumn(width=90),
            "Problem": st.column_config.TextColumn(width=170),
            "Field": st.column_config.TextColumn(width=120),
            "What is wrong": st.column_config.TextColumn(width="large"),
        },
    )
    listed = len(report.errors) + len(report.warnings)
    total = sum(report.issue_counts.values())
    with st.container(horizontal=True, vertical_alignment="center"):
        if total > listed:
            st.caption(f"The first {listed:,} of {total:,} problems.", width="content")
        downloads.link("Download all problems", "issues", dataset.id, key="download_issues")


def draw_lengths(view: DatasetView) -> None:
    """Draw how long rows are, in characters and in tokens of a base model."""
    report = view.dataset.report
    if report is None:
        return
    left, right = st.columns(2)
    with left, st.container(border=True, height="stretch", key="characters"):
        st.subheader("Characters", anchor=False)
        if report.characters:
            draw_histogram(report.characters, "characters", key="characters_chart")
        else:
            st.caption("No row could be measured.")
    with right, st.container(border=True, height="stretch", key="tokens"):
        st.subheader("Tokens", anchor=False)
        if report.tokens:
            _tokens(report)
        else:
            st.caption("Count them with the tokenizer of the base model you mean to train.")
        _measure(view)
    _make_up(report)


def _offer_drop(view: DatasetView) -> None:
    counts = droppable(view.dataset)
    if not counts:
        return
    with st.container(border=True, horizontal=True, vertical_alignment="center", key="drop"):
        bad = counts.get(DropKind.ERRORS, 0)
        st.markdown(
            f"{many(bad, 'row')} cannot be learned from. Correct the file and upload it again, or drop what is bad."
            if bad
            else "Some rows say what other rows already say.",
            width="stretch",
        )
        if st.button(
            "Drop rows",
            icon=":material/filter_alt:",
            key="drop_ask",
            disabled=view.busy or view.dataset.report is None or not view.dataset.report.good_rows,
        ):
            ask_drop(view.dataset)


def _tokens(report: CheckReport) -> None:
    tokens = report.tokens
    if tokens is None:
        return
    draw_histogram(tokens.lengths, "tokens", key="tokens_chart")
    notes = [f"{tokens.lengths.total:,} tokens, {tokens.learned_tokens:,} of them learned"]
    if tokens.over_length_rows:
        notes.append(
            f"{many(tokens.over_length_rows, 'row is', 'rows are')} longer than {tokens.max_length:,}"
        )
    if tokens.nothing_to_learn_rows:
        notes.append(f"{many(tokens.nothing_to_learn_rows, 'row has', 'rows have')} nothing to learn")
    st.caption(f"Tokenizer of {plain(tokens.model)}: {'; '.join(notes)}.")


def _measure(view: DatasetView) -> None:
    models = {choice.info.id: choice.info.title for choice in list_base_models(session.workspace())}
    with st.container(horizontal=True, vertical_alignment="bottom"):
        model = st.selectbox("Base model", list(models), format_func=models.get, key="measure_model")
        if st.button("Count tokens", icon=":material/straighten:", key="measure", disabled=view.busy):
            with shown():
                loss_on = "all" if view.dataset.format is DatasetFormat.TEXT else "completion"
                measure_tokens(session.workspace(), view.dataset.id, model, loss_on=loss_on)
                st.rerun()


def _make_up(report: CheckReport) -> None:
    facts = {
        "Turns": f"{report.turns:,}" if report.turns else "",
        "Turns by role": ", ".join(f"{plain(role)} {count:,}" for role, count in report.roles.items()),
        "File": " ".join(filter(None, [report.file_kind.value, report.compression, report.encoding])),
        "Check took": f"{report.seconds:.1f} s",
    }
    st.caption(" · ".join(f"{name}: {value}" for name, value in facts.items() if value))


def _card(grid: Any, label: str, value: str, note: str, *, icon: str, help: str | None = None) -> None:
    with grid, st.container(border=True, height="stretch", gap="xxsmall"):
        st.metric(label, value, icon=icon, help=help)
        st.caption(note)


def _table(kinds: Sequence[tuple[str, Sequence[RowIssue]]]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "Line": issue.line,
                "Kind": kind,
                "Problem": _words(issue.code),
                "Field": issue.field,
                "What is wrong": issue.message,
            }
            for kind, issues in kinds
            for issue in issues
        ]
    )


def _words(code: str) -> str:
    return code.replace("_", " ").capitalize()
