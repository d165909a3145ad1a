"""People at the door of a team's studio, in real browsers: in, out, back after a restart, and nothing of each other."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.journeys.conftest import OpenStage, Visit
from tests.journeys.stage import Stage, end
from tests.journeys.visitor import Visitor
from tests.supastub.fixtures import project, rig  # noqa: F401
from tests.supastub.rig import Person, Project

pytestmark = [pytest.mark.browser, pytest.mark.slow]

JOB = "/job?id=6f1ed002-ab55-4b37-8a4c-111111111111"


@pytest.fixture
def stage(project: Project, open_stage: OpenStage) -> Stage:  # noqa: F811
    """A team's app; no runner."""
    opened = open_stage(**project.environment())
    opened.start_app()
    return opened


def type_in(visitor: Visitor, email: str, password: str) -> None:
    """Fill in the form as a person does, and press Enter."""
    visitor.page.get_by_label("E-mail").first.fill(email)
    visitor.page.get_by_label("Password", exact=False).first.fill(password)
    visitor.page.keyboard.press("Enter")


def enter(visitor: Visitor, person: Person, path: str = "/") -> None:
    visitor.page.goto(visitor.url + path)
    type_in(visitor, person.email, person.password)
    expect(sign_out(visitor)).to_be_visible()


def sign_out(visitor: Visitor):
    return visitor.page.get_by_role("button", name="Sign out")


def at_the_door(visitor: Visitor) -> None:
    expect(visitor.page.get_by_role("button", name="Forgot password")).to_be_visible()


def test_a_deep_link_waits_at_the_door(stage: Stage, visit: Visit, project: Project) -> None:  # noqa: F811
    anne = project.add_person(email="anne@studio.test")
    visitor = visit(stage)
    visitor.page.goto(stage.url + JOB)
    at_the_door(visitor)
    expect(visitor.page.get_by_test_id("stSidebarNav")).to_have_count(0)
    type_in(visitor, anne.email, "wrong")
    expect(visitor.page.get_by_role("alert").get_by_text("do not belong together")).to_be_visible()
    type_in(visitor, anne.email, anne.password)
    visitor.sees("No such job")
    assert visitor.page.url == stage.url + JOB
    visitor.reload()
    visitor.sees("No such job")
    assert "HttpOnly" not in visitor.page.evaluate("document.cookie")
    assert "lora_studio_session" not in visitor.page.evaluate("document.cookie")


def test_two_people_in_one_app_see_nothing_of_each_other(
    stage: Stage,
    visit: Visit,
    project: Project,  # noqa: F811
    tmp_path: Path,
) -> None:
    anne, ben = project.add_person(email="anne@studio.test"), project.add_person(email="ben@studio.test")
    of_anne, of_ben = visit(stage), visit(stage, scheme="dark")
    enter(of_anne, anne, "/datasets")
    enter(of_ben, ben, "/datasets")
    file = tmp_path / "annes-own.jsonl"
    file.write_text('{"text": "hello"}\n' * 20, encoding="utf-8")
    of_anne.upload(file)
    of_anne.sees(re.compile("annes-own"))
    of_ben.reload()
    of_ben.sees("No data sets yet")
    assert "annes" not in of_ben.page.locator("body").inner_text()
    dataset = project.sql("select id::text from public.datasets")[0]["id"]
    status = "async url => (await fetch(url)).status"
    assert of_anne.page.evaluate(status, f"/api/download/dataset/{dataset}") == 200
    assert of_ben.page.evaluate(status, f"/api/download/dataset/{dataset}") == 404
    sign_out(of_ben).click()
    at_the_door(of_ben)
    assert of_ben.page.evaluate(status, f"/api/download/dataset/{dataset}") == 401
    of_anne.reload()
    of_anne.sees(re.compile("annes-own"))


