"""The rig's own tests work on a tiny project, notes.sql, so that they do not depend on the studio's migrations."""

from collections.abc import Callable, Iterator

import httpx
import pytest
from supabase import Client, ClientOptions, create_client

from tests.supastub.cluster import HERE
from tests.supastub.fixtures import project, shared_cluster
from tests.supastub.rig import Person, Project, Rig

__all__ = ["project"]


@pytest.fixture(scope="session")
def rig() -> Iterator[Rig]:
    """A rig over the tiny project; `project` uses it."""
    rig = Rig(shared_cluster(), "notes", [HERE / "notes.sql"])
    yield rig
    rig.close()


@pytest.fixture
def anne(project: Project) -> Person:
    """A person with a session."""
    return project.add_person(email="anne@notes.test")


@pytest.fixture
def ben(project: Project) -> Person:
    """Another person."""
    return project.add_person(email="ben@notes.test")


@pytest.fixture
def client_of(project: Project) -> Iterator[Callable[[Person | None], Client]]:
    """Make the real client of a person, or of nobody."""
    connections = []

    def make(person: Person | None) -> Client:
        connection = httpx.Client(timeout=20, verify=False)
        connections.append(connection)
        options = ClientOptions(auto_refresh_token=False, persist_session=False, httpx_client=connection)
        if person:
            options.headers["Authorization"] = f"Bearer {person.token}"
        return create_client(project.url, project.publishable_key, options)

    yield make
    for connection in connections:
        connection.close()


@pytest.fixture
def http(project: Project) -> Iterator[Callable[[Person | None], httpx.Client]]:
    """Make a plain HTTP client with the headers of a person, or of nobody."""
    connections = []

    def make(person: Person | None) -> httpx.Client:
        token = person.token if person else project.publishable_key
        headers = {"apikey": project.publishable_key, "Authorization": f"Bearer {token}"}
        connections.append(httpx.Client(base_url=project.url, headers=headers, timeout=20, verify=False))
        return connections[-1]

    yield make
    for connection in connections:
        connection.close()
