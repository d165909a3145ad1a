"""A world for each matrix, and the stage of the SQL tests for what needs a project of its own."""

from collections.abc import Iterator

import pytest

from tests.security.world import World, open_world
from tests.supabase_sql.workshop import Workshop, open_workshop
from tests.supastub.fixtures import project, rig
from tests.supastub.rig import Project, Rig

__all__ = ["project", "rig"]


@pytest.fixture(scope="module")
def world(rig: Rig) -> Iterator[World]:
    """A world that nobody changes. A module that uses it uses no `project`: the rig has one at a time."""
    with rig.project() as fresh, open_world(fresh) as made:
        yield made


@pytest.fixture
def shop(project: Project) -> Iterator[Workshop]:
    """Anne, a runner of hers, and nothing else yet."""
    with open_workshop(project) as workshop:
        yield workshop
