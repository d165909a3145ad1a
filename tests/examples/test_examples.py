"""What `examples/README.md` promises about the demo task and the format samples.

Knows nothing of the studio's own readers: it opens the files with the standard library only.
"""

import csv
import json
import re
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
SPLITS = {"train": 250, "held_out": 50}
KEYS = ["category", "priority", "order", "refund"]
CATEGORIES = {"billing", "delivery", "defect", "account", "question"}
PRIORITIES = {"low", "normal", "high"}
ORDER_ID = re.compile(r"\b[A-Z]-\d{5}\b")
JSONL_SAMPLES = {
    "sharegpt.jsonl": ["conversations"],
    "messages.jsonl": ["messages"],
    "prompt_completion.jsonl": ["prompt", "completion"],
    "preference.jsonl": ["prompt", "chosen", "rejected"],
    "preference_conversational.jsonl": ["prompt", "chosen", "rejected"],
}

each_split = pytest.mark.parametrize("split", SPLITS)


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def conversations(split: str) -> list[list[dict[str, str]]]:
    return [row["messages"] for row in read_jsonl(EXAMPLES / "support_tickets" / f"{split}.jsonl")]


def tickets(split: str) -> list[str]:
    return [messages[1]["content"] for messages in conversations(split)]


def answers(split: str) -> list[str]:
    return [messages[2]["content"] for messages in conversations(split)]


def labels(split: str) -> list[dict[str, Any]]:
    return [json.loads(answer) for answer in answers(split)]


def jaccard(left: set[str], right: set[str]) -> float:
    return len(left & right) / len(left | right)


def sample(name: str) -> list[dict[str, Any]]:
    return read_jsonl(EXAMPLES / "formats" / name)


@each_split
def test_split_has_its_row_count(split: str) -> None:
    assert len(conversations(split)) == SPLITS[split]


@each_split
def test_every_row_is_a_system_a_user_and_an_assistant_message(split: str) -> None:
    for messages in conversations(split):
        assert [message["role"] for message in messages] == ["system", "user", "assistant"]


def test_the_system_message_is_the_same_in_all_rows() -> None:
    assert len({messages[0]["content"] for split in SPLITS for messages in conversations(split)}) == 1


def test_the_system_message_names_every_key_and_allowed_value() -> None:
    words = set(re.findall(r"\w+", conversations("train")[0][0]["content"]))
    assert {*KEYS, *CATEGORIES, *PRIORITIES, "null", "true", "false"} <= words


@each_split
def test_every_ticket_has_15_to_60_words(split: str) -> None:
    assert [ticket for ticket in tickets(split) if not 15 <= len(ticket.split()) <= 60] == []


@each_split
def test_every_answer_is_compact_json(split: str) -> None:
    for answer in answers(split):
        assert answer == json.dumps(json.loads(answer), separators=(",", ":"))


@each_split
def test_every_answer_has_exactly_the_keys_in_order(split: str) -> None:
    for label in labels(split):
        assert list(label) == KEYS


@each_split
def test_every_answer_has_only_allowed_values(split: str) -> None:
    for label in labels(split):
        assert label["category"] in CATEGORIES
        assert label["priority"] in PRIORITIES
        assert label["order"] is None or ORDER_ID.fullmatch(label["order"])
        assert isinstance(label["refund"], bool)


@each_split
def test_order_is_the_only_order_id_in_the_ticket_or_null(split: str) -> None:
    for ticket, label in zip(tickets(split), labels(split), strict=True):
        assert ORDER_ID.findall(ticket) == ([] if label["order"] is None else [label["order"]])


def test_no_order_id_is_used_twice() -> None:
    uses = Counter(label["order"] for split in SPLITS for label in labels(split) if label["order"])
    assert [order for order, count in uses.items() if count > 1] == []


def test_train_and_held_out_share_no_ticket() -> None:
    assert set(tickets("train")).isdisjoint(tickets("held_out"))


def test_no_two_tickets_are_near_duplicates() -> None:
    words = [set(re.findall(r"\w+", ticket.lower())) for split in SPLITS for ticket in tickets(split)]
    assert max(jaccard(left, right) for left, right in combinations(words, 2)) < 0.6


@each_split
def test_every_category_has_at_least_12_percent(split: str) -> None:
    counts = Counter(label["category"] for label in labels(split))
    assert min(counts[category] for category in CATEGORIES) >= 0.12 * SPLITS[split]


@each_split
def test_every_priority_has_at_least_12_percent(split: str) -> None:
    counts = Counter(label["priority"] for label in labels(split))
    assert min(counts[priority] for priority in PRIORITIES) >= 0.12 * SPLITS[split]


