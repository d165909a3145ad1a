"""A studio in a fresh folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lora_core.actions.workspace import Workspace
from lora_core.settings import Settings
from lora_core.studio import Studio


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    opened = Studio(Settings(home=tmp_path))
    yield opened
    opened.close()


@pytest.fixture
def workspace(studio: Studio) -> Workspace:
    return studio.workspace()
