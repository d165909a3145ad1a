"""The team's store keeps the contract: real clients, the real database, a stand-in for the services between them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lora_core.store.base import DispatchPort, RunnerPort, TaskPort
from tests.contracts import store_contract as contract
from tests.contracts.samples import ANNE, BEN, CLEO, UserStore
from tests.contracts.team import Team
from tests.supastub.rig import Project


class Supabase(contract.TeamContract):
    @pytest.fixture
    def team(self, project: Project, tmp_path: Path) -> Iterator[Team]:
        tokens = {
            ANNE: project.add_person(ANNE, "anne@studio.test").token,
            BEN: project.add_person(BEN, "ben@studio.test").token,
            CLEO: project.add_person(CLEO, "cleo@studio.test", operator=True).token,
        }
        team = Team(project.url, project.publishable_key, tokens.__getitem__, tmp_path / "team")
        yield team
        team.close()

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
    def pass_time(self, project: Project) -> Callable[[float], None]:
        return project.pass_time


class TestDatasets(Supabase, contract.DatasetStoreContract): ...


class TestConfigs(Supabase, contract.ConfigStoreContract): ...


class TestJobs(Supabase, contract.JobStoreContract): ...


class TestQueue(Supabase, contract.QueueContract): ...


class TestMetrics(Supabase, contract.MetricStoreContract): ...


class TestArtifacts(Supabase, contract.ArtifactStoreContract): ...


class TestBlobs(Supabase, contract.BlobStoreContract): ...


class TestTasks(Supabase, contract.TaskStoreContract): ...


class TestNotifications(Supabase, contract.NotificationStoreContract): ...


class TestRoutes(Supabase, contract.RouteContract):
    @pytest.fixture
    def dispatch(self, team: Team) -> DispatchPort:
        return team.dispatch_port(team.register(ANNE)[1])


class TestClaims(Supabase, contract.ClaimContract): ...


class TestRecovery(Supabase, contract.RecoveryContract): ...


class TestShipping(Supabase, contract.ShippingContract): ...


class TestEnds(Supabase, contract.EndContract): ...


class TestRunnerRegistry(Supabase, contract.RunnerRegistryContract): ...


class TestJobHandout(Supabase, contract.JobHandoutContract): ...


class TestOperator(Supabase, contract.OperatorStoreContract): ...
