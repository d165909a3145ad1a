"""The fixtures `rig` and `project`. A conftest.py that wants them: `from tests.supastub.fixtures import project, rig`.

However many conftest files import them, a test session has one cluster, one template and one gateway.
"""

import atexit
import functools
from collections.abc import Iterator

import pytest

from tests.supastub.cluster import Cluster
from tests.supastub.rig import Project, Rig

__all__ = ["project", "rig"]


@functools.cache
def shared_cluster() -> Cluster:
    """Return the session's cluster, started at the first call."""
    cluster = Cluster()
    atexit.register(cluster.stop)
    return cluster


@functools.cache
def shared_rig() -> Rig:
    """Return the session's rig, started at the first call."""
    rig = Rig(shared_cluster())
    atexit.register(rig.close)
    return rig


@pytest.fixture(scope="session")
def rig() -> Rig:
    """A project's surroundings: PostgreSQL with all migrations, and the gateway."""
    return shared_rig()


@pytest.fixture
def project(rig: Rig) -> Iterator[Project]:
    """A project as after its set-up: nobody has signed up yet."""
    with rig.project() as fresh:
        yield fresh