def test_signing_out_ends_every_tab_calmly(stage: Stage, visit: Visit, project: Project) -> None:  # noqa: F811
    anne = project.add_person(email="anne@studio.test")
    visitor = visit(stage)
    enter(visitor, anne, "/jobs")
    other = visitor.context.new_page()
    other.goto(stage.url)
    other.get_by_role("button", name="Sign out").click()
    expect(other.get_by_role("button", name="Forgot password")).to_be_visible()
    visitor.sees("You are signed out.")
    visitor.page.get_by_role("button", name="Sign in again").click()
    at_the_door(visitor)
    assert visitor.page.url.endswith("/jobs")


def test_a_restart_of_the_app_keeps_people_in(stage: Stage, visit: Visit, project: Project) -> None:  # noqa: F811
    anne = project.add_person(email="anne@studio.test")
    visitor = visit(stage)
    enter(visitor, anne, "/jobs")
    assert stage.app is not None
    end(stage.app)
    stage.start_app()
    visitor.open("/jobs")
    visitor.sees("No jobs yet")


def test_a_link_on_another_site_leads_in(stage: Stage, visit: Visit, project: Project) -> None:  # noqa: F811
    """The cookie is Strict: the document comes without it, the page is drawn with it (pages/frame/cookies.py)."""
    anne = project.add_person(email="anne@studio.test")
    visitor = visit(stage)
    enter(visitor, anne)
    visitor.page.route(
        "http://mail.test/**",
        lambda route: route.fulfill(content_type="text/html", body=f'<a href="{stage.url}/jobs">the job</a>'),
    )
    visitor.page.goto("http://mail.test/")
    visitor.page.get_by_text("the job").click()
    visitor.sees("No jobs yet")
    visitor.requests = [url for url in visitor.requests if not url.startswith("http://mail.test")]


def test_an_invitation_and_a_new_password_lead_in(stage: Stage, visit: Visit, project: Project) -> None:  # noqa: F811
    operator = project.add_person(email="operator@studio.test", operator=True)
    inviting = visit(stage)
    enter(inviting, operator, "/operator")
    inviting.page.get_by_role("button", name="Invite a person").click()
    inviting.dialog.get_by_role("textbox").first.fill("carl@studio.test")
    inviting.dialog.get_by_role("button", name="Make the invitation").click()
    code = inviting.dialog.get_by_test_id("stCode")
    expect(code).to_contain_text("invitation=")
    link = re.search(r"https?://\S+", code.inner_text())
    assert link is not None
    carl = visit(stage, width=390, height=780)
    carl.page.goto(link[0])
    carl.page.get_by_label("Choose a password").fill("a long first password")
    carl.page.keyboard.press("Enter")
    carl.sees("Fine-tune your first model")
    assert "invitation" not in carl.page.url

    again = visit(stage)
    again.page.goto(stage.url)
    again.page.get_by_role("button", name="Forgot password").click()
    again.page.get_by_label("E-mail").nth(1).fill("carl@studio.test")
    again.page.keyboard.press("Enter")
    expect(again.page.get_by_text("a mail with a link is on its way")).to_be_visible()
    token = project.mails("carl@studio.test")[-1]["token_hash"]
    again.page.goto(f"{stage.url}/?token_hash={token}&type=recovery")
    again.page.get_by_label("New password").fill("another long password")
    again.page.keyboard.press("Enter")
    expect(sign_out(again)).to_be_visible()
    carl.sees("You are signed out.")


def test_a_project_that_is_away_is_said_and_comes_back(stage: Stage, visit: Visit, project: Project) -> None:  # noqa: F811
    anne = project.add_person(email="anne@studio.test")
    visitor = visit(stage)
    enter(visitor, anne, "/jobs")
    project.stop_gateway()
    visitor.page.reload()
    visitor.sees(re.compile("cannot be reached"))
    expect(sign_out(visitor)).to_be_visible()
    project.start_gateway()
    visitor.page.reload()
    visitor.sees("No jobs yet")
