"""What becomes of a trainer's events on the way to a store: read, mended, packed. Whatever comes, the rest arrives."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_core.schema.metrics import MetricKind
from lora_core.schema.run import EventKind, RunEvent
from lora_core.store.batch import Batch
from lora_core.store.supabase.gateway import encode
from lora_core.store.supabase.shipment import pack

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def event(seq: int, event_kind: EventKind, /, **data: Any) -> RunEvent:
    return RunEvent(seq=seq, at=NOON, kind=event_kind, data=data)


def test_values_that_are_not_known_are_left_out_of_a_packed_point() -> None:
    (point,) = pack([event(7, EventKind.METRICS, kind="train", step=3, loss=1.5)])["points"]
    assert point == {"seq": 7, "recorded_at": NOON, "kind": "train", "step": 3, "loss": 1.5}


def test_lists_of_a_packed_batch_are_in_order_of_their_numbers() -> None:
    events = [event(seq, EventKind.LOG, text=str(seq)) for seq in (3, 1, 2)]
    batch = pack(events)
    assert [line["seq"] for line in batch["logs"]] == [1, 2, 3]
    assert (batch["count"], batch["last_seq"]) == (3, 3)


def test_a_phase_carries_what_it_says_and_no_nonsense() -> None:
    phases = pack(
        [
            event(
                1, EventKind.PHASE, name="training", start_step=5, total_steps=True, progress=7, message="x"
            ),
            event(2, EventKind.PHASE, name="request", id="r1", action="pause", start_step=-1),
            event(3, EventKind.PHASE, progress=float("nan")),
        ]
    )["phases"]
    assert phases == [
        {"seq": 1, "at": NOON, "name": "training", "start_step": 5, "progress": 1.0},
        {"seq": 2, "at": NOON, "name": "request", "id": "r1", "action": "pause"},
        {"seq": 3, "at": NOON, "name": ""},
    ]


def test_checkpoints_without_a_step_are_passed_over_and_rotated_ones_are_marked() -> None:
    checkpoints = pack(
        [
            event(1, EventKind.CHECKPOINT, step=5, path="a"),
            event(2, EventKind.CHECKPOINT, path="b"),
            event(3, EventKind.CHECKPOINT, step=5, dropped=True),
        ]
    )["checkpoints"]
    assert checkpoints == [{"seq": 1, "step": 5, "dropped": False}, {"seq": 3, "step": 5, "dropped": True}]


@pytest.mark.parametrize(
    ("data", "extra", "nonfinite"),
    [
        ({"loss": float("nan"), "reward": 2}, {"reward": 2.0}, {"loss": "nan"}),
        ({"extra": {"reward": float("inf"), "margin": 1}}, {"margin": 1.0}, {"reward": "inf"}),
        ({"extra": None, "reward": "high", "nonfinite": {"loss": "nan", "x": []}}, {}, {"loss": "nan"}),
        ({"tokens_seen": 10**400, "loss": -(10**400)}, {}, {"tokens_seen": "inf", "loss": "-inf"}),
        ({"tokens_seen": 2**60, "extra": [1]}, {}, {}),
    ],
)
def test_a_point_with_faults_is_mended(data: dict[str, Any], extra: object, nonfinite: object) -> None:
    ((_, point),) = Batch([event(1, EventKind.METRICS, kind="train", step=3, **data)]).points
    assert (point.extra, point.nonfinite, point.tokens_seen) == (extra, nonfinite, None)


def test_an_alert_is_a_log_line_too() -> None:
    batch = pack([event(1, EventKind.ALERT, message="loss is nan")])
    assert batch["alerts"] == [{"seq": 1, "at": NOON, "text": "loss is nan"}]
    assert [(line["level"], line["source"], line["text"]) for line in batch["logs"]] == [
        ("warning", "alert", "loss is nan")
    ]


def test_an_empty_batch_packs() -> None:
    batch = pack([])
    assert (batch["count"], batch["last_seq"], batch["points"]) == (0, 0, [])


@pytest.mark.parametrize("step", ["soon", None, -1, 1.5, [], True])
def test_a_metric_line_without_a_step_becomes_a_warning(step: Any) -> None:
    batch = Batch([event(1, EventKind.METRICS, kind="train", step=step), event(2, EventKind.LOG, text="x")])
    assert not batch.steps(MetricKind.TRAIN) or step is True
    assert batch.logs[-1].text == "x"


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from(
    ["kind", "step", "loss", "name", "start_step", "progress", "text", "level", "extra", "nonfinite"]
)


@given(st.sampled_from(EventKind), st.dictionaries(names | st.text(max_size=10), values, max_size=6))
def test_whatever_an_event_holds_becomes_json_that_postgresql_takes(
    kind: EventKind, data: dict[str, Any]
) -> None:
    content = encode({"p_batch": pack([RunEvent(seq=1, at=NOON, kind=kind, data=data)])}).decode()
    assert "\\u0000" not in content.replace("\\\\", "")
    assert not any(0xD800 <= ord(letter) <= 0xDFFF for letter in content)
    json.loads(content, parse_constant=lambda name: pytest.fail(name))
