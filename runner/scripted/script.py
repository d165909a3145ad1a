"""What the scripted trainer is told to do (`RunSpec.script`): lengths, speeds and faults. Steps count from 1."""

from typing import Any

from pydantic import Field

from lora_core.errors import ConfigError
from lora_core.schema.base import Frozen


class Script(Frozen):
    """One run's instructions. A fault named `*_at` happens at that step, before it is written; None means never.

    >>> Script(steps=3).eval_every
    5
    """

    steps: int = Field(20, ge=1, description="Updates of the whole run.")
    step_seconds: float = Field(0.01, ge=0, description="Time of one update, in seconds.")
    loading_seconds: float = Field(0.0, ge=0, description="Time before the first update, in seconds.")
    eval_every: int = Field(5, ge=1, description="Updates between evaluations.")
    checkpoint_every: int = Field(5, ge=1, description="Updates between checkpoints.")
    print_lines: int = Field(0, ge=0, description="Lines printed to stdout before training.")
    message: str = Field("", description="What fail_at says, as the error of a result event.")
    exit_code: int = Field(20, description="With what fail_at ends.")
    fail_at: int | None = Field(None, description="Say `message` and end with `exit_code`.")
    needs_micro_batch: int | None = Field(
        None,
        ge=1,
        description="With a larger micro-batch than this, run out of memory after `out_of_memory_after`.",
    )
    out_of_memory_after: int = Field(
        0, ge=0, description="Updates until memory runs out; 0 for before the first."
    )
    raise_at: int | None = Field(None, description="End with an uncaught exception.")
    crash_at: int | None = Field(None, description="Kill the own process with SIGKILL.")
    torn_line_at: int | None = Field(None, description="Write half an event, then kill the own process.")
    hang_at: int | None = Field(None, description="Stop making progress and hear nothing any more.")
    disk_full_at: int | None = Field(
        None, description="Find no space left in the middle of this step's checkpoint."
    )
    hold: str = Field(
        "",
        pattern=r"^$|^(loading|finishing|finished|(step|saving|saved) \d+)$",
        description="Place at which to say so by a file `held` and wait for a file `go` in the run folder: before a step, "
        "in the middle of a step's checkpoint, between it and its event; before the result and after it.",
    )
    nan_at: int | None = Field(None, description="The loss of this step is NaN.")
    ignore_requests: bool = Field(False, description="Never read request.json.")
    ignore_sigterm: bool = Field(False, description="Go on after SIGTERM.")
    helper_process: bool = Field(False, description="Start a sleeping child, as a data loader would.")
    only_first_attempt: bool = Field(False, description="Faults happen in attempt 1 only.")

    def without_faults(self) -> "Script":
        """The same run with nothing going wrong."""
        return Script(
            steps=self.steps,
            step_seconds=self.step_seconds,
            loading_seconds=self.loading_seconds,
            eval_every=self.eval_every,
            checkpoint_every=self.checkpoint_every,
        )


def read_script(text: str) -> dict[str, Any]:
    """Read the setting LORA_STUDIO_SCRIPT; empty for the defaults.

    Raises:
        ConfigError: It is no JSON, or has unknown instructions.
    """
    try:
        return Script.model_validate_json(text or "{}").model_dump(exclude_defaults=True)
    except ValueError as error:
        raise ConfigError(f"LORA_STUDIO_SCRIPT cannot be read: {error}") from error
