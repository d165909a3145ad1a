"""Two or more processes take turns: one works while the others wait, so that all meet the same noise of the machine.

A side calls `Side.mark()` at the end of each piece of work, and `Side.finish()` at its very end. The parent lets the sides run
one after the other, piece by piece.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.harness.line import NotMeasured
from benchmarks.harness.memory import peak_mb

ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "OMP_WAIT_POLICY": "PASSIVE",
}
"""For every side alike: no network, and threads that sleep while another side has its turn."""

ROOT = Path(__file__).parents[2]


class Piece(NamedTuple):
    """One piece of a side's work: wall seconds, CPU seconds of the process, and how much was done (tokens, points)."""

    seconds: float
    cpu_seconds: float
    amount: float


@dataclass
class Result:
    """What a side did."""

    pieces: list[Piece] = field(default_factory=list)
    peak_mb: float = 0.0
    facts: dict[str, Any] = field(default_factory=dict)


class Side:
    """The end of the conversation that lives in the side's process. What it prints otherwise goes to standard error."""

    def __init__(self) -> None:
        self._answers = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)
        self._begin()

    def mark(self, amount: float = 1.0) -> None:
        """End a piece, and wait for the next turn."""
        seconds, cpu_seconds = time.perf_counter() - self._wall, time.process_time() - self._cpu
        self._say({"piece": [seconds, cpu_seconds, amount]})
        self._begin()

    def finish(self, **facts: Any) -> None:
        """End the last piece, with facts that the parent asked for."""
        self._say({"peak_mb": peak_mb(), "facts": facts})

    def _say(self, document: dict[str, Any]) -> None:
        self._answers.write(json.dumps(document) + "\n")
        self._answers.flush()

    def _begin(self) -> None:
        if not sys.stdin.readline():
            sys.exit("The benchmark that started this side is gone.")
        self._wall, self._cpu = time.perf_counter(), time.process_time()


def take_turns(
    sides: Mapping[str, Sequence[str]], folder: Path, environment: Mapping[str, str] | None = None
) -> dict[str, Result]:
    """Run sides until each has finished, one piece each in turn.

    Args:
        sides: For each name the module and its arguments, run as `python -m ...`.
        folder: Gets each side's messages as `<name>.log`.

    Raises:
        NotMeasured: A side failed; its last words are in the message.
    """
    results = {name: Result() for name in sides}
    processes: dict[str, subprocess.Popen[str]] = {}
    try:
        for name, command in sides.items():
            processes[name] = _start(command, folder / f"{_file_name(name)}.log", environment or {})
        waiting = list(sides)
        while waiting:
            waiting = [name for name in waiting if _one_turn(processes[name], results[name], name, folder)]
    finally:
        for process in processes.values():
            _end(process)
    return results


def rounds(results: Mapping[str, Result], *, skip: int, size: int) -> dict[str, list[Piece]]:
    """Sum the pieces of all sides in rounds of `size`, without the first `skip` of each (warm-up)."""
    count = (min(len(result.pieces) for result in results.values()) - skip) // size
    summed = {}
    for name, result in results.items():
        starts = [skip + number * size for number in range(count)]
        summed[name] = [
            Piece(*map(sum, zip(*result.pieces[start : start + size], strict=True))) for start in starts
        ]
    return summed


def _start(command: Sequence[str], log: Path, environment: Mapping[str, str]) -> subprocess.Popen[str]:
    with log.open("w") as errors:
        return subprocess.Popen(
            [sys.executable, "-m", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            cwd=ROOT,
            env={**os.environ, **ENVIRONMENT, **environment},
        )


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        with suppress(BrokenPipeError):
            pipe.close()
    process.wait()


def _one_turn(process: subprocess.Popen[str], result: Result, name: str, folder: Path) -> bool:
    """Let a side do one piece.

    Returns:
        False once it has finished.
    """
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write("go\n")
        process.stdin.flush()
        answer = process.stdout.readline()
    except BrokenPipeError:
        answer = ""
    if not answer:
        words = (folder / f"{_file_name(name)}.log").read_text().strip().splitlines()[-12:]
        raise NotMeasured(f"{name} ended early:\n" + "\n".join(words))
    document = json.loads(answer)
    if "piece" in document:
        result.pieces.append(Piece(*document["piece"]))
        return True
    result.peak_mb, result.facts = document["peak_mb"], document["facts"]
    return False


def _file_name(name: str) -> str:
    return "".join(character if character.isalnum() else "-" for character in name)