@each_split
def test_refund_is_true_in_25_to_40_percent(split: str) -> None:
    assert 0.25 <= sum(label["refund"] for label in labels(split)) / SPLITS[split] <= 0.40


@each_split
def test_order_is_null_in_25_to_40_percent(split: str) -> None:
    assert 0.25 <= sum(label["order"] is None for label in labels(split)) / SPLITS[split] <= 0.40


@each_split
def test_refund_is_asked_for_only_in_billing_delivery_and_defect(split: str) -> None:
    assert {label["category"] for label in labels(split) if label["refund"]} <= {
        "billing",
        "delivery",
        "defect",
    }


@pytest.mark.parametrize("name", JSONL_SAMPLES)
def test_jsonl_sample_has_8_to_20_rows_with_its_columns(name: str) -> None:
    rows = sample(name)
    assert 8 <= len(rows) <= 20
    assert all(list(row) == JSONL_SAMPLES[name] for row in rows)


def test_alpaca_sample_has_its_columns_and_some_empty_inputs() -> None:
    rows = json.loads((EXAMPLES / "formats" / "alpaca.json").read_text(encoding="utf-8"))
    assert 8 <= len(rows) <= 20
    assert all(list(row) == ["instruction", "input", "output"] for row in rows)
    assert {bool(row["input"]) for row in rows} == {True, False}


def test_sharegpt_turns_alternate_between_human_and_gpt_after_one_optional_system() -> None:
    systems = 0
    for row in sample("sharegpt.jsonl"):
        senders = [turn["from"] for turn in row["conversations"]]
        if senders[0] == "system":
            systems += 1
            senders = senders[1:]
        assert len(senders) >= 4
        assert senders == ["human", "gpt"] * (len(senders) // 2)
    assert systems == 1


def test_messages_sample_has_one_chat_of_several_turns_and_one_with_a_system_message() -> None:
    roles = [[message["role"] for message in row["messages"]] for row in sample("messages.jsonl")]
    assert sorted(Counter(map(tuple, roles)).values()) == [1, 1, len(roles) - 2]
    assert ["system", "user", "assistant"] in roles
    assert ["user", "assistant"] * 2 in roles


@pytest.mark.parametrize("name", ["prompt_completion.jsonl", "preference.jsonl"])
def test_every_field_of_a_text_sample_is_text(name: str) -> None:
    assert all(isinstance(value, str) and value for row in sample(name) for value in row.values())


@pytest.mark.parametrize("name", ["preference.jsonl", "preference_conversational.jsonl"])
def test_chosen_and_rejected_always_differ(name: str) -> None:
    assert all(row["chosen"] != row["rejected"] for row in sample(name))


def test_preference_is_not_decided_by_the_longer_answer_alone() -> None:
    assert any(len(row["chosen"]) < len(row["rejected"]) for row in sample("preference.jsonl"))


def test_conversational_preference_holds_lists_of_messages() -> None:
    for row in sample("preference_conversational.jsonl"):
        roles = [[message["role"] for message in row[column]] for column in ("prompt", "chosen", "rejected")]
        assert roles == [["user"], ["assistant"], ["assistant"]]


def test_text_sample_has_8_to_20_paragraphs_separated_by_blank_lines() -> None:
    paragraphs = (EXAMPLES / "formats" / "text.txt").read_text(encoding="utf-8").strip().split("\n\n")
    assert 8 <= len(paragraphs) <= 20
    assert all(paragraph.strip() and "\n" not in paragraph for paragraph in paragraphs)


def test_csv_sample_keeps_quotes_commas_and_newlines_inside_fields() -> None:
    with (EXAMPLES / "formats" / "prompt_completion.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, strict=True))
    assert 8 <= len(rows) <= 20
    assert all(list(row) == ["prompt", "completion"] and all(row.values()) for row in rows)
    text = "".join(value for row in rows for value in row.values())
    assert {'"', ",", "\n"} <= set(text)


@pytest.mark.parametrize("name", ["train.jsonl", "held_out.jsonl"])
def test_the_readme_names_the_demo_file(name: str) -> None:
    assert f"`{name}`" in (EXAMPLES / "README.md").read_text(encoding="utf-8")


def test_the_readme_lists_every_format_sample() -> None:
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert [
        path.name for path in (EXAMPLES / "formats").iterdir() if f"| `{path.name}` |" not in readme
    ] == []


def test_the_readme_counts_are_the_counts_of_the_files() -> None:
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    for key, values in (("category", CATEGORIES), ("priority", PRIORITIES)):
        for value in values:
            counts = [sum(label[key] == value for label in labels(split)) for split in SPLITS]
            assert re.search(
                rf"\| {key} `{value}` \| {counts[0]} \(\d+%\) \| {counts[1]} \(\d+%\) \|", readme
            )
