"""The runners page: which machines there are, what each does, and what waits for them."""

from datetime import timedelta
from pathlib import Path

import pytest

from lora_core.actions import queue as queue_actions
from lora_core.actions import runners as runner_actions
from lora_core.actions.workspace import Workspace
from lora_core.errors import Unavailable
from lora_core.schema.base import utc_now
from lora_core.schema.job import Outcome
from lora_core.schema.runner import RunnerScope
from lora_core.studio import Studio
from tests.lora_core.actions.team_fakes import FakeRegistry, team_workspace
from tests.pages.conftest import OpenPage
from tests.pages.seeding import Run, queued_job, runner
from tests.pages.words import words


def metrics(page: object) -> dict[str, str]:
    return {metric.label: metric.value for metric in page.metric}  # type: ignore[attr-defined]


def links(page: object) -> list[str]:
    return [link.proto.label for link in page.get("page_link")]  # type: ignore[attr-defined]


class TestAlone:
    """The embedded mode."""

    def test_without_runners_it_says_what_one_is_and_how_to_start_it(self, open_page: OpenPage) -> None:
        page = open_page("runners")
        assert "No runner has been here yet" in words(page)
        assert "python -m runner" in page.code[0].value
        assert "Nothing waits" in words(page)
        assert not [button for button in page.button if button.key == "to_settings"]

    def test_a_machine_is_shown_with_what_it_has(self, open_page: OpenPage, studio: Studio) -> None:
        studio.runner_port().announce(runner("work*station").model_copy(update={"slots": 2}))
        page = open_page("runners")
        text = words(page)
        assert "work\\*station" in text
        assert "8 CPUs · 32 GB memory · no GPU · version 0\\.1\\.0" in text
        assert "Free" in text
        assert "2 slots, 2 free" in text
        assert metrics(page) == {"Online": "1", "At work": "0", "Waiting": "0"}

    def test_a_silent_machine_is_offline_and_says_since_when(
        self, open_page: OpenPage, studio: Studio
    ) -> None:
        gone = utc_now() - timedelta(hours=3)
        studio.runner_port().announce(runner().model_copy(update={"seen_at": gone}))
        page = open_page("runners")
        assert "Offline" in words(page)
        assert "Last seen 3 h ago" in words(page)
        assert metrics(page)["Online"] == "0"

    def test_a_job_at_work_is_named_with_its_progress(self, open_page: OpenPage, studio: Studio) -> None:
        run = Run(studio, queued_job(studio, "my *first* job"), total_steps=200).train(60)
        page = open_page("runners")
        assert "my \\*first\\* job" in links(page)
        (progress,) = page.get("progress")
        assert progress.proto.text.startswith("Step 60 of 200 · since ")
        assert metrics(page)["At work"] == "1"
        run.end(Outcome.COMPLETED)
        assert not page.run().get("progress")

    def test_the_queue_stands_in_the_order_in_which_it_is_taken(
        self, open_page: OpenPage, studio: Studio, workspace: Workspace
    ) -> None:
        Run(studio, queued_job(studio, "at work")).train(3)
        studio.runner_port().announce(runner().model_copy(update={"state": "training"}))
        later, first, second = (queued_job(studio, name) for name in ("later", "first", "second"))
        queue_actions.start_job_after(workspace, later.id, utc_now() + timedelta(days=1))
        queue_actions.prioritise_job(workspace, first.id, 5)
        page = open_page("runners")
        waiting = [name for name in links(page) if name in ("later", "first", "second")]
        assert waiting == ["first", "second", "later"]
        text = words(page)
        assert "3 of your jobs wait" in text
        assert "Priority 5" in text
        assert "Number 1 in the queue\\: all runners that can take it are busy" in text
        assert "It starts no earlier than" in text
        assert page.run().metric[2].value == "3"
        assert second.name in links(page)

    def test_a_long_queue_leads_to_the_list(
        self, open_page: OpenPage, studio: Studio, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("pages.runners.PLACES", 2)
        for name in "abcd":
            queued_job(studio, name)
        page = open_page("runners")
        assert "2 more, on the list of jobs" in links(page)

    def test_an_unchanged_poll_draws_the_same(self, open_page: OpenPage, studio: Studio) -> None:
        def drawn() -> list[bytes]:
            elements = [element for element in page.main if getattr(element, "proto", None) is not None]
            return [element.proto.SerializeToString(deterministic=True) for element in elements]

        Run(studio, queued_job(studio), total_steps=200).train(60)
        page = open_page("runners")
        before = drawn()
        page.run()
        assert len(before) > 8
        assert drawn() == before

    def test_a_store_that_is_away_is_a_calm_error(
        self, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def away(_workspace: Workspace) -> None:
            raise Unavailable("The database does not answer.", "Try again in a moment.")

        monkeypatch.setattr(runner_actions, "read_runners", away)
        text = words(open_page("runners"))
        assert "The database does not answer" in text
        assert "No runner has been here" not in text, "an error must not look like 'no data'"


class TestTeam:
    """A team's studio, its registry in memory."""

    @pytest.fixture
    def workspace(self, studio: Studio, tmp_path: Path) -> Workspace:
        return team_workspace(studio.workspace(), tmp_path)

    def test_registering_is_on_the_settings_page(self, open_page: OpenPage) -> None:
        page = open_page("runners")
        assert "Register a runner under Settings" in links(page)
        page.button(key="to_settings").click().run()
        assert not page.exception

    def test_a_registration_that_no_machine_uses_is_told(
        self, open_page: OpenPage, workspace: Workspace
    ) -> None:
        registry(workspace).register("one", "gpu-box", RunnerScope.MINE, "a" * 64)
        text = words(open_page("runners"))
        assert "gpu\\-box" in text
        assert "Not seen yet" in text

    def test_a_machine_shows_whose_jobs_it_takes_and_its_token(
        self, open_page: OpenPage, workspace: Workspace, studio: Studio
    ) -> None:
        mine, shared = runner("mine"), runner("shared")
        for machine in (mine, shared):
            studio.runner_port().announce(machine)
        registry(workspace).register("one", "gpu-box", RunnerScope.MINE, "a" * 64)
        registry(workspace).show_up("one", mine)
        text = words(open_page("runners"))
        assert "My jobs" in text
        assert "Token of gpu\\-box, valid since" in text
        assert "Whole team" in text
        assert "Let in by the team's operator" in text

    def test_of_other_peoples_jobs_only_their_presence_is_told(
        self, open_page: OpenPage, studio: Studio
    ) -> None:
        studio.runner_port().announce(runner("shared").model_copy(update={"state": "training"}))
        page = open_page("runners")
        assert "Busy with another person's job" in words(page)
        assert metrics(page)["At work"] == "0"


def registry(workspace: Workspace) -> FakeRegistry:
    assert isinstance(workspace.registry, FakeRegistry)
    return workspace.registry
