"""How an attempt ended, in words: from an exit code and what is known beside it. Pure; reads only the end of a log."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from lora_core.schema.job import EndOfAttempt, Outcome, RequestedAction
from lora_core.schema.run import ExitCode
from runner.errand import last_lines

CRASH_LINES = 12
KilledFor = Literal["", "cancel", "release", "stall"]


@dataclass
class Ending:
    """What is known when a trainer has ended.

    Attributes:
        code: Exit code; 128 + n after signal n; None if the whole group was killed.
        requested: What the person wanted last, if anything.
        killed_for: Why the agent killed the trainer; empty if it did not.
        orphaned: The trainer ended while no agent was there to see it.
        result: Data of the trainer's result event.
        error: The trainer's own last error.
        has_adapter: Whether the adapter's folder is there.
        log_file: What the trainer printed.
        stall_seconds: The limit that a stalled trainer ran into.
        stall_pauses: Whether the job is paused then, rather than failed.
    """

    code: int | None
    requested: RequestedAction | None = None
    killed_for: KilledFor = ""
    orphaned: bool = False
    result: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    has_adapter: bool = False
    log_file: Path = Path("train.log")
    stall_seconds: float = 0.0
    stall_pauses: bool = False


def judge(ending: Ending) -> EndOfAttempt:
    """Turn the way a trainer ended into an outcome.

    >>> judge(Ending(code=10)).outcome.value
    'paused'
    """
    outcome, reason, error = _judge(ending)
    return EndOfAttempt(outcome=outcome, reason=reason, error=error, result=ending.result)


def _judge(ending: Ending) -> tuple[Outcome, str, str]:
    code, reason = ending.code, str(ending.result.get("reason", ""))[:1000]
    if ending.requested is RequestedAction.CANCEL:
        return Outcome.CANCELLED, "Cancelled by request.", ""
    if ending.killed_for == "stall":
        error = f"The trainer made no progress for {ending.stall_seconds:g} seconds and was ended."
        if ending.stall_pauses:
            return Outcome.PAUSED, f"Paused by an alert: {error}", ""
        return Outcome.FAILED, "Stalled.", "\n".join(filter(None, (error, _last_words(ending))))
    if code == ExitCode.DONE:
        if ending.has_adapter:
            return Outcome.COMPLETED, "", ""
        return Outcome.FAILED, "No adapter.", "The trainer ended well, but left no adapter."
    released = code == ExitCode.RELEASED or ending.killed_for == "release"
    if code == ExitCode.PAUSED or (released and ending.requested is RequestedAction.PAUSE):
        return Outcome.PAUSED, reason or "Paused by request.", ""
    if released:
        return Outcome.RELEASED, "The runner was shut down.", ""
    if code is None and ending.orphaned:
        return Outcome.LOST, "The machine or the runner went down.", ""
    if code == ExitCode.CONFIG_OR_DATA:
        why = reason or "The config or the data cannot be used."
        return Outcome.FAILED, why, ending.error or _last_words(ending)
    if code == ExitCode.OUT_OF_MEMORY:
        advice = "Use a smaller micro-batch with more accumulation, shorter rows, or 4-bit quantisation."
        return Outcome.FAILED, "Out of memory.", ending.error or f"The job ran out of memory. {advice}"
    return Outcome.FAILED, "The trainer crashed.", _why_it_crashed(ending)


def _why_it_crashed(ending: Ending) -> str:
    code = ending.code
    if code is None:
        how = "The trainer was killed from outside."
    elif code == 137:
        how = "The trainer was killed by signal 9: probably the machine ran out of memory."
    elif code > 128:
        how = f"The trainer was ended by signal {code - 128}."
    else:
        how = f"The trainer crashed (exit code {code})."
    return "\n".join(filter(None, (how, ending.error, _last_words(ending))))


def _last_words(ending: Ending) -> str:
    return last_lines(ending.log_file, CRASH_LINES)
