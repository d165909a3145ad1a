"""`python -m tests.faults.trainer RUN_DIR`: the real trainer as it is, with fuses around its phases. For tests only.

Points: `trainer.load` (the base model), `trainer.step` (an update has been told, before anything is saved), `trainer.loss` (of a
micro-batch; a fuse that raises `unavailable` makes it NaN), `trainer.evaluate`, `trainer.write` (a file of weights is written:
of a checkpoint, of the best adapter, of the final one; `of` names the folder), `trainer.rename` (a checkpoint is whole but
under its temporary name) and `trainer.result`.
"""

import math
import os
import sys
from typing import Any

from lora_core.errors import Unavailable
from runner.processes import python_command
from tests.faults.fuse import VARIABLE, Board, from_environment


def command(module: str, *arguments: str) -> list[str]:
    """The command line of a runner's child, with this trainer in the place of the real one."""
    return python_command("tests.faults.trainer" if module == "runner.train" else module, *arguments)


def main() -> int:
    """Put the fuses in and train."""
    from runner.train import __main__ as trainer

    if VARIABLE in os.environ:
        _wire(from_environment())
    return trainer.main()


def _wire(board: Board) -> None:
    os.environ["HF_HUB_OFFLINE"] = "1"
    from runner.train import saving, sft
    from runner.train.journal import Journal
    from runner.train.trainer import StudioTrainer

    sft.load_base = board.around("trainer.load", sft.load_base)
    saving.save_file = board.around("trainer.write", saving.save_file)
    saving.sha256_of = board.around("trainer.rename", saving.sha256_of)
    StudioTrainer._validation_loss = board.around("trainer.evaluate", StudioTrainer._validation_loss)  # type: ignore[method-assign]
    StudioTrainer._heed = board.around("trainer.step", StudioTrainer._heed)  # type: ignore[method-assign]
    Journal.result = board.around("trainer.result", Journal.result)  # type: ignore[method-assign]

    computed = StudioTrainer.compute_loss
    spoil = board.around("trainer.loss", lambda step: 1.0)

    def compute_loss(self: StudioTrainer, model: Any, *arguments: Any, **named: Any) -> Any:
        loss = computed(self, model, *arguments, **named)
        try:
            return loss * spoil(f"step {self.state.global_step + 1}.") if model.training else loss
        except Unavailable:
            return loss * math.nan

    StudioTrainer.compute_loss = compute_loss  # type: ignore[method-assign]


if __name__ == "__main__":
    sys.exit(main())
