"""One numbered stream of an attempt: the trainer's events, its printed lines and the agent's own words, in the order seen.

Three writers cannot share one `seq`, so nobody ships `events.jsonl` as it is: every event is copied into
`journal.jsonl` under a number of the journal's own, together with how far its source has been read. A crash at any
instant therefore neither loses nor doubles an event, and the number in the store is the order of the log.
"""

import json
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from lora_core.schema.base import utc_now
from lora_core.schema.run import EventKind, RunEvent
from runner.disk import is_full, write_whole
from runner.run_folder import EventTail, RunFolder, write_atomically

log = logging.getLogger(__name__)

Lane = Literal["trainer", "stdout", "runner"]

BATCH_EVENTS = 1_000
LONGEST_LINE = 2_000
MOST_PRINTED_LINES = 2_000
"""Printed lines that become log lines of the job; the rest stays in train.log, which is kept as an artifact."""


class _Row(NamedTuple):
    """An event on its way into the journal, and where its source goes on after it."""

    lane: Lane
    offset: int
    event: dict[str, Any]


class Journal:
    """The stream of one attempt. One agent writes it; what `collect` and `say` took is in the file when they return.

    Args:
        folder: The attempt's run folder.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._file = folder.root / "journal.jsonl"
        self._confirmed_file = folder.root / "journal.confirmed"
        self._seq = 0
        self._printed = 0
        self._offsets: dict[Lane, int] = {"trainer": 0, "stdout": 0, "runner": 0}
        self._size = self._recover()
        self._descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.ftruncate(self._descriptor, self._size)
        self._trainer = EventTail(folder.events_file, self._offsets["trainer"])
        self._stdout = PrintedTail(folder.log_file, self._offsets["stdout"])
        self._confirmed = min(_read_number(self._confirmed_file), self._size)
        self._read_to = self._confirmed

    def say(self, kind: EventKind, /, **data: Any) -> None:
        """Add an event of the agent's own. On a full disk it is left out: no attempt ends for want of the agent's words."""
        try:
            self._append([_Row("runner", 0, _new_event(kind, data))])
        except OSError as error:
            if not is_full(error):
                raise
            log.warning("%s is left out, the disk is full: %s", kind.value, data)

    def log(self, text: str, level: str = "info") -> None:
        """Add a log line of the agent's own."""
        self.say(EventKind.LOG, level=level, source="runner", text=text)

    def collect(self, *, last: bool = False) -> list[RunEvent]:
        """Copy what the trainer has written and printed since, at most about 1,000 events of it.

        Args:
            last: The trainer has ended: an unfinished last printed line is a line too.

        Returns:
            The trainer's new events, for the agent's own judgement; empty when all was copied.
        """
        rows, events = self._new_events()
        rows += self._new_lines(last)
        try:
            self._append(rows)
        except OSError:
            self._trainer.offset, self._stdout.offset = self._offsets["trainer"], self._offsets["stdout"]
            raise
        return events

    @property
    def size(self) -> int:
        """Bytes in the journal."""
        return self._size

    @property
    def confirmed(self) -> int:
        """Bytes of the journal that the store has confirmed."""
        return self._confirmed

    @property
    def caught_up(self) -> bool:
        """Say whether the store has confirmed everything in the journal."""
        return self._confirmed >= self._size

    def batch(self, limit: int = BATCH_EVENTS) -> list[RunEvent]:
        """Return the oldest events that are not confirmed; asking again returns them again."""
        events: list[RunEvent] = []
        self._read_to = self._confirmed
        with self._file.open("rb") as stream:
            stream.seek(self._confirmed)
            while len(events) < limit and self._read_to < self._size:
                line = stream.readline()
                self._read_to += len(line)
                events.append(RunEvent.model_validate(json.loads(line)["event"]))
        return events

    def confirm(self) -> None:
        """Remember, on disk if it is not full, that the last batch is in the store: a batch may come twice."""
        try:
            write_atomically(self._confirmed_file, str(self._read_to).encode())
        except OSError as error:
            if not is_full(error):
                raise
        self._confirmed = self._read_to

    def replay(self) -> Iterator[RunEvent]:
        """Yield the trainer's events that an earlier agent has copied, for its successor's judgement."""
        with self._file.open("rb") as stream:
            for line in stream:
                document = json.loads(line)
                if document["lane"] == "trainer":
                    yield RunEvent.model_validate(document["event"])

    def close(self) -> None:
        """Close the file, once: its number may be somebody else's by the second time."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _new_events(self) -> tuple[list[_Row], list[RunEvent]]:
        """Read event by event, so that every row knows the offset behind it."""
        rows: list[_Row] = []
        events: list[RunEvent] = []
        bad_lines = self._trainer.bad_lines
        while len(events) < BATCH_EVENTS and (found := self._trainer.read(1)):
            events += found
            rows.append(
                _Row("trainer", self._trainer.offset, found[0].model_dump(mode="json", exclude={"seq"}))
            )
        if self._trainer.bad_lines > bad_lines:
            text = "The trainer left a line that is no event (torn by a crash); it was passed over."
            rows.append(_Row("trainer", self._trainer.offset, _new_log("warning", "runner", text)))
        return rows, events

    def _new_lines(self, last: bool) -> list[_Row]:
        rows = []
        for text, offset in self._stdout.read(last=last):
            self._printed += 1
            if self._printed <= MOST_PRINTED_LINES:
                rows.append(_Row("stdout", offset, _new_log("info", "stdout", text)))
            elif self._printed == MOST_PRINTED_LINES + 1:
                rows.append(
                    _Row("stdout", offset, _new_log("warning", "runner", "More output is only in train.log."))
                )
        return rows

    def _append(self, rows: Sequence[_Row]) -> None:
        if not rows:
            return
        lines = []
        for number, row in enumerate(rows, start=self._seq + 1):
            document = {"lane": row.lane, "offset": row.offset, "event": {"seq": number, **row.event}}
            lines.append(json.dumps(document, ensure_ascii=False) + "\n")
        content = "".join(lines).encode()
        write_whole(self._descriptor, content, self._size)
        self._size += len(content)
        self._seq += len(rows)
        for row in rows:
            self._offsets[row.lane] = row.offset

    def _recover(self) -> int:
        """Find the last number and how far each source was read.

        Returns:
            Size of the whole lines in bytes; a torn last line, never shipped, is cut off by the caller.
        """
        size = 0
        if not self._file.exists():
            return size
        with self._file.open("rb") as stream:
            for line in stream:
                if not line.endswith(b"\n"):
                    break
                document = json.loads(line)
                size += len(line)
                self._seq = document["event"]["seq"]
                self._offsets[document["lane"]] = document["offset"]
                self._printed += document["lane"] == "stdout"
        return size


class PrintedTail:
    """Reads the lines a child prints, from a byte offset. A progress bar's carriage returns leave its last state only."""

    def __init__(self, file: Path, offset: int = 0) -> None:
        self._file = file
        self.offset = offset

    def read(self, *, last: bool = False, limit: int = BATCH_EVENTS) -> list[tuple[str, int]]:
        """Return new lines (without empty ones), each with the offset behind it; `last` takes an unfinished one too."""
        lines: list[tuple[str, int]] = []
        try:
            stream = self._file.open("rb")
        except FileNotFoundError:
            return lines
        with stream:
            stream.seek(self.offset)
            while len(lines) < limit:
                line = stream.readline(16 * LONGEST_LINE)
                if not line or not (line.endswith(b"\n") or last or len(line) == 16 * LONGEST_LINE):
                    break
                self.offset += len(line)
                text = line.decode("utf-8", "replace").rstrip().rsplit("\r", 1)[-1].rstrip()
                if text:
                    lines.append((text[:LONGEST_LINE], self.offset))
        return lines


def _new_event(kind: EventKind, data: dict[str, Any]) -> dict[str, Any]:
    return {"at": utc_now().isoformat(), "kind": kind.value, "data": data}


def _new_log(level: str, source: str, text: str) -> dict[str, Any]:
    return _new_event(EventKind.LOG, {"level": level, "source": source, "text": text})


def _read_number(file: Path) -> int:
    try:
        return int(file.read_text())
    except (FileNotFoundError, ValueError):
        return 0
