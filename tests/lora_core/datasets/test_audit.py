"""The audit counts and shows what is learned, and names each way in which that can go wrong."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lora_core.datasets.audit import SHOWN_TOKENS, pieces
from lora_core.datasets.measure import measure_tokens
from lora_core.datasets.tokenizer import ChatTokenizer
from lora_core.errors import DataError
from lora_core.schema.dataset import AuditKind, DatasetFormat, TokenReport
from tests.lora_core.datasets.conftest import CHATML

Write = Callable[[str, bytes | str], Path]
Folder = Callable[[str | None], Path]


def row(question: str, answer: str, **extra: Any) -> dict[str, Any]:
    return {
        "messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer} | extra]
    }


def audited(
    write: Write,
    tokenizer: ChatTokenizer,
    rows: list[dict[str, Any]],
    format: DatasetFormat = DatasetFormat.MESSAGES,
    **settings: Any,
) -> TokenReport:
    path = write("rows.jsonl", "".join(json.dumps(each) + "\n" for each in rows))
    chosen = {"max_length": 64, "loss_on": "completion"} | settings
    return measure_tokens(path, format, None, tokenizer, model="tiny", **chosen)


def test_learned_tokens_are_marked_and_counted(write: Write, chatml: ChatTokenizer) -> None:
    report = audited(write, chatml, [row("What is two plus two?", "It is four.")] * 2)
    (shown, _) = report.audit
    learned = "".join(piece for piece, flag in zip(shown.pieces, shown.mask, strict=True) if flag == "1")
    assert learned == "It is four.<|im_end|>"
    assert "".join(shown.pieces) == chatml.decode(list(shown.ids))
    assert (shown.kind, shown.line, shown.tokens) == (AuditKind.USUAL, 1, len(shown.ids))
    assert shown.learned == shown.mask.count("1")
    assert (report.learned_tokens, report.kept_tokens) == (2 * shown.learned, 2 * shown.tokens)
    assert (report.counted_rows, report.own_template) == (2, True)


def test_rows_with_nothing_to_learn_are_shown(write: Write, chatml: ChatTokenizer) -> None:
    rows = [row("Hello there!", "Hi."), row("Hello there!", "Hi.", weight=0), row("Hello " * 90, "Hi.")]
    report = audited(write, chatml, rows)
    assert report.nothing_to_learn_rows == 2
    assert [shown.line for shown in report.audit if shown.kind is AuditKind.NOTHING_LEARNED] == [2, 3]
    assert report.answer_cut_rows == 0


def test_answers_that_are_cut_off_are_shown_as_the_trainer_cuts_them(
    write: Write, chatml: ChatTokenizer
) -> None:
    report = audited(write, chatml, [row("Hello there!", "It is four, of course. " * 20)])
    (shown,) = report.audit
    assert (shown.kind, shown.tokens, report.answer_cut_rows, report.over_length_rows) == (
        AuditKind.ANSWER_CUT,
        64,
        1,
        1,
    )
    assert shown.mask.endswith("1")


def test_a_template_that_ends_no_answer_is_told(write: Write, model_folder: Folder) -> None:
    template = CHATML.replace("<|im_end|>", "")
    report = audited(write, ChatTokenizer.load(model_folder(template)), [row("a", "b")] * 3)
    assert report.no_end_rows == 3
    assert {shown.kind for shown in report.audit} == {AuditKind.NO_END}


@pytest.mark.parametrize("loss_on", ["completion", "last", "all"])
def test_a_usual_template_ends_every_answer(write: Write, chatml: ChatTokenizer, loss_on: str) -> None:
    assert audited(write, chatml, [row("a", "b")], loss_on=loss_on).no_end_rows == 0


def test_rows_that_the_template_refuses_are_counted(write: Write, model_folder: Folder) -> None:
    template = (
        "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
        + CHATML
    )
    refused = {"messages": [{"role": "system", "content": "s"}, *row("a", "b")["messages"]]}
    report = audited(write, ChatTokenizer.load(model_folder(template)), [row("a", "b"), refused])
    assert (report.refused_rows, report.counted_rows) == (1, 1)
    (shown,) = [each for each in report.audit if each.kind is AuditKind.REFUSED]
    assert (shown.line, "System role not supported" in shown.message) == (2, True)


def test_a_base_model_is_told_to_have_no_template(write: Write, model_folder: Folder) -> None:
    assert not audited(write, ChatTokenizer.load(model_folder(None)), [row("a", "b")]).own_template


def test_a_late_answer_is_shown_with_what_comes_before_it(write: Write, chatml: ChatTokenizer) -> None:
    report = audited(write, chatml, [row("What is two plus two? " * 200, "It is four.")], max_length=9999)
    (shown,) = report.audit
    assert shown.start > 0
    assert len(shown.ids) <= SHOWN_TOKENS
    assert "1" in shown.mask
    assert shown.start + len(shown.ids) <= shown.tokens


def test_a_large_file_shows_a_few_rows_only(write: Write, chatml: ChatTokenizer) -> None:
    report = audited(write, chatml, [row(f"Question {number}?", "It is so.") for number in range(600)])
    assert report.counted_rows == 600
    assert [shown.row for shown in report.audit] == [1, 2, 3, 4]


def test_both_answers_of_a_pair_are_counted_and_none_is_shown_yet(
    write: Write, chatml: ChatTokenizer
) -> None:
    pair = {"prompt": "Is it good?", "chosen": "Yes.", "rejected": "No, it is not good at all."}
    report = audited(write, chatml, [pair], DatasetFormat.PREFERENCE, loss_on="last")
    sides = [
        audited(write, chatml, [row("Is it good?", pair[side])], loss_on="last")
        for side in ("chosen", "rejected")
    ]
    assert report.learned_tokens == sum(side.learned_tokens for side in sides)
    assert report.lengths.maximum == sides[1].lengths.maximum
    assert report.audit == ()


def test_no_usable_row_is_an_error(write: Write, chatml: ChatTokenizer) -> None:
    with pytest.raises(DataError, match="No row of the file can be used"):
        audited(write, chatml, [{"messages": []}])


@pytest.mark.parametrize("text", ["plain", "é😀 ñ", "学习 语言", "\ufffd lost", ""])
def test_pieces_join_to_the_text(chatml: ChatTokenizer, text: str) -> None:
    ids = chatml.encode(text)
    assert "".join(pieces(ids, chatml)) == text
    assert len(pieces(ids, chatml)) == len(ids)
