"""An attempt's run folder, held by one agent at a time; the kernel lets go when that agent dies. Knows no store."""

from pathlib import Path

from lora_core.errors import Conflict
from lora_core.schema.runner import Claim
from runner.disk import keep_reserve
from runner.machine import lock
from runner.run_folders import Origin, clear_remains, make_folder, recall, remember, sign


class Hold:
    """A run folder in this agent's hands, until `let_go`.

    Args:
        root: The folder; it is made.
        claim: What is at work in it.
        here: Which machine this is, and since when it is up.
        earlier: An earlier agent has begun it.

    Attributes:
        restarted: The machine was started anew since the last agent.

    Raises:
        Conflict: Another agent is at work in it, or ended the attempt just now.
    """

    def __init__(self, root: Path, claim: Claim, here: Origin, *, earlier: bool) -> None:
        try:
            make_folder(root)
            self._file = (root / "agent.lock").open("a")
        except OSError as error:
            if earlier:  # whose it is now cannot be told
                raise Conflict(f"{root} cannot be opened: {error}.") from error
            raise
        try:
            if not lock(self._file):
                raise Conflict(f"Another runner is at work in {root}.")
            if earlier and recall(root) is None:
                raise Conflict(f"Another runner has just ended what was in {root}.")
            if not earlier:
                clear_remains(root)
                remember(claim, root)
            self.restarted = sign(root, here).has_restarted(here)
        except BaseException:
            self.let_go()
            raise
        keep_reserve(root)

    def let_go(self) -> None:
        """Let another agent take the folder."""
        self._file.close()
