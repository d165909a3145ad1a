"""What every store must do, written against `lora_core.store.base` alone.

A backend's test file derives from each class and overrides the fixtures `store_for`, `runner_port`, `task_port` and
`pass_time` (`tests/contracts/test_local.py` shows how). A team's store keeps the contracts in `team.py` too.
"""

from tests.contracts.store_contract.artifacts import ArtifactStoreContract
from tests.contracts.store_contract.blobs import BlobStoreContract
from tests.contracts.store_contract.claims import ClaimContract
from tests.contracts.store_contract.configs import ConfigStoreContract
from tests.contracts.store_contract.datasets import DatasetStoreContract
from tests.contracts.store_contract.ends import EndContract
from tests.contracts.store_contract.jobs import JobStoreContract
from tests.contracts.store_contract.metrics import MetricStoreContract
from tests.contracts.store_contract.notifications import NotificationStoreContract
from tests.contracts.store_contract.queue import QueueContract
from tests.contracts.store_contract.recovery import RecoveryContract
from tests.contracts.store_contract.routes import RouteContract
from tests.contracts.store_contract.shipping import ShippingContract
from tests.contracts.store_contract.stage import StoreContract
from tests.contracts.store_contract.tasks import TaskStoreContract
from tests.contracts.store_contract.team import (
    JobHandoutContract,
    OperatorStoreContract,
    RunnerRegistryContract,
    TeamContract,
)

__all__ = [
    "ArtifactStoreContract",
    "BlobStoreContract",
    "ClaimContract",
    "ConfigStoreContract",
    "DatasetStoreContract",
    "EndContract",
    "JobHandoutContract",
    "JobStoreContract",
    "MetricStoreContract",
    "NotificationStoreContract",
    "OperatorStoreContract",
    "QueueContract",
    "RecoveryContract",
    "RouteContract",
    "RunnerRegistryContract",
    "ShippingContract",
    "StoreContract",
    "TaskStoreContract",
    "TeamContract",
]
