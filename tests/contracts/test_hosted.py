"""The team's store keeps the contract over a real Supabase project: `pytest -m hosted tests/contracts`.

It takes about an hour, since here time cannot be made to pass. Keys come from the environment; see `hosted.py`.
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lora_core.store.base import RunnerPort, TaskPort
from tests.contracts import store_contract as contract
from tests.contracts.hosted import HostedProject
from tests.contracts.samples import ANNE, UserStore
from tests.contracts.team import Team

pytestmark = [pytest.mark.hosted, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def hosted() -> Iterator[HostedProject]:
    """The project with its people. Without keys this is an error: whoever asks for these tests wants them run."""
    project = HostedProject()
    project.begin()
    yield project
    project.end()


class Hosted(contract.TeamContract):
    @pytest.fixture
    def team(self, hosted: HostedProject, tmp_path: Path) -> Iterator[Team]:
        team = Team(hosted.url, hosted.key, hosted.token_of, tmp_path / "team")
        yield team
        team.close()
        hosted.empty()

    @pytest.fixture
    def store_for(self, team: Team) -> Callable[[str], UserStore]:
        return team.store_for

    @pytest.fixture
    def ports(self, team: Team) -> tuple[RunnerPort, TaskPort]:
        _, token = team.register(ANNE)
        return team.ports(token)

    @pytest.fixture
    def runner_port(self, ports: tuple[RunnerPort, TaskPort]) -> RunnerPort:
        return ports[0]

    @pytest.fixture
    def task_port(self, ports: tuple[RunnerPort, TaskPort]) -> TaskPort:
        return ports[1]

    @pytest.fixture
    def pass_time(self) -> Callable[[float], None]:
        return time.sleep


class TestDatasets(Hosted, contract.DatasetStoreContract): ...


class TestConfigs(Hosted, contract.ConfigStoreContract): ...


class TestJobs(Hosted, contract.JobStoreContract): ...


class TestQueue(Hosted, contract.QueueContract): ...


class TestMetrics(Hosted, contract.MetricStoreContract): ...


class TestArtifacts(Hosted, contract.ArtifactStoreContract): ...


class TestBlobs(Hosted, contract.BlobStoreContract): ...


class TestTasks(Hosted, contract.TaskStoreContract): ...


class TestNotifications(Hosted, contract.NotificationStoreContract): ...


class TestClaims(Hosted, contract.ClaimContract): ...


class TestRecovery(Hosted, contract.RecoveryContract): ...


class TestShipping(Hosted, contract.ShippingContract): ...


class TestEnds(Hosted, contract.EndContract): ...


class TestRunnerRegistry(Hosted, contract.RunnerRegistryContract): ...


class TestJobHandout(Hosted, contract.JobHandoutContract): ...


class TestOperator(Hosted, contract.OperatorStoreContract): ...
