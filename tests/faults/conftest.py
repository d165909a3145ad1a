"""Stages over both stores, and the curve of a scripted run that nothing goes wrong with."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lora_core.schema.config import TrainingConfig
from lora_core.schema.dataset import DatasetFormat
from lora_core.schema.run import DataFile, RunSpec
from runner.run_folder import RunFolder
from tests.faults.invariants import Curve, read_curve
from tests.faults.matrix import SCRIPT
from tests.faults.stage import LocalStage, TeamStage
from tests.runner.agent.bench import ROOT
from tests.supastub.fixtures import project, rig
from tests.supastub.rig import Project

__all__ = ["project", "rig"]


@pytest.fixture(scope="session")
def scripted_curve(tmp_path_factory: pytest.TempPathFactory) -> Curve:
    """The losses of the scripted job, from a trainer that no runner and no fault comes near."""
    spec = RunSpec(
        job_id="j",
        job_name="job",
        attempt=1,
        config=TrainingConfig(),
        model_path="/model",
        train=DataFile(path="/data", format=DatasetFormat.TEXT),
        script=SCRIPT | {"helper_process": False},
    )
    folder = RunFolder.create(tmp_path_factory.mktemp("undisturbed"), spec)
    subprocess.run([sys.executable, "-m", "runner.scripted", str(folder.root)], cwd=ROOT, check=True)
    return read_curve(folder.events_file)


@pytest.fixture
def local(tmp_path: Path) -> Iterator[LocalStage]:
    stage = LocalStage(tmp_path / "home")
    yield stage
    stage.close()


@pytest.fixture
def team(tmp_path: Path, project: Project) -> Iterator[TeamStage]:
    stage = TeamStage(tmp_path / "home", project)
    yield stage
    stage.close()
