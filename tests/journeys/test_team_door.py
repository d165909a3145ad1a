"""People at the door of a team's studio, in real browsers: in, out, back after a restart, by invitation and not without."""

import re

import httpx
import pytest
from playwright.sync_api import Page, expect

from lora_core.actions import team
from lora_core.schema.job import Job
from tests.journeys.conftest import Visit
from tests.journeys.stage import ROOT, Stage, end, script
from tests.journeys.team_stage import TeamStage
from tests.journeys.visitor import Visitor

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600), pytest.mark.modes("team")]

SAMPLE = ROOT / "examples" / "formats" / "messages.jsonl"
INVITATION = re.compile(r"https?://\S+invitation=\S+")


@pytest.fixture(scope="module")
def shared_environment() -> dict[str, str]:
    return script(steps=5, step_seconds=0.01)


@pytest.fixture(scope="module")
def job(shared_stage: Stage) -> Job:
    """A job of Anne's."""
    return shared_stage.add_job(shared_stage.add_dataset(SAMPLE), "Behind the door")


def restart_app(stage: Stage) -> None:
    assert stage.app is not None
    end(stage.app)
    stage.start_app()


def at_the_door(page: Page) -> None:
    """Check that a page shows the door and nothing of the studio behind it."""
    expect(page.locator("form[data-mode=sign_in]")).to_be_visible()
    expect(page.get_by_test_id("stSidebarNav")).to_have_count(0)


def words(visitor: Visitor) -> str:
    return visitor.page.locator("body").inner_text()


def test_a_link_to_a_job_waits_at_the_door_of_a_fresh_server(
    team_stage: TeamStage, visit: Visit, job: Job
) -> None:
    restart_app(team_stage)
    visitor = visit(team_stage, stranger=True)
    visitor.open(f"/job?id={job.id}")
    at_the_door(visitor.page)
    assert job.name not in words(visitor)
    visitor.knock(team_stage.person.email, "wrong")
    expect(visitor.page.get_by_role("alert").get_by_text("do not belong together")).to_be_visible()
    assert not any(job.name.encode() in frame for frame in visitor.heard)

    visitor.sign_in(team_stage.person.email, team_stage.person.password)
    visitor.sees_title(job.name)
    assert visitor.page.url == f"{team_stage.url}/job?id={job.id}"

    visitor.reload()
    visitor.sees_title(job.name)
    (cookie,) = [cookie for cookie in visitor.context.cookies() if "session" in cookie["name"]]
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    seen_by_scripts = visitor.page.evaluate(
        "document.cookie + JSON.stringify({...localStorage, ...sessionStorage})"
    )
    assert cookie["name"] not in seen_by_scripts
    assert cookie["value"] not in seen_by_scripts


def test_a_restart_of_the_app_keeps_people_in(team_stage: TeamStage, visit: Visit, job: Job) -> None:
    visitor = visit(team_stage)
    visitor.open("/jobs")
    visitor.sees_title("Jobs")
    restart_app(team_stage)
    visitor.open(f"/job?id={job.id}")
    visitor.sees_title(job.name)


def test_signing_out_in_one_tab_ends_the_other_calmly(team_stage: TeamStage, visit: Visit, job: Job) -> None:
    visitor = visit(team_stage)
    visitor.open(f"/job?id={job.id}")
    visitor.sees_title(job.name)
    download = f"/api/download/metrics/{job.id}"
    assert visitor.answer_of(download) == 200
    other = visitor.context.new_page()
    other.goto(team_stage.url)
    other.get_by_role("button", name="Sign out").click()
    at_the_door(other)

    visitor.sees("You are signed out.")  # by itself: nobody has touched this tab
    expect(visitor.page.get_by_text(job.name)).to_have_count(0)
    assert visitor.answer_of(download) == 401
    visitor.page.get_by_role("button", name="Sign in again").click()
    at_the_door(visitor.page)
    visitor.sign_in(team_stage.person.email, team_stage.person.password)
    visitor.sees_title(job.name)


def test_a_link_on_another_site_leads_in(team_stage: TeamStage, visit: Visit) -> None:
    """The cookie is Strict: the document comes without it, the page is drawn with it (pages/frame/cookies.py)."""
    visitor = visit(team_stage, person=team_stage.other)
    visitor.open()
    visitor.sees_title("Home")
    content = f'<a href="{team_stage.url}/jobs">the jobs</a>'
    visitor.page.route(
        "http://mail.test/**", lambda route: route.fulfill(content_type="text/html", body=content)
    )
    visitor.page.goto("http://mail.test/")
    visitor.page.get_by_text("the jobs").click()
    visitor.sees("No jobs yet")
    visitor.requests = [url for url in visitor.requests if not url.startswith("http://mail.test")]


