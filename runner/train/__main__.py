"""`python -m runner.train RUN_DIR`: trains what the folder's spec says and tells by its exit code how it ended."""

import argparse
import logging
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

from lora_core.errors import ConfigError, Conflict, DataError, ModelError, NotAllowed, StudioError
from lora_core.schema.run import ExitCode
from runner.run_folder import EventWriter, RunFolder
from runner.train.journal import Journal

CRASHED = 1

OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
}
"""A trainer has no business in the network."""

CALM = {"OMP_WAIT_POLICY": "PASSIVE", "TOKENIZERS_PARALLELISM": "false"}
"""OpenMP threads that spin while they wait take the CPU from the app beside them."""

NICENESS = 5
"""On a CPU the trainer would take every core: pages and clicks go before it, and an idle machine is all its own."""

OUT_OF_MEMORY_SIGNS = (
    "can't allocate memory",
    "out of memory",
    "DefaultCPUAllocator",
    "CUBLAS_STATUS_ALLOC_FAILED",
)


def main() -> int:
    """Train one run folder, holding its lock.

    Returns:
        An ExitCode; 1 for a crash.
    """
    os.environ.update(
        OFFLINE
    )  # before torch and the Hugging Face libraries are imported: they read these once
    os.environ.update({name: os.environ.get(name, value) for name, value in CALM.items()})
    if "WORLD_SIZE" not in os.environ:  # no launcher: one process drives one GPU
        os.environ["CUDA_VISIBLE_DEVICES"] = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    os.nice(NICENESS)
    parser = argparse.ArgumentParser(prog="python -m runner.train", description=__doc__)
    parser.add_argument("run_dir", type=Path, help="Run folder with a spec.json.")
    folder = RunFolder(parser.parse_args().run_dir.resolve())
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    _keep_the_log_readable()
    try:
        with folder.locked(), EventWriter(folder.events_file) as writer:
            return run(folder, Journal(writer), signals=True)
    except (Conflict, FileNotFoundError) as error:
        print(error, file=sys.stderr)
        return CRASHED


def _keep_the_log_readable() -> None:
    """Leave out what libraries say to their own developers: people read this log."""
    # peft 0.21 asks transformers by an old name
    warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`", category=FutureWarning)
    # it advises a package that fetches compiled code at run time, which we keep out
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    os.environ["TQDM_DISABLE"] = "1"  # bars that overwrite themselves are one long line in a file


def run(folder: RunFolder, journal: Journal, *, signals: bool = False) -> int:
    """Train and turn every way to end into an exit code and a result event.

    Args:
        signals: Take SIGTERM and SIGINT as a request to save and end (main thread only).
    """
    asked_early: list[int] = []
    if signals:
        _on_signals(asked_early.append)
    # Imported here so that the lock is held, and the folder shows life, before the seconds that torch takes to load.
    journal.phase("starting", pid=os.getpid())
    from runner.train.need import MemoryNeed
    from runner.train.sft import train
    from runner.train.watcher import StopRequested, Watcher

    watcher, need = Watcher(folder, journal), MemoryNeed()
    if signals:
        _on_signals(lambda _: watcher.stop("release"))
    if asked_early:
        watcher.stop("release")
    watcher.start()
    try:
        return train(folder, folder.spec(), journal, watcher, need)
    except StopRequested as request:
        return ExitCode.PAUSED if request.action == "pause" else ExitCode.RELEASED
    except (ConfigError, DataError, ModelError) as error:
        return _ended(journal, ExitCode.CONFIG_OR_DATA, str(error))
    except NotAllowed as error:
        return _ended(journal, ExitCode.CONFIG_OR_DATA, str(error), reason="Stopped by an alert.")
    except StudioError as error:
        return _ended(journal, CRASHED, str(error))
    except Exception as error:  # the last line of defence: whatever happened must reach the person
        traceback.print_exc()
        if is_out_of_memory(error):
            return _ended(
                journal,
                ExitCode.OUT_OF_MEMORY,
                f"Out of memory: {need.explain(folder.spec())} ({_first_line(error)})",
            )
        return _ended(journal, CRASHED, f"{type(error).__name__}: {error}")
    finally:
        watcher.close()


def is_out_of_memory(error: BaseException) -> bool:
    """Tell a lack of memory, of GPU or machine, from other errors."""
    import torch

    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in OUT_OF_MEMORY_SIGNS)


def _on_signals(act: Callable[[int], None]) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: act(received))


def _ended(journal: Journal, code: int, text: str, **more: str) -> int:
    journal.log(text, "error")
    journal.result(error=text, **more)
    return code


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]


if __name__ == "__main__":
    sys.exit(main())
