"""The quick way through a JSONL file of plain conversations: typed decoding, and counting without objects per row.

Rows that are not plain and faultless (tools, odd order, empty turns, broken JSON) go to `slow`, which finds out why.
"""

from collections.abc import Callable, Iterator
from typing import Any, Literal, cast

import msgspec
import numpy as np

from lora_core.datasets.conversation import ROLES, check_conversation
from lora_core.datasets.example import SEPARATOR, Message
from lora_core.datasets.faults import RowError
from lora_core.datasets.lines import line_chunks
from lora_core.datasets.oddities import may_be_odd
from lora_core.datasets.tally import LONG_CHARACTERS, Tally
from lora_core.schema.dataset import DatasetFormat

_NEWLINE, _RETURN, _OPENING, _CLOSING = b"\n\r{}"
_MAX_ORDERS = 10_000
_SURROGATE_ESCAPES = (b"\\ud", b"\\uD")


class _Turn(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    role: Literal["system", "user", "assistant"]
    content: str


class _ShareGptTurn(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    role: Literal["system", "human", "gpt", "user", "assistant"] = msgspec.field(name="from")
    content: str = msgspec.field(name="value")


class _Chat(msgspec.Struct, gc=False):
    """What both typed rows below have in common."""

    messages: list[_Turn]


def can_read(format: DatasetFormat) -> bool:
    """Whether there is a quick way for the format."""
    return format in (DatasetFormat.MESSAGES, DatasetFormat.SHAREGPT)


def tally_chats(
    blocks: Iterator[bytes],
    format: DatasetFormat,
    column: str,
    tally: Tally,
    slow: Callable[[int, bytes | None], None],
    max_line_bytes: int,
) -> None:
    """Count all rows of a JSONL file.

    Args:
        blocks: The file in UTF-8.
        format: MESSAGES or SHAREGPT.
        column: Where the turns are.
        tally: Gets the plain rows.
        slow: Called with line number and line (None: too long) for every other line, blank ones too.
        max_line_bytes: Longest line that is read.
    """
    decoder = _decoder(format, column)
    orders: dict[tuple[str, ...], _Order] = {}
    for first, chunk in line_chunks(blocks, max_line_bytes):
        if chunk is None:
            slow(first, None)
            continue
        lines_in_chunk = _one_object_a_line(chunk)
        chats, odd = _decoded(decoder, chunk) if lines_in_chunk else ([], True)
        if chats and len(chats) == lines_in_chunk:
            _tally(chats, _Lines(chunk, first, slow), odd, orders, tally)
            continue
        for number, line in enumerate(chunk.split(b"\n"), first):  # one is blank or not plain
            chats, odd = _decoded(decoder, line)
            if len(chats) == 1:
                _tally(chats, _Lines(line, number, slow), odd, orders, tally)
            else:
                slow(number, line)
        if len(orders) > _MAX_ORDERS:
            _count_roles(orders, tally)
    _count_roles(orders, tally)


class _Lines:
    """Lines that belong to decoded rows; only taken apart where one of them is faulty."""

    def __init__(self, chunk: bytes, first: int, slow: Callable[[int, bytes | None], None]) -> None:
        self._chunk = chunk
        self._slow = slow
        self._lines: list[bytes] = []
        self.first = first

    def faulty(self, number: int) -> None:
        """Hand one line to the careful way."""
        self._lines = self._lines or self._chunk.split(b"\n")
        self._slow(number, self._lines[number - self.first])


def _tally(
    chats: list[_Chat], lines: _Lines, odd: bool, orders: dict[tuple[str, ...], "_Order"], tally: Tally
) -> None:
    """Count decoded rows; those with a fault go to `lines.faulty`. `odd`: look for signs of a broken encoding."""
    add_length, add_hash = tally.characters.append, tally.hashes.append
    add_line, add_number = tally.lines.append, tally.numbers.append
    strip = str.strip
    for line, chat in enumerate(chats, lines.first):
        turns = chat.messages
        spelled = tuple([turn.role for turn in turns])
        texts = [turn.content for turn in turns]
        order = orders.get(spelled)
        if order is None:
            order = orders[spelled] = _Order(_roles_in_order(spelled))
        roles = order.roles
        if roles is None or not all(map(strip, texts)):
            lines.faulty(line)
            continue
        order.rows += 1
        tally.rows += 1
        content = SEPARATOR.join(texts)
        characters = len(content) - len(texts) + 1
        add_length(characters)
        add_hash(hash(content) ^ order.salt)
        add_line(line)
        add_number(tally.rows)
        if odd or characters > LONG_CHARACTERS:
            tally.inspect(texts, characters, line)


def _one_object_a_line(chunk: bytes) -> int:
    """Count lines, if each begins with { and ends with }; else 0.

    The decoder of many lines does not mind where lines end. But within one JSON value nothing that ends with } can be
    followed directly by {, so if this holds for each line, and there are as many values as lines, each line is one.
    """
    content = np.frombuffer(chunk, dtype=np.uint8)
    ends = np.flatnonzero(content == _NEWLINE)
    if not (chunk.startswith(b"{") and chunk.endswith((b"}", b"}\r"))):
        return 0
    before = content[ends - 1]
    if ends.size and before[0] == _RETURN:
        before = content[ends - 2]
    if not (np.all(before == _CLOSING) and np.all(content[ends + 1] == _OPENING)):
        return 0
    return int(ends.size) + 1


def _decoded(decoder: "msgspec.json.Decoder[_Chat]", lines: bytes) -> tuple[list[_Chat], bool]:
    """Decode lines.

    Returns:
        The rows, or an empty list if one of the lines is not a plain row; and whether there may be something odd.
    """
    try:
        odd = may_be_odd(lines)  # also sees what is not UTF-8 in columns that typed decoding passes over
        if odd and any(escape in lines for escape in _SURROGATE_ESCAPES):
            msgspec.json.Decoder().decode_lines(lines)
        return decoder.decode_lines(lines), odd
    except (ValueError, RecursionError):
        return [], True


class _Order:
    """Rows whose turns have the same roles in the same order; `roles` is None if that order is not allowed."""

    __slots__ = ("roles", "rows", "salt")

    def __init__(self, roles: tuple[str, ...] | None) -> None:
        self.roles = roles
        self.salt = hash(roles)
        self.rows = 0


def _count_roles(orders: dict[tuple[str, ...], _Order], tally: Tally) -> None:
    for order in orders.values():
        for role in order.roles or ():
            tally.roles[role] += order.rows
    orders.clear()


def _decoder(format: DatasetFormat, column: str) -> "msgspec.json.Decoder[_Chat]":
    """Build the typed decoder. `tools` and columns that change the meaning may only be null."""
    turns: Any = list[_ShareGptTurn] if format is DatasetFormat.SHAREGPT else list[_Turn]
    reserved = {"tools", "functions", "system"} - {column}
    nothing: list[tuple[str, Any, Any]] = [(name, None, None) for name in sorted(reserved)]
    chat = msgspec.defstruct("Chat", [("messages", turns), *nothing], rename={"messages": column}, gc=False)
    return cast("msgspec.json.Decoder[_Chat]", msgspec.json.Decoder(chat))


def _roles_in_order(order: tuple[str, ...]) -> tuple[str, ...] | None:
    roles = tuple([ROLES[role] for role in order])
    try:
        check_conversation(tuple([Message(role, "x") for role in roles]), "")
    except RowError:
        return None
    return roles
