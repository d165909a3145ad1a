"""Finds rows that say nearly the same: MinHash over word shingles, with banding. Knows no formats, only texts.

Two rows are near-duplicates if about four fifths of their runs of three words are the same. Time grows with the words of the
file, memory with 24 bytes a row: sketches lie in files. Written here because the well-kept libraries for it hash word by word
in Python and keep their sketches in memory; this is numpy over thousands of rows at once.

Source: Broder, On the resemblance and containment of documents (1997); banding: Leskovec, Rajaraman and Ullman, Mining of
Massive Datasets, chapter 3; keeping 16 bits of each minimum: Li and Koenig, b-Bit Minwise Hashing (2010).
"""

import re
import zlib
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import msgspec
import numpy as np
import numpy.typing as npt

SIMILARITY = 0.8
"""Share of shingles in common (Jaccard) from which rows count as near-duplicates. Estimated with an error of about 0.05."""

HASHES = 64
BANDS = 16
SHINGLE_WORDS = 3
BATCH_WORDS = 100_000
_ROWS_A_BAND = HASHES // BANDS
_PAIRS_AT_ONCE = 1 << 16
_NONE = np.iinfo(np.int32).max
_WORD = re.compile(r"\w+")
_SPACED = {code: " " for code in range(128) if not (chr(code).isalnum() or chr(code) == "_")}
"""The same words as `_WORD` finds, several times as fast, for text in ASCII."""
_UNSPACED = 12
"""Characters a word from which a text is taken to be written without spaces: its characters are the words then."""
_MOST_KNOWN_WORDS = 300_000

UInt32 = npt.NDArray[np.uint32]
Indices = npt.NDArray[np.int32]


class Near(msgspec.Struct, frozen=True):
    """What is near what, by index of the rows that were added.

    Args:
        earlier: For each own row the earlier own row that it nearly repeats, or -1. That one is itself no repetition.
        other: For each own row a row of the other file that it nearly repeats, or -1; all -1 where there is no other.
    """

    earlier: Indices
    other: Indices


