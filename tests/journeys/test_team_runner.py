"""A person lets a runner in on the settings page: its token is shown once, the machine comes online, and goes when revoked."""

import re
import shlex

import pytest
from playwright.sync_api import expect

from tests.journeys.conftest import Visit
from tests.journeys.stage import ROOT, eventually
from tests.journeys.team_stage import TeamStage

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600), pytest.mark.modes("team")]

SAMPLE = ROOT / "examples" / "formats" / "messages.jsonl"
TOKEN = re.compile(r"lsr_[\w-]{40,}")


def test_a_runner_is_registered_started_and_revoked(team_stage: TeamStage, visit: Visit) -> None:
    visitor = visit(team_stage, person=team_stage.other)
    visitor.open("/settings")
    visitor.sees("You have registered no runner yet.")
    visitor.sees("this-machine")  # the team's own, for everybody
    visitor.button("Register a runner").click()
    expect(visitor.dialog.get_by_text("Jobs of the whole team")).to_have_count(0)
    visitor.fill("runner_name", "bens-box")
    visitor.dialog.get_by_role("button", name="Register", exact=True).click()
    typed = visitor.dialog.get_by_test_id("stCode").inner_text()
    found = TOKEN.search(typed)
    assert found is not None
    visitor.dialog.get_by_role("button", name="I have copied it").click()
    expect(visitor.dialog).to_have_count(0)
    visitor.sees("Not seen yet")
    assert found[0] not in visitor.page.content()
    assert team_stage.project.sql(
        "select count(*) as rows from private.runner_tokens where token_sha256 = sha256(%s)",
        found[0].encode(),
    ) == [{"rows": 1}]

    *exports, command = typed.strip().splitlines()
    pairs = [shlex.split(line)[1].split("=", 1) for line in exports]
    assert {name for name, _ in pairs} == {
        "SUPABASE_URL", "SUPABASE_PUBLISHABLE_KEY", "LORA_STUDIO_RUNNER_TOKEN",
    }  # fmt: skip
    assert command == "python -m runner"
    runner = team_stage.spawn(
        "bens-box",
        (*team_stage.runner_command[:3], "--name", "bens-box"),
        {**team_stage.machine("bens-box"), **dict(pairs)},
    )
    card = visitor.main.locator("[class*='st-key-registration_']")
    expect(card).to_contain_text("bens-box")
    expect(card).to_contain_text("Free")
    visitor.heard.clear()
    visitor.reload()
    expect(card).to_contain_text("Free")
    assert not any(found[0].encode() in frame for frame in visitor.heard)
    anne = visit(team_stage)
    anne.open("/settings")
    anne.sees("this-machine")
    expect(anne.main.get_by_text("bens-box")).to_have_count(0)

    card.get_by_role("button", name="Revoke").click()
    visitor.dialog.get_by_role("button", name="Revoke the runner").click()
    visitor.sees("You have registered no runner yet.")
    eventually(lambda: "refuses this runner" in team_stage.logs()["bens-box.log"], "the runner is shut out")
    assert runner.poll() is None, "it waits to be let in again, and says so"