def test_an_invitation_leads_in_once(team_stage: TeamStage, visit: Visit) -> None:
    inviting = visit(team_stage, person=team_stage.operator)
    inviting.open("/operator")
    inviting.sees_title("Team")
    expect(inviting.metric("People")).to_contain_text("3")
    inviting.button("Invite a person").click()
    inviting.fill("invite_email", "carl@studio.test")
    inviting.dialog.get_by_role("button", name="Make the invitation").click()
    link = INVITATION.search(inviting.dialog.get_by_text(INVITATION).first.inner_text())
    assert link is not None
    inviting.dialog.get_by_role("button", name="I have copied it").click()
    expect(inviting.dialog).to_have_count(0)
    assert link[0] not in inviting.page.content()
    inviting.sees("carl@studio.test")

    carl = visit(team_stage, stranger=True, width=390, height=780)
    path = link[0].removeprefix(team_stage.url)
    carl.open(path)
    expect(carl.door).to_have_attribute("data-mode", "join")
    expect(carl.door.locator("input[name=email]")).to_have_value("carl@studio.test")
    with carl.page.expect_navigation():
        carl.knock("carl@studio.test", "a long first password")
    carl.sees("Fine-tune your first model")
    assert "invitation" not in carl.page.url
    inviting.reload()
    expect(inviting.metric("People")).to_contain_text("4")
    expect(inviting.main.get_by_text("carl@studio.test")).to_have_count(0)  # the table of people is a picture

    late = visit(team_stage, stranger=True)
    late.open(path)
    late.knock("dora@studio.test", "a long first password")
    late.sees("by invitation")


def test_without_an_invitation_nobody_gets_in(team_stage: TeamStage, visit: Visit) -> None:
    stranger = visit(team_stage, stranger=True)
    stranger.open("/jobs")
    at_the_door(stranger.page)
    stranger.page.get_by_role("button", name="I have an invitation").click()
    stranger.door.locator("input[name=invitation]").fill("lsi_made_up")
    stranger.knock("eve@studio.test", "a long first password")
    stranger.sees("by invitation")
    stranger.door.locator("input[name=invitation]").fill("")
    stranger.knock("eve@studio.test", "a long first password")
    stranger.sees("by invitation")

    past_the_app = httpx.post(
        f"{team_stage.project.url}/auth/v1/signup",
        headers={"apikey": team_stage.project.publishable_key},
        json={"email": "eve@studio.test", "password": "a long first password"},
    )
    assert past_the_app.status_code >= 400
    people = team.read_team(team_stage.workspace_of(team_stage.operator)).people
    assert "eve@studio.test" not in {person.email for person in people}


def test_the_operators_page_is_the_operators(team_stage: TeamStage, visit: Visit, job: Job) -> None:
    visitor = visit(team_stage)
    visitor.open("/operator")
    visitor.sees("Your account is not an operator's.")
    expect(visitor.button("Invite a person")).to_have_count(0)
    expect(visitor.page.get_by_test_id("stSidebarNav").get_by_text("Team")).to_have_count(0)
    assert not any(team_stage.other.email.encode() in frame for frame in visitor.heard)

    operator = visit(team_stage, person=team_stage.operator)
    operator.open("/operator")
    operator.sees_title("Team")
    expect(operator.page.get_by_test_id("stSidebarNav").get_by_text("Team")).to_be_visible()
    assert any(team_stage.other.email.encode() in frame for frame in operator.heard)
    operator.open(f"/job?id={job.id}")
    operator.sees("No such job")
    assert not any(job.name.encode() in frame for frame in operator.heard)


def test_a_mailed_link_sets_a_new_password_and_ends_other_sessions(
    team_stage: TeamStage, visit: Visit
) -> None:
    person = team_stage.project.add_person(email="finn@studio.test")
    before = visit(team_stage, person=person)
    before.open("/jobs")
    before.sees("No jobs yet")
    visitor = visit(team_stage, stranger=True)
    visitor.open()
    visitor.page.get_by_role("button", name="Forgot password").click()
    visitor.door.locator("input[name=email]").fill(person.email)
    visitor.door.locator("button.main").click()
    visitor.sees("a mail with a link is on its way")
    token = team_stage.project.mails(person.email)[-1]["token_hash"]
    visitor.open(f"/?token_hash={token}&type=recovery")
    visitor.door.locator("input[name=password]").fill("another long password")
    with visitor.page.expect_navigation():
        visitor.door.locator("button.main").click()
    visitor.sees_title("Home")
    assert token not in visitor.page.url
    before.sees("You are signed out.")
