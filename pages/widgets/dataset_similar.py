"""Rows of a data set that repeat others: looking for them, and what was found."""

import streamlit as st

from lora_core.actions.datasets import DatasetView, find_similar, list_datasets
from lora_core.schema.config import TrainingConfig
from lora_core.schema.dataset import DatasetFormat, SimilarReport
from pages.widgets import session
from pages.widgets.dataset_words import many
from pages.widgets.errors import shown
from pages.widgets.plain import plain

NO_OTHER = ""


def draw_similar(view: DatasetView) -> None:
    """Draw the panel: what is known, and the way to find out."""
    report = view.dataset.report
    if report is None or view.dataset.format is DatasetFormat.UNKNOWN or not report.good_rows:
        return
    found = report.similar
    title = "Near-duplicates and leaks into validation"
    with st.expander(title, icon=":material/content_copy:", expanded=found is not None, key="similar"):
        if found is None:
            st.caption(
                "Rows that say nearly the same teach nothing new, and make validation look better than it is when one of "
                "them is trained on. The check only finds exact ones; this takes longer."
            )
        else:
            st.markdown("\n".join(f"- {line}" for line in _findings(found)))
        _ask(view)


def _findings(found: SimilarReport) -> list[str]:
    lines = [
        f"{many(found.near_duplicate_rows, 'row')} nearly repeat an earlier row "
        f"(at least {found.similarity:.0%} of their three-word runs are the same)."
    ]
    if found.validation_fraction:
        lines.append(
            f"A split that keeps {found.validation_fraction:.0%} for validation (seed {found.seed}) has "
            f"{many(found.across_split_rows, 'validation row')} with a near-duplicate in training. "
            "Exact duplicates always stay on one side."
        )
    if found.compared_with:
        lines.append(
            f"{many(found.in_both_rows, 'row is', 'rows are')} also in {plain(found.compared_name)}, "
            f"{many(found.near_in_both_rows, 'more is', 'more are')} nearly."
        )
    return lines


def _ask(view: DatasetView) -> None:
    usual = TrainingConfig()
    others = {
        dataset.id: dataset.name
        for dataset in list_datasets(session.workspace(), limit=100).items
        if dataset.id != view.dataset.id and dataset.format is not DatasetFormat.UNKNOWN
    }
    with st.container(horizontal=True, vertical_alignment="bottom"):
        other = st.selectbox(
            "Validation data set",
            [NO_OTHER, *others],
            format_func=lambda choice: others.get(choice, "None: look at the split"),
            key="similar_other",
        )
        if st.button("Look for them", icon=":material/content_copy:", key="similar_do", disabled=view.busy):
            with shown():
                find_similar(
                    session.workspace(),
                    view.dataset.id,
                    compare_with=other,
                    validation_fraction=0.0 if other else usual.data.validation_fraction,
                    seed=usual.optimisation.seed,
                )
                st.rerun()
