"""A batch of run-folder events as the function `job_ship` takes it: lists of plain documents, read and mended here.

The database then inserts whole lists; what a metric line or a phase looks like is known in Python only.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from lora_core.schema.run import EventKind, RunEvent
from lora_core.store.batch import Batch, alert_text, read_count

Document = dict[str, Any]


def pack(events: Sequence[RunEvent]) -> Document:
    """Return the batch `p_batch`. Every list is in order of `seq`; values that are not known are left out."""
    batch = Batch(events)
    return {
        "count": len(events),
        "last_seq": max((event.seq for event in events), default=0),
        "points": _points(batch),
        "logs": [row._asdict() for row in _sorted(batch.logs)],
        "samples": [row._asdict() for row in _sorted(batch.samples)],
        "phases": [_phase(event) for event in _sorted(_of(events, EventKind.PHASE))],
        "checkpoints": [
            {"seq": event.seq, "step": step, "dropped": bool(event.data.get("dropped"))}
            for event in _sorted(_of(events, EventKind.CHECKPOINT))
            if (step := read_count(event.data.get("step"))) is not None
        ],
        "alerts": [
            {"seq": event.seq, "at": event.at, "text": alert_text(event)}
            for event in _sorted(_of(events, EventKind.ALERT))
        ],
    }


def _points(batch: Batch) -> list[Document]:
    documents = []
    for (seq, point), moment in zip(batch.points, batch.times, strict=True):
        values = {name: value for name, value in msgspec.structs.asdict(point).items() if value is not None}
        documents.append({"seq": seq, "recorded_at": moment, **values})
    documents.sort(key=lambda document: document["seq"])
    return documents


def _phase(event: RunEvent) -> Document:
    data = event.data
    phase: Document = {"seq": event.seq, "at": event.at, "name": str(data.get("name", ""))}
    for name in ("start_step", "total_steps"):
        if (count := read_count(data.get(name))) is not None:
            phase[name] = count
    share = data.get("progress")
    if isinstance(share, int | float) and share == share:
        phase["progress"] = min(1.0, max(0.0, float(share)))
    for name in ("id", "action"):
        if name in data:
            phase[name] = str(data[name])
    return phase


def _of(events: Sequence[RunEvent], kind: EventKind) -> list[RunEvent]:
    return [event for event in events if event.kind is kind]


def _sorted(rows: Sequence[Any]) -> list[Any]:
    return sorted(rows, key=lambda row: row.seq)
