"""The directions between rooms hold, and the app's rooms load nothing heavy."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "transformers", "peft", "trl", "datasets", "bitsandbytes", "runpod")

UI_ROOMS = (
    "app",
    "pages.frame.registry",
    "pages.frame.sidebar",
    "lora_core.studio",
    "lora_core.launch",
    "lora_core.cli",
)
"""What the UI process and the command line import. `pages.frame.main` is a script: it runs only inside Streamlit."""


def run_python(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120
    )


def test_import_contracts_hold(tmp_path: Path) -> None:
    code = "import sys; from importlinter.cli import lint_imports_command; lint_imports_command()"
    linted = run_python("-c", code, "--cache-dir", str(tmp_path))
    assert linted.returncode == 0, linted.stdout + linted.stderr


@pytest.mark.parametrize("room", UI_ROOMS)
def test_ui_room_loads_nothing_heavy(room: str) -> None:
    code = f"import sys, {room}; print(*(name for name in {HEAVY!r} if name in sys.modules))"
    imported = run_python("-c", code)
    assert imported.returncode == 0, imported.stderr
    assert imported.stdout.split() == []


def test_no_page_loads_anything_heavy() -> None:
    pages = sorted(path.stem for path in (ROOT / "pages").glob("[!_]*.py"))
    imports = "; ".join(f"import pages.{page}" for page in pages)
    imported = run_python(
        "-c", f"import sys; {imports}; print(*(name for name in {HEAVY!r} if name in sys.modules))"
    )
    assert imported.returncode == 0, imported.stderr
    assert imported.stdout.split() == []
