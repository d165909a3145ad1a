"""Letting a runner in and shutting it out."""

import shlex
from pathlib import Path

import pytest

from lora_core.actions import runners
from lora_core.actions.workspace import Workspace
from lora_core.errors import ConfigError, Forbidden, NotAllowed, NotFound
from lora_core.schema.runner import RunnerScope
from lora_core.secrets import token_sha256
from tests.lora_core.actions.scenes import RUNNER
from tests.lora_core.actions.team_fakes import KEY, URL, FakeRegistry, team_workspace


@pytest.fixture
def person(workspace: Workspace, tmp_path: Path) -> Workspace:
    return team_workspace(workspace, tmp_path)


@pytest.fixture
def operator(workspace: Workspace, tmp_path: Path) -> Workspace:
    return team_workspace(workspace, tmp_path, operator=True)


def registry(workspace: Workspace) -> FakeRegistry:
    assert isinstance(workspace.registry, FakeRegistry)
    return workspace.registry


def test_only_the_sha256_of_a_token_reaches_the_store(person: Workspace) -> None:
    new = runners.register_runner(person, "gpu-box")
    token = new.token.reveal()
    assert token.startswith("lsr_")
    assert len(token) > 40
    assert list(registry(person).tokens) == [token_sha256(token)]
    assert token not in repr(new)
    assert token not in repr(runners.read_runners(person))


def test_two_registrations_have_two_tokens(person: Workspace) -> None:
    first, second = (runners.register_runner(person, "gpu-box") for _ in range(2))
    assert first.token.reveal() != second.token.reveal()
    assert len(runners.read_runners(person).open_registrations) == 2


def test_the_command_gives_the_machine_all_it_needs(person: Workspace) -> None:
    new = runners.register_runner(person, "gpu-box")
    *exports, last = new.command.splitlines()
    assert last == "python -m runner"
    assert dict(shlex.split(line)[1].split("=", 1) for line in exports) == {
        "SUPABASE_URL": URL,
        "SUPABASE_PUBLISHABLE_KEY": KEY,
        "LORA_STUDIO_RUNNER_TOKEN": new.token.reveal(),
    }


def test_values_of_the_environment_cannot_become_commands() -> None:
    command = runners.start_command({"A": "x'; rm -rf ~; $(date) `id`"}, "python -m runner")
    assert shlex.split(command.splitlines()[0])[1] == "A=x'; rm -rf ~; $(date) `id`"


def test_a_name_is_tidied_and_asked_for(person: Workspace) -> None:
    assert runners.register_runner(person, "  my   box\n").name == "my box"
    with pytest.raises(ConfigError, match="needs a name"):
        runners.register_runner(person, "   ")


def test_a_runner_for_the_team_is_for_the_operator(person: Workspace, operator: Workspace) -> None:
    with pytest.raises(Forbidden, match="operator"):
        runners.register_runner(person, "shared", RunnerScope.TEAM)
    assert runners.register_runner(operator, "shared", RunnerScope.TEAM).scope is RunnerScope.TEAM


def test_a_revoked_runner_is_shut_out(person: Workspace) -> None:
    new = runners.register_runner(person, "gpu-box")
    runners.revoke_runner(person, new.registration_id)
    assert not registry(person).tokens
    view = runners.read_runners(person)
    assert (view.open_registrations, len(view.registrations)) == ([], 1)
    with pytest.raises(NotFound):
        runners.revoke_runner(person, "nobody")


def test_machines_of_others_are_told_from_ones_own(person: Workspace) -> None:
    new = runners.register_runner(person, "gpu-box")
    registry(person).show_up(new.registration_id, RUNNER)
    (registration,) = runners.read_runners(person).registrations
    shared = RUNNER.model_copy(update={"id": "r2"})
    assert runners.RunnersView([registration], [RUNNER, shared]).shared == [shared]


def test_the_embedded_mode_needs_no_tokens(workspace: Workspace) -> None:
    assert runners.read_runners(workspace).registrations == ()
    with pytest.raises(NotAllowed, match="one person on this machine"):
        runners.register_runner(workspace, "gpu-box")
