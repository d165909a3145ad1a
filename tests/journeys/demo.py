"""The demo model for journeys: fetched once and shared, as it weighs 270 MB."""

import os
import subprocess
import sys
from pathlib import Path

from tests.journeys.stage import ROOT, Stage

SHARED_HOME = ROOT / "build" / "test-home"


def shared_models() -> Path:
    """Return the folder of base models that LORA_STUDIO_TEST_MODELS names, or one below build/; the demo model is in it."""
    named = os.environ.get("LORA_STUDIO_TEST_MODELS")
    if named:
        return Path(named)
    environment = {**os.environ, "LORA_STUDIO_HOME": str(SHARED_HOME)}
    command = [sys.executable, "-m", "runner.models", "fetch", "smollm2-135m-instruct"]
    fetched = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900, check=False
    )
    assert fetched.returncode == 0, fetched.stderr
    return SHARED_HOME / "models"


def give_models(stage: Stage) -> None:
    """Let a stage use the shared models as if it had fetched them."""
    stage.settings.root.mkdir(parents=True, exist_ok=True)
    stage.settings.models.symlink_to(shared_models(), target_is_directory=True)
