"""A Supabase project for the tests of the stores over one, with Anne and Ben in it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lora_core.store.supabase.store import SupabaseUserStore
from tests.contracts.samples import ANNE, BEN, Studio
from tests.contracts.team import Team
from tests.supastub.fixtures import project, rig
from tests.supastub.rig import Person, Project

__all__ = ["project", "rig"]


@pytest.fixture
def people(project: Project) -> dict[str, Person]:
    return {
        ANNE: project.add_person(ANNE, "anne@studio.test"),
        BEN: project.add_person(BEN, "ben@studio.test"),
    }


@pytest.fixture
def tokens(people: dict[str, Person]) -> dict[str, str]:
    """The token of each person's session, which a test may change."""
    return {user_id: person.token for user_id, person in people.items()}


@pytest.fixture
def team(project: Project, tokens: dict[str, str], tmp_path: Path) -> Iterator[Team]:
    team = Team(project.url, project.publishable_key, tokens.__getitem__, tmp_path / "team")
    yield team
    team.close()


@pytest.fixture
def anne(team: Team) -> SupabaseUserStore:
    return team.store_for(ANNE)


@pytest.fixture
def team_studio(team: Team) -> Studio:
    """Anne, Ben, and a runner of Anne's."""
    return Studio(team.store_for(ANNE), team.store_for(BEN), team.ports(team.register(ANNE)[1])[0])
