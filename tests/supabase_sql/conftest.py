"""Every test here has a project of its own; most look at it as Anne, Ben or the operator."""

from collections.abc import Iterator

import pytest

from tests.supabase_sql.stage import Asker
from tests.supabase_sql.workshop import Workshop, open_workshop
from tests.supastub.fixtures import project, rig
from tests.supastub.rig import Project

__all__ = ["project", "rig"]


@pytest.fixture
def anne(project: Project) -> Iterator[Asker]:
    """A person of the team."""
    with Asker.of_person(project, "anne@studio.test") as asker:
        yield asker


@pytest.fixture
def ben(project: Project) -> Iterator[Asker]:
    """Another person of the team."""
    with Asker.of_person(project, "ben@studio.test") as asker:
        yield asker


@pytest.fixture
def operator(project: Project) -> Iterator[Asker]:
    """The operator of the team."""
    with Asker.of_person(project, "olga@studio.test", operator=True) as asker:
        yield asker


@pytest.fixture
def shop(project: Project) -> Iterator[Workshop]:
    """Anne, a runner of hers, and nothing else yet."""
    with open_workshop(project) as workshop:
        yield workshop
