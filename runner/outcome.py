"""How an attempt ended, in words, and whether the cause may pass by itself. Pure; reads only the end of a log.

What passes by itself comes from the machine or from outside: a kill, a GPU that fell off, a trainer that hung. What does
not would end the same way again: the data, the config, too little memory, a full disk, an exception in the code.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGBUS, SIGHUP, SIGINT, SIGKILL, SIGTERM
from typing import Any, Literal, NamedTuple

from lora_core.schema.job import EndOfAttempt, Outcome, RequestedAction
from lora_core.schema.run import ExitCode
from runner.errand import last_lines

CRASH_LINES = 12
SEARCHED_LINES = 60

FROM_OUTSIDE = {SIGHUP, SIGINT, SIGKILL, SIGBUS, SIGTERM}
"""Signals that no trainer sends itself: the system, or somebody at the machine, did. A fault of the code gives others."""

_MACHINES_FAULT = re.compile(
    r"unspecified launch failure|\bECC error|\bXid\b|GPU is lost|fallen off the bus|launch timed out"
    r"|(CUDA|HIP) error: unknown error|all CUDA-capable devices are busy or unavailable"
    r"|NCCL.{0,200}(time ?out|timed out|unhandled system error|remote (error|process)|connection)"
    r"|collective operation timeout",
    re.IGNORECASE,
)
_CODES_FAULT = re.compile(r"device-side assert", re.IGNORECASE)
_DISK_FULL = re.compile(r"\[Errno (28|122)\]|No space left on device|Disk quota exceeded", re.IGNORECASE)
KilledFor = Literal["", "cancel", "release", "stall"]


@dataclass
class Ending:
    """What is known when a trainer has ended.

    Attributes:
        code: Exit code; 128 + n after signal n; None if the whole group was killed.
        requested: What the person wanted last, if anything.
        killed_for: Why the agent killed the trainer; empty if it did not.
        orphaned: The trainer ended while no agent was there to see it.
        restarted: The machine was started anew since then.
        result: Data of the trainer's result event.
        error: The trainer's own last error.
        has_adapter: Whether the adapter's folder is there.
        log_file: What the trainer printed.
        stall_seconds: The limit that a stalled trainer ran into.
        stall_pauses: Whether the job is paused then, rather than failed.
        disk_full: What to say where the disk was full.
    """

    code: int | None
    requested: RequestedAction | None = None
    killed_for: KilledFor = ""
    orphaned: bool = False
    restarted: bool = False
    result: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    has_adapter: bool = False
    log_file: Path = Path("train.log")
    stall_seconds: float = 0.0
    stall_pauses: bool = False
    disk_full: str = "The disk of the runner's machine is full."


class _Verdict(NamedTuple):
    outcome: Outcome
    reason: str = ""
    error: str = ""
    transient: bool = False


def judge(ending: Ending) -> EndOfAttempt:
    """Turn the way a trainer ended into an outcome.

    >>> judge(Ending(code=10)).outcome.value
    'paused'
    """
    found = _judge(ending)
    return EndOfAttempt(
        outcome=found.outcome,
        reason=found.reason,
        error=found.error,
        transient=found.transient,
        result=ending.result,
    )


def _judge(ending: Ending) -> _Verdict:
    code, reason = ending.code, str(ending.result.get("reason", ""))[:1000]
    if ending.requested is RequestedAction.CANCEL:
        return _Verdict(Outcome.CANCELLED, "Cancelled by request.")
    if ending.killed_for == "stall":
        error = f"The trainer made no progress for {ending.stall_seconds:g} seconds and was ended."
        if ending.stall_pauses:
            return _Verdict(Outcome.PAUSED, f"Paused by an alert: {error}")
        return _Verdict(Outcome.FAILED, "Stalled.", _with_log(ending, error), transient=True)
    if code == ExitCode.DONE:
        if ending.has_adapter:
            return _Verdict(Outcome.COMPLETED)
        return _Verdict(Outcome.FAILED, "No adapter.", "The trainer ended well, but left no adapter.")
    released = code == ExitCode.RELEASED or ending.killed_for == "release"
    if code == ExitCode.PAUSED or (released and ending.requested is RequestedAction.PAUSE):
        return _Verdict(Outcome.PAUSED, reason or "Paused by request.")
    if ending.killed_for == "release":
        return _Verdict(Outcome.RELEASED, "The runner was shut down.")
    if released:
        return _Verdict(
            Outcome.RELEASED, "The trainer was asked from outside to end (SIGTERM); it saved before."
        )
    if code is None and ending.orphaned:
        went = "The machine was restarted." if ending.restarted else "The runner and its trainer went down."
        return _Verdict(Outcome.LOST, went)
    if code == ExitCode.CONFIG_OR_DATA:
        why = reason or "The config or the data cannot be used."
        return _Verdict(Outcome.FAILED, why, ending.error or _last_words(ending))
    if code == ExitCode.OUT_OF_MEMORY:
        advice = (
            "Switch gradient checkpointing on, use a smaller micro-batch with more accumulation, cut the longest rows, "
            "or take an 8-bit optimizer or 4-bit quantisation."
        )
        error = ending.error or f"The job ran out of memory. {advice}"
        return _Verdict(Outcome.FAILED, "Out of memory.", error)
    return _crashed(ending, code)


def _crashed(ending: Ending, code: int | None) -> _Verdict:
    said = f"{ending.error}\n{last_lines(ending.log_file, SEARCHED_LINES, most_bytes=32_000)}"
    if code is None:
        return _Verdict(
            Outcome.FAILED, "The trainer was killed.", _why_it_crashed(ending, "killed from outside"), True
        )
    if code - 128 in FROM_OUTSIDE:
        number = code - 128
        likely = ": perhaps the machine ran out of memory" if number == SIGKILL else ""
        how = f"ended from outside by signal {number}{likely}"
        return _Verdict(Outcome.FAILED, "The trainer was killed.", _why_it_crashed(ending, how), True)
    if _DISK_FULL.search(said):
        return _Verdict(Outcome.FAILED, "The disk is full.", _with_log(ending, ending.disk_full))
    how = f"ended by signal {code - 128}" if code > 128 else f"crashed (exit code {code})"
    if _MACHINES_FAULT.search(said) and not _CODES_FAULT.search(said):
        error = _why_it_crashed(ending, f"{how}: the GPU, its driver or the network between GPUs failed")
        return _Verdict(Outcome.FAILED, "The GPU failed.", error, True)
    error = _why_it_crashed(ending, how)
    return _Verdict(Outcome.FAILED, "The trainer crashed.", error)


def _why_it_crashed(ending: Ending, how: str) -> str:
    verb = "" if how.startswith("crashed") else "was "
    return _with_log(ending, f"The trainer {verb}{how}.", ending.error)


def _with_log(ending: Ending, *parts: str) -> str:
    return "\n".join(filter(None, (*parts, _last_words(ending))))


def _last_words(ending: Ending) -> str:
    return last_lines(ending.log_file, CRASH_LINES)
