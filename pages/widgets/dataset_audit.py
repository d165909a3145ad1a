"""The supervision audit of a data set: how much is learned, what is wrong with it, and rows token by token."""

import html

import streamlit as st

from lora_core.actions.audit import ask_for_audit, audit_for
from lora_core.actions.base_models import list_base_models
from lora_core.actions.datasets import DatasetView, measure_tokens, view_dataset
from lora_core.schema.config import TrainingConfig
from lora_core.schema.dataset import AuditKind, AuditRow, Dataset, DatasetFormat, TokenReport
from lora_core.schema.methods import why_untrainable
from pages.widgets import session
from pages.widgets.dataset_words import many
from pages.widgets.errors import shown
from pages.widgets.links import page_link
from pages.widgets.plain import plain

KINDS = {
    AuditKind.USUAL: "",
    AuditKind.NOTHING_LEARNED: "nothing learned",
    AuditKind.ANSWER_CUT: "answer cut off",
    AuditKind.NO_END: "answer without an end token",
    AuditKind.REFUSED: "refused by the chat template",
}
LOSS = {"completion": "every answer", "last": "the last answer", "all": "every token"}
LEARNED = "background:color-mix(in srgb, #21a366 28%, transparent);border-bottom:2px solid #21a366;border-radius:2px;"
"""Tint and underline: colour is not the only sign. Both go with light and dark."""


def draw_audit(view: DatasetView) -> None:
    """Draw what the newest audit says, and the form for another one."""
    report = view.dataset.report
    tokens = report.tokens if report else None
    if why := why_untrainable(view.dataset.format):
        st.info(f"{plain(why[0])} Lengths can be counted; what is learned shows once that can be trained.")
    if tokens is None:
        st.caption(
            "See before any training which tokens of your rows the model learns to say, and which it only reads."
        )
    _ask(view)
    if tokens is not None:
        _summary(tokens)
        _rows(tokens)


def draw_audit_hint(dataset: Dataset, config: TrainingConfig) -> None:
    """Draw, beside a job that is about to start, what it would learn; or the way to find out."""
    tokens = audit_for(dataset, config)
    if tokens is not None:
        st.caption(f":material/fact_check: {_share(tokens)}")
        _warnings(tokens)
        return
    with st.container(horizontal=True, vertical_alignment="center", key="audit_hint"):
        if view_dataset(session.workspace(), dataset.id).busy:
            st.caption(":material/hourglass_empty: A runner is at work on the data set.", width="content")
        else:
            st.caption("Which tokens this job would learn has not been looked at.", width="content")
            if st.button("Look", icon=":material/fact_check:", key="audit_ask"):
                with shown():
                    ask_for_audit(session.workspace(), dataset.id, config)
                    st.rerun()
        page_link("Open the audit", "datasets", icon=":material/dataset:", id=dataset.id, part="Learned")


def _ask(view: DatasetView) -> None:
    models = {choice.info.id: choice.info.title for choice in list_base_models(session.workspace())}
    last = view.dataset.report.tokens if view.dataset.report else None
    usual = TrainingConfig().data
    with st.container(horizontal=True, vertical_alignment="bottom", key="audit_form"):
        known = list(models)
        model = st.selectbox(
            "Base model",
            known,
            index=known.index(last.model) if last and last.model in models else 0,
            format_func=lambda choice: models[choice],
            key="audit_model",
        )
        length = st.number_input(
            "Longest row", 16, 1_048_576, last.max_length if last else usual.max_length, key="audit_length"
        )
        loss_on = usual.loss_on
        if view.dataset.format is not DatasetFormat.TEXT and why_untrainable(view.dataset.format) is None:
            loss_on = st.selectbox(
                "Learn from",
                list(LOSS),
                format_func=lambda choice: LOSS[choice].capitalize(),
                key="audit_loss",
            )
        if st.button("Audit", type="primary", icon=":material/fact_check:", key="audit", disabled=view.busy):
            with shown():
                measure_tokens(
                    session.workspace(), view.dataset.id, model, max_length=int(length), loss_on=loss_on
                )
                st.rerun()


def _share(tokens: TokenReport) -> str:
    share = tokens.learned_tokens / tokens.kept_tokens if tokens.kept_tokens else 0.0
    return f"{tokens.learned_tokens:,} of {tokens.kept_tokens:,} tokens are learned ({share:.0%})."


def _summary(tokens: TokenReport) -> None:
    st.markdown(
        f"**{_share(tokens)}**" if tokens.kept_tokens else "Made by an earlier version: audit it again."
    )
    learned = f" Learned: {LOSS[tokens.loss_on]}." if tokens.loss_on in LOSS else ""
    st.caption(
        f"{many(tokens.counted_rows, 'row')} with the tokenizer of {plain(tokens.model)}, "
        f"cut at {tokens.max_length:,} tokens.{learned}"
    )
    _warnings(tokens)


def _warnings(tokens: TokenReport) -> None:
    """Draw what is wrong, or nothing."""
    if tokens.counted_rows and tokens.nothing_to_learn_rows == tokens.counted_rows:
        st.error(
            "No row has a learned token: a job with these settings does not start.", icon=":material/block:"
        )
        return
    found = {
        "Nothing to learn, so they are left out": tokens.nothing_to_learn_rows,
        f"The end of an answer is cut off at {tokens.max_length:,} tokens": tokens.answer_cut_rows,
        "No token ends an answer, so the model does not learn to stop": tokens.no_end_rows,
        "Refused by the chat template; a job would stop there": tokens.refused_rows,
    }
    lines = [f"{words}: {many(count, 'row')}" for words, count in found.items() if count]
    if not tokens.own_template:
        lines.append(
            "The model has no chat template; a plain one with headings is used, which is no model's own."
        )
    if lines:
        st.warning("  \n".join(lines), icon=":material/rule:")


def _rows(tokens: TokenReport) -> None:
    if not tokens.audit:
        return
    chosen = st.pills(
        "Rows",
        range(len(tokens.audit)),
        default=0,
        format_func=lambda place: _title(tokens.audit[place]),
        key=f"audit_row_{len(tokens.audit)}",
    )
    if chosen is None:
        return
    row = tokens.audit[chosen]
    with st.container(border=True, key="audit_tokens"):
        if row.message:
            st.markdown(f":red[:material/error: {plain(row.message)}]")
            return
        st.caption(
            f"Line {row.line:,} · {many(row.tokens, 'token')}, {row.learned:,} learned. "
            "Underlined tokens are learned, the others only read. Hover for the id."
        )
        st.html(_tokens(row), width="stretch")


def _title(row: AuditRow) -> str:
    return f"Row {row.row:,}" + (f": {KINDS[row.kind]}" if KINDS[row.kind] else "")


def _tokens(row: AuditRow) -> str:
    """The tokens as HTML; texts are escaped, and an id without a text of its own is shown as a dot."""
    parts = [f"… {row.start:,} tokens before … "] if row.start else []
    for number, piece, flag in zip(row.ids, row.pieces, row.mask, strict=True):
        text = html.escape(piece).replace("\n", "↵\n") or "·"
        style = f' style="{LEARNED}"' if flag == "1" else ""
        parts.append(f'<span title="{number}"{style}>{text}</span>')
    rest = row.tokens - row.start - len(row.ids)
    if rest > 0:
        parts.append(f" … {rest:,} tokens more")
    return (
        '<div style="white-space:pre-wrap;overflow-wrap:anywhere;font-family:var(--st-code-font, monospace);'
        f'font-size:0.85rem;line-height:1.9">{"".join(parts)}</div>'
    )