class Sketches:
    """Sketches of rows in the order they are added. Use as a context manager.

    Args:
        folder: An empty folder for about 260 bytes a row.
    """

    def __init__(self, folder: Path) -> None:
        self._minima = (folder / "minima").open("w+b")
        self._bands = [(folder / f"band{number}").open("w+b") for number in range(BANDS)]
        self._known = _Words()
        self._words: list[int] = []
        self._lengths: list[int] = []
        self._others = 0
        self.rows = 0
        numbers = np.random.Generator(np.random.PCG64(20261122))
        self._factors = numbers.integers(0, 1 << 31, HASHES, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
        self._shifts = numbers.integers(0, 1 << 32, HASHES, dtype=np.uint32)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for file in (self._minima, *self._bands):
            file.close()

    def add(self, texts: Sequence[str]) -> None:
        """Add one row, given as its texts."""
        text = " ".join(texts).lower()
        words = text.translate(_SPACED).split() if text.isascii() else _WORD.findall(text)
        if len(text) > _UNSPACED * len(words):
            words = [character for word in words for character in word]
        hashes = list(map(self._known.__getitem__, words))
        hashes += [0] * (SHINGLE_WORDS - len(hashes))
        self._words += hashes
        self._lengths.append(len(hashes))
        self.rows += 1
        if len(self._words) >= BATCH_WORDS:
            self._flush()

    def others_end(self) -> None:
        """Say that all rows so far are of the other file, and that own rows follow."""
        self._others = self.rows

    def near(self) -> Near:
        """Find out. Rows cannot be added afterwards.

        Example:
            >>> import tempfile
            >>> with tempfile.TemporaryDirectory() as folder, Sketches(Path(folder)) as sketches:
            ...     for text in ("one two three four five six", "seven eight nine ten", "One two three four five six!"):
            ...         sketches.add([text])
            ...     sketches.near().earlier.tolist()
            [-1, -1, 0]
        """
        self._flush()
        count = self.rows
        earlier = np.full(count, _NONE, dtype=np.int32)
        other = np.full(count, _NONE, dtype=np.int32)
        if count < 2:
            return Near(
                np.full(count - self._others, -1, np.int32), np.full(count - self._others, -1, np.int32)
            )
        self._minima.flush()
        minima = np.memmap(self._minima, dtype=np.uint16, mode="r", shape=(count, HASHES))
        for band in self._bands:
            band.flush()
            band.seek(0)
            for pairs, found in self._candidates(np.fromfile(band, dtype=np.uint64), earlier, other):
                _keep_close(minima, pairs, found)
        own = slice(self._others, None)
        return Near(
            _resolved(earlier[own], self._others, minima),
            np.where(other[own] == _NONE, np.int32(-1), other[own]),
        )

    def _candidates(
        self, keys: npt.NDArray[np.uint64], earlier: Indices, other: Indices
    ) -> list[tuple[tuple[Indices, Indices], Indices]]:
        """Pairs to look at within one band: each row with the first of its key and with the one before it."""
        order = keys.argsort(kind="stable").astype(np.int32)
        keys = keys[order]
        starts_anew = np.empty(len(keys), dtype=bool)
        starts_anew[0] = True
        np.not_equal(keys[1:], keys[:-1], out=starts_anew[1:])
        starts = np.flatnonzero(starts_anew)
        run = np.cumsum(starts_anew) - 1
        own = order >= self._others
        places = np.arange(len(order))
        first_own = np.minimum.reduceat(np.where(own, places, len(order)), starts)[run]
        before = np.maximum(places - 1, 0)
        pairs = []
        for earlier_place in (first_own, before):
            place = np.flatnonzero(
                own & (earlier_place < places) & (earlier_place >= first_own) & ~starts_anew
            )
            pairs.append(((order[place], order[earlier_place[place]]), earlier))
        if self._others:
            for other_place in (starts[run], first_own - 1):
                place = np.flatnonzero(own & (other_place >= starts[run]) & (other_place < first_own))
                pairs.append(((order[place], order[other_place[place]]), other))
        return pairs

    def _flush(self) -> None:
        if not self._lengths:
            return
        words = np.array(self._words, dtype=np.uint32)
        lengths = np.array(self._lengths)
        self._words, self._lengths = [], []
        shingles = _shingles(words, lengths)
        counts = lengths - (SHINGLE_WORDS - 1)
        begins = np.cumsum(counts) - counts
        minima = np.empty((len(lengths), HASHES), dtype=np.uint32)
        scratch = np.empty_like(shingles)
        for number in range(HASHES):
            np.multiply(shingles, self._factors[number], out=scratch)
            np.add(scratch, self._shifts[number], out=scratch)
            minima[:, number] = np.minimum.reduceat(scratch, begins)
        self._minima.write(minima.astype(np.uint16).tobytes())
        for number, file in enumerate(self._bands):
            key = np.full(len(lengths), number, dtype=np.uint64)
            for column in minima[:, number * _ROWS_A_BAND : (number + 1) * _ROWS_A_BAND].T:
                key = (key ^ column) * np.uint64(0x9E3779B97F4A7C15)
                key ^= key >> np.uint64(29)
            file.write(key.tobytes())


class _Words(dict[str, int]):
    """Hashes of words. CRC-32: the same in every process, as `hash` is not."""

    def __missing__(self, word: str) -> int:
        if len(self) > _MOST_KNOWN_WORDS:
            self.clear()
        number = self[word] = zlib.crc32(word.encode("utf-8", "replace"))
        return number


def _shingles(words: UInt32, lengths: npt.NDArray[np.int64]) -> UInt32:
    """One number for each run of three words within a row, well mixed (the end of MurmurHash3)."""
    mixed = np.zeros(len(words) - (SHINGLE_WORDS - 1), dtype=np.uint64)
    for place, factor in enumerate((0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93)):
        mixed += words[place : len(words) - (SHINGLE_WORDS - 1) + place].astype(np.uint64) * np.uint64(factor)
    mixed ^= mixed >> np.uint64(33)
    mixed *= np.uint64(0xFF51AFD7ED558CCD)
    whole = np.ones(len(words), dtype=bool)
    ends = np.cumsum(lengths)
    for back in range(1, SHINGLE_WORDS):
        whole[ends - back] = False
    return (mixed[whole[: len(mixed)]] >> np.uint64(32)).astype(np.uint32)


def _close(minima: npt.NDArray[Any], left: Indices, right: Indices) -> npt.NDArray[np.bool_]:
    same = (minima[left] == minima[right]).sum(axis=1)
    return np.asarray(same >= round(SIMILARITY * HASHES))


def _keep_close(minima: npt.NDArray[Any], pairs: tuple[Indices, Indices], found: Indices) -> None:
    """Note each pair that is really close, the earliest for each row; those known already are not looked at again."""
    rows, earlier = pairs
    fresh = np.flatnonzero(found[rows] > earlier)
    for start, end in pairwise([*range(0, len(fresh), _PAIRS_AT_ONCE), len(fresh)]):
        part = fresh[start:end]
        close = part[_close(minima, rows[part], earlier[part])]
        np.minimum.at(found, rows[close], earlier[close])


def _resolved(earlier: Indices, offset: int, minima: npt.NDArray[Any]) -> Indices:
    """Let every repetition point at a row that stays; one that is close to none of those stays itself."""
    result = np.full(len(earlier), -1, dtype=np.int32)
    for index in np.flatnonzero(earlier != _NONE).tolist():
        target = int(earlier[index]) - offset
        root = int(result[target])
        if root < 0:
            result[index] = target
        elif _close(minima, np.array([index + offset]), np.array([root + offset]))[0]:
            result[index] = root
    return result
