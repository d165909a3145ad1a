"""The settings page: a studio for one person, and a team's with its runners."""

from datetime import timedelta
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from lora_core.actions.workspace import Workspace
from lora_core.errors import Unavailable
from lora_core.schema.base import utc_now
from lora_core.schema.runner import RunnerInfo, RunnerScope
from lora_core.secrets import token_sha256
from lora_core.studio import Studio
from pages.widgets.runner_facts import machine_facts
from tests.lora_core.actions.team_fakes import FakeRegistry, team_workspace
from tests.pages.conftest import OpenPage
from tests.pages.seeding import runner
from tests.pages.words import words


class TestAlone:
    """The embedded mode."""

    def test_it_says_whose_studio_this_is_and_where(self, open_page: OpenPage, workspace: Workspace) -> None:
        text = words(open_page("settings"))
        assert "A studio for one person, on this machine" in text
        assert workspace.settings.root.name in text
        assert "docs/supabase.md" in text

    def test_how_many_runners_are_there_is_counted(self, open_page: OpenPage, studio: Studio) -> None:
        assert "None is online" in words(open_page("settings"))
        studio.runner_port().announce(runner("work*station"))
        gone = utc_now() - timedelta(hours=3)
        studio.runner_port().announce(runner("old").model_copy(update={"seen_at": gone}))
        assert "1 online" in words(open_page("settings"))

    def test_nothing_can_be_registered(self, open_page: OpenPage) -> None:
        assert not [button for button in open_page("settings").button if button.key == "register"]


class TestTeam:
    """A team's studio, its store in memory."""

    @pytest.fixture
    def operator(self) -> bool:
        return False

    @pytest.fixture
    def workspace(self, studio: Studio, tmp_path: Path, operator: bool) -> Workspace:
        return team_workspace(studio.workspace(), tmp_path, operator=operator)

    def test_the_account_is_shown(self, open_page: OpenPage, workspace: Workspace) -> None:
        page = open_page("settings")
        assert "ada@example.org" in words(page)
        assert workspace.user_id in [code.value for code in page.code]
        assert workspace.settings.root.name not in words(page), (
            "the server's folders are not for its visitors"
        )

    def test_without_runners_it_says_what_one_is(self, open_page: OpenPage) -> None:
        assert "You have registered no runner yet." in words(open_page("settings"))

    def test_a_token_is_shown_until_it_is_put_away_and_never_again(
        self, open_page: OpenPage, workspace: Workspace
    ) -> None:
        page = register(open_page("settings"), "gpu-box")
        (command,) = [code.value for code in page.code if "LORA_STUDIO_RUNNER_TOKEN" in code.value]
        token = command.split("LORA_STUDIO_RUNNER_TOKEN=")[1].split()[0]
        assert list(registry(workspace).tokens) == [token_sha256(token)]
        assert "shown this once" in words(page)
        page.button(key="token_done").click().run()
        assert token not in everything(page)
        assert "gpu\\-box" in words(page)
        assert token not in everything(open_page("settings"))

    def test_a_token_not_yet_put_away_outlives_a_run_of_the_page(self, open_page: OpenPage) -> None:
        page = register(open_page("settings"), "gpu-box")
        assert "LORA_STUDIO_RUNNER_TOKEN" in everything(page.run())

    def test_a_runner_without_a_name_is_refused_in_the_dialog(
        self, open_page: OpenPage, workspace: Workspace
    ) -> None:
        page = register(open_page("settings"), "  ")
        assert "A runner needs a name" in words(page)
        assert not registry(workspace).rows

    def test_a_person_registers_for_their_own_jobs_only(
        self, open_page: OpenPage, workspace: Workspace
    ) -> None:
        page = open_page("settings")
        page.button(key="register").click().run()
        assert not page.radio
        register(page, "gpu-box")
        assert [row.scope for row in registry(workspace).rows.values()] == [RunnerScope.MINE]

    @pytest.mark.parametrize("operator", [True])
    def test_the_operator_may_register_for_the_team(self, open_page: OpenPage, workspace: Workspace) -> None:
        page = open_page("settings")
        page.button(key="register").click().run()
        page.radio(key="runner_scope").set_value(RunnerScope.TEAM)
        page = register(page, "shared")
        page.button(key="token_done").click().run()
        assert "Whole team" in words(page)

    def test_machines_are_shown_with_their_registration(
        self, open_page: OpenPage, workspace: Workspace
    ) -> None:
        registry(workspace).register("one", "gpu-box", RunnerScope.MINE, "a" * 64)
        page = open_page("settings")
        assert "Not seen yet" in words(page)
        registry(workspace).show_up("one", runner("cellar").model_copy(update={"state": "training"}))
        text = words(page.run())
        assert "cellar" in text
        assert "Training" in text

    def test_runners_of_the_team_stand_apart(
        self, open_page: OpenPage, workspace: Workspace, studio: Studio
    ) -> None:
        studio.runner_port().announce(runner("shared box"))
        text = words(open_page("settings"))
        assert "Runners of the team" in text
        assert "shared box" in text

    def test_revoking_asks_and_names_the_runner(self, open_page: OpenPage, workspace: Workspace) -> None:
        registry(workspace).register("one", "gpu-box", RunnerScope.MINE, "a" * 64)
        page = open_page("settings")
        page.button(key="revoke_one").click().run()
        assert "gpu\\-box** is shut out at once" in words(page)
        page.button(key="revoke_keep").click().run()
        assert registry(workspace).tokens
        page.button(key="revoke_one").click().run()
        page.button(key="revoke_do").click().run()
        assert not registry(workspace).tokens
        assert not [button for button in page.button if button.key == "revoke_one"]

    def test_a_store_that_is_away_is_a_calm_error(
        self, open_page: OpenPage, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def away(_self: object) -> None:
            raise Unavailable("The Supabase project does not answer.", "Try again in a moment.")

        monkeypatch.setattr(FakeRegistry, "list", away)
        page = open_page("settings")
        assert "The Supabase project does not answer" in words(page)
        assert "no runner yet" not in words(page), "an error must not look like 'no data'"


def test_gpus_of_a_kind_are_counted() -> None:
    machine: RunnerInfo = runner().model_copy(
        update={"gpus": ("NVIDIA H200", "NVIDIA H200"), "gpu_memory_gb": 141.0, "cpus": 1, "version": "1"}
    )
    assert machine_facts(machine) == "1 CPU · 32 GB memory · 2 × NVIDIA H200 with 141 GB each · version 1"


def register(page: AppTest, name: str) -> AppTest:
    if not [field for field in page.text_input if field.key == "runner_name"]:
        page.button(key="register").click().run()
    page.text_input(key="runner_name").set_value(name)
    return page.button(key="register_do").click().run()


def registry(workspace: Workspace) -> FakeRegistry:
    assert isinstance(workspace.registry, FakeRegistry)
    return workspace.registry


def everything(page: AppTest) -> str:
    return words(page) + "".join(code.value for code in page.code)
