"""The embedded store keeps the contract."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from lora_core.settings import Settings
from lora_core.store.base import DispatchPort, RunnerPort, TaskPort
from lora_core.store.local import LocalStore
from tests.contracts import store_contract as contract
from tests.contracts.samples import START, UserStore


class Clock:
    """A clock that stands still until a test lets time pass."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class Local(contract.StoreContract):
    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    def local(self, tmp_path: Path, clock: Clock) -> Iterator[LocalStore]:
        store = LocalStore(Settings(home=tmp_path / "home"), clock)
        yield store
        store.close()

    @pytest.fixture
    def store_for(self, local: LocalStore) -> Callable[[str], UserStore]:
        return local.for_user

    @pytest.fixture
    def runner_port(self, local: LocalStore) -> RunnerPort:
        return local.runner_port()

    @pytest.fixture
    def task_port(self, local: LocalStore) -> TaskPort:
        return local.task_port()

    @pytest.fixture
    def pass_time(self, clock: Clock) -> Callable[[float], None]:
        return clock.pass_time


class TestDatasets(Local, contract.DatasetStoreContract): ...


class TestConfigs(Local, contract.ConfigStoreContract): ...


class TestJobs(Local, contract.JobStoreContract): ...


class TestQueue(Local, contract.QueueContract): ...


class TestMetrics(Local, contract.MetricStoreContract): ...


class TestArtifacts(Local, contract.ArtifactStoreContract): ...


class TestBlobs(Local, contract.BlobStoreContract): ...


class TestTasks(Local, contract.TaskStoreContract): ...


class TestNotifications(Local, contract.NotificationStoreContract): ...


class TestRoutes(Local, contract.RouteContract):
    @pytest.fixture
    def dispatch(self, local: LocalStore) -> DispatchPort:
        return local.dispatch_port()


class TestClaims(Local, contract.ClaimContract): ...


class TestRecovery(Local, contract.RecoveryContract): ...


class TestShipping(Local, contract.ShippingContract): ...


class TestEnds(Local, contract.EndContract): ...
