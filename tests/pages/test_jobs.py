"""The list of jobs: found, filtered, paged."""

from datetime import timedelta

import pytest
from streamlit.testing.v1 import AppTest

from lora_core.actions import jobs as actions
from lora_core.actions import queue
from lora_core.actions.workspace import Workspace
from lora_core.errors import Unavailable
from lora_core.schema.base import utc_now
from lora_core.schema.job import JobFilter, JobStatus
from lora_core.studio import Studio
from pages import jobs
from tests.pages.conftest import OpenPage
from tests.pages.seeding import Run, queued_job, seed_every_state
from tests.pages.words import words


def names(page: AppTest) -> list[str]:
    return page.dataframe[0].value["Name"].tolist()


def test_an_empty_list_leads_to_the_first_job(open_page: OpenPage) -> None:
    page = open_page("jobs")
    assert "No jobs yet" in words(page)
    page.button(key="first_job").click().run()
    assert not page.exception


def test_jobs_in_every_state_are_listed_newest_first(open_page: OpenPage, studio: Studio) -> None:
    seed_every_state(studio, scale=0.05)
    page = open_page("jobs")
    table = page.dataframe[0].value
    assert names(page)[0] == "Memory saver on tickets"
    assert [status for (status,) in table["Status"]] == [
        "Queued", "Starting", "Running", "Cancelled", "Failed", "Paused", "Completed",
    ]  # fmt: skip
    assert table["Progress"].tolist()[-1] == 100.0


def test_the_address_filters(open_page: OpenPage, studio: Studio, workspace: Workspace) -> None:
    queued_job(studio, "night run")
    actions.cancel_job(workspace, queued_job(studio, "day run").id)
    assert names(open_page("jobs", search="night")) == ["night run"]
    assert names(open_page("jobs", status="Cancelled")) == ["day run"]
    assert "No job matches" in words(open_page("jobs", search="night", status="Cancelled"))


def test_a_long_list_has_pages(open_page: OpenPage, studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "PAGE_ROWS", 2)
    for name in ("a", "b", "c"):
        queued_job(studio, name)
    page = open_page("jobs")
    assert names(page) == ["c", "b"]
    page.button(key="older").click().run()
    assert names(page) == ["a"]
    page.button(key="first").click().run()
    assert names(page) == ["c", "b"]


def test_a_list_without_live_jobs_is_drawn_too(
    open_page: OpenPage, studio: Studio, workspace: Workspace
) -> None:
    actions.cancel_job(workspace, queued_job(studio).id)
    table = open_page("jobs").dataframe[0].value
    assert table["Last loss"].isna().all()
    assert table["Started"].isna().all()


def test_an_unchanged_poll_draws_the_same(open_page: OpenPage, studio: Studio) -> None:
    Run(studio, queued_job(studio), total_steps=9).train(3)
    page = open_page("jobs")
    before = page.dataframe[0].proto.SerializeToString(deterministic=True)
    assert page.run().dataframe[0].proto.SerializeToString(deterministic=True) == before


def test_a_store_that_is_away_is_a_calm_error(open_page: OpenPage, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object, **__: object) -> None:
        raise Unavailable("The database does not answer.", "Try again in a moment.")

    monkeypatch.setattr(actions, "list_jobs", away)
    assert "The database does not answer" in words(open_page("jobs"))


def test_a_place_in_a_list_belongs_to_its_filter(
    open_page: OpenPage, studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "PAGE_ROWS", 1)
    for name in ("one a", "one b", "two"):
        queued_job(studio, name)
    page = open_page("jobs")
    page.button(key="older").click().run()
    page.text_input(key="search").set_value("one").run()
    assert names(page) == ["one b"]
    assert JobFilter(search="one") != JobFilter()


def ask(page: AppTest, verb: str, *job_ids: str) -> AppTest:
    """Leave the question that the bar of the ticked rows leaves; the test browser cannot tick."""
    page.session_state["question"] = " ".join(["bulk", verb, *job_ids])
    return page.run()


def test_several_jobs_are_cancelled_after_one_question_that_names_them(
    open_page: OpenPage, studio: Studio, workspace: Workspace
) -> None:
    first, second = queued_job(studio, "first"), queued_job(studio, "se*cond")
    actions.cancel_job(workspace, first.id)
    page = ask(open_page("jobs"), "cancel", first.id, second.id)
    assert "Cancel 2 jobs?" in words(page)
    assert "- **first**\n- **se\\*cond**" in words(page)
    assert actions.get_job(workspace, second.id).status is JobStatus.QUEUED
    page.button(key="bulk_confirm").click().run()
    assert actions.get_job(workspace, second.id).status is JobStatus.CANCELLED
    assert page.toast[0].value == "1 cancelled, 1 had ended already\\."
    assert not page.exception


def test_the_question_can_be_left(open_page: OpenPage, studio: Studio, workspace: Workspace) -> None:
    job = queued_job(studio)
    page = ask(open_page("jobs"), "pause", job.id)
    page.button(key="bulk_leave").click().run()
    assert actions.get_job(workspace, job.id).status is JobStatus.QUEUED
    assert "Pause 1 job?" not in words(page)


def test_a_note_says_what_a_job_waits_for_or_why_it_stopped(
    open_page: OpenPage, studio: Studio, workspace: Workspace
) -> None:
    seed_every_state(studio, scale=0.05)
    night = queued_job(studio, "night")
    queue.start_job_after(workspace, night.id, utc_now() + timedelta(days=2))
    notes = dict(zip(names(page := open_page("jobs")), page.dataframe[0].value["Note"], strict=True))
    assert notes["night"].startswith("Not before ")
    assert notes["Rank 256 on the laptop"].startswith("Out of memory at step 31.")
    assert notes["Support bot, long answers"] == "", "the person knows that they paused it"
    assert notes["Memory saver on tickets"] == ""


def test_a_job_that_was_asked_to_pause_says_so(
    open_page: OpenPage, studio: Studio, workspace: Workspace
) -> None:
    run = Run(studio, queued_job(studio), total_steps=9).train(3)
    actions.pause_job(workspace, run.job_id)
    assert open_page("jobs").dataframe[0].value["Status"].tolist() == [["Pausing"]]


def test_several_jobs_get_a_priority(open_page: OpenPage, studio: Studio, workspace: Workspace) -> None:
    first, second = queued_job(studio, "first"), queued_job(studio, "second")
    page = ask(open_page("jobs"), "prioritise", first.id, second.id)
    assert "Change the priority of 2 jobs?" in words(page)
    page.number_input(key="bulk_priority").set_value(7).run()
    page.button(key="bulk_confirm").click().run()
    assert [actions.get_job(workspace, job.id).priority for job in (first, second)] == [7, 7]
    assert "2 with priority 7" in page.toast[0].value


def test_archived_jobs_are_shown_when_asked_for(
    open_page: OpenPage, studio: Studio, workspace: Workspace
) -> None:
    away, _ = queued_job(studio, "away"), queued_job(studio, "here")
    actions.cancel_job(workspace, away.id)
    page = ask(open_page("jobs"), "archive", away.id)
    page.button(key="bulk_confirm").click().run()
    assert names(page) == ["here"]
    assert names(open_page("jobs", archived="true")) == ["away"]


def test_a_table_of_other_rows_has_another_key(studio: Studio) -> None:
    one, two = queued_job(studio, "one"), queued_job(studio, "two")
    assert jobs._table_key([one, two]) != jobs._table_key([two, one])
