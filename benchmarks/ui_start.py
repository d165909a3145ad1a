"""From the command to a healthy app, to the first page drawn for a visitor, and the memory then, on an empty studio.

Theirs: the same app in a process that has also imported torch and transformers' models, as an app that trains or chats in its own
process must. That is why here only the runner loads them.
"""

import sys
from pathlib import Path

from benchmarks.harness.app import HOST, Visitor, free_port, serve
from benchmarks.harness.line import ROUNDS, Line, Options, compare
from benchmarks.harness.memory import resident_mb
from lora_core.launch import app_command
from lora_core.settings import Settings

PACKAGES = ("streamlit", "torch", "transformers")
SIDES = ("ours", "theirs")
HEAVY = "import torch; from transformers import AutoModelForCausalLM, AutoTokenizer"


def measure(options: Options) -> list[Line]:
    """Measure seconds and resident memory."""
    found: dict[str, dict[str, list[float]]] = {
        side: {"healthy": [], "drawn": [], "memory": []} for side in SIDES
    }
    for number in range((1 if options.quick else ROUNDS) + 1):
        for side in SIDES:
            healthy, drawn, memory = _start(options.folder / f"{side}-{number}", heavy=side == "theirs")
            if number:  # the first start reads everything from disk
                for name, value in zip(found[side], (healthy, drawn, memory), strict=True):
                    found[side][name].append(value)
    ours, theirs = found["ours"], found["theirs"]
    return [
        compare(
            "start until healthy",
            ours["healthy"],
            theirs["healthy"],
            "s",
            "<= 0.7",
            "with torch and transformers",
        ),
        compare(
            "start until the first page is drawn", ours["drawn"], theirs["drawn"], "s", "<= 0.7", "the same"
        ),
        compare("memory after the first page", ours["memory"], theirs["memory"], "MB", "<= 0.6", "the same"),
    ]


def _start(folder: Path, *, heavy: bool) -> tuple[float, float, float]:
    """Return seconds to healthy, seconds to the first page, MB."""
    folder.mkdir()
    port = free_port()
    command = app_command(Settings(home=folder / "home", host=HOST, port=port))
    if heavy:
        arguments = command[command.index("streamlit") :]
        code = f"{HEAVY}; import runpy, sys; sys.argv = {arguments!r}; runpy.run_module('streamlit', run_name='__main__')"
        command = [sys.executable, "-c", code]
    with serve(command, port, folder / "home", folder / "log") as app, Visitor.of(app) as visitor:
        drawn = visitor.open()
        return app.start_seconds, app.start_seconds + drawn.seconds, resident_mb(app.process.pid)
