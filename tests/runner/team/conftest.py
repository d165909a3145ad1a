"""A team's bench for every test here."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runner.team.bench import TeamBench
from tests.supastub.fixtures import project, rig
from tests.supastub.rig import Project

__all__ = ["project", "rig"]


@pytest.fixture
def bench(tmp_path: Path, project: Project) -> Iterator[TeamBench]:
    bench = TeamBench(tmp_path / "home", project)
    yield bench
    bench.close()
