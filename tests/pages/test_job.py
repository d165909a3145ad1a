"""The page of one job, in every state a job can be in."""

from datetime import timedelta

import pytest

from lora_core.actions import jobs, queue, requests
from lora_core.actions.workspace import Workspace
from lora_core.schema.artifact import ArtifactKind
from lora_core.schema.base import new_id, utc_now
from lora_core.schema.job import Job, JobStatus, Outcome, RequestedAction
from lora_core.studio import Studio
from tests.pages.conftest import OpenPage
from tests.pages.seeding import Run, queued_job, seed_every_state
from tests.pages.words import words


@pytest.fixture
def run(studio: Studio) -> Run:
    """A job that a runner trains."""
    return Run(studio, queued_job(studio, "my *first* job"), total_steps=200).train(60)


def metrics(page: object) -> dict[str, str]:
    return {metric.label: metric.value for metric in page.metric}  # type: ignore[attr-defined]


@pytest.mark.parametrize("address", [{}, {"id": ""}, {"id": "x"}, {"id": "../../etc"}, {"id": new_id()}])
def test_an_address_without_a_job_leads_back(open_page: OpenPage, address: dict[str, str]) -> None:
    page = open_page("job", **address)
    assert "No such job" in words(page)
    page.button(key="all_jobs").click().run()
    assert not page.exception


def test_a_job_in_each_state_is_shown(open_page: OpenPage, studio: Studio) -> None:
    for job in seed_every_state(studio, scale=0.1).values():
        page = open_page("job", id=job.id)
        assert not page.exception
        assert page.title[0].value == job.name.replace("-", "\\-")


@pytest.mark.parametrize("tab", ["Watch", "Log", "Files", "Config", "History"])
def test_every_part_of_an_ended_job_is_shown(open_page: OpenPage, run: Run, tab: str) -> None:
    run.keep(ArtifactKind.ADAPTER, 60)
    run.end(Outcome.COMPLETED)
    page = open_page("job", id=run.job_id, tab=tab)
    assert not page.exception
    assert not page.error


def test_a_running_job_shows_its_numbers(open_page: OpenPage, run: Run) -> None:
    page = open_page("job", id=run.job_id)
    shown = metrics(page)
    assert "my \\*first\\* job" in words(page)
    assert "Live · training" in words(page)
    assert page.get("progress")[0].proto.text == "Step 60 of 200"
    assert shown["Time left"] == "00:01:56"
    assert len(shown["Smoothed loss"].split(".")[1]) == 4


def test_an_unchanged_poll_draws_the_same(open_page: OpenPage, run: Run) -> None:
    def drawn() -> list[bytes]:
        elements = [element for element in page.main if getattr(element, "proto", None) is not None]
        return [element.proto.SerializeToString(deterministic=True) for element in elements]

    page = open_page("job", id=run.job_id)
    before = drawn()
    page.run()
    assert len(before) > 20
    assert drawn() == before


def test_a_queued_job_says_why_it_waits(open_page: OpenPage, studio: Studio) -> None:
    page = open_page("job", id=queued_job(studio).id)
    assert "No runner is online" in words(page)
    assert "The curve begins with the first step." in words(page)


def test_a_silent_runner_is_shown_as_disconnected(
    open_page: OpenPage, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "ONLINE_SECONDS", -1)
    assert "Disconnected" in words(open_page("job", id=run.job_id))


def test_a_failed_job_says_what_happened(open_page: OpenPage, run: Run) -> None:
    run.end(Outcome.FAILED, reason="out of memory", error="Out of memory at step 60. Halve the micro-batch.")
    page = open_page("job", id=run.job_id)
    assert "Halve the micro" in words(page)
    assert page.button(key="resume").label == "Try again"
    assert "delete" in {button.key for button in page.button}


def test_odd_points_break_nothing(open_page: OpenPage, run: Run) -> None:
    run.point(61, loss=None, nonfinite={"loss": "nan"}).point(62, loss=0.0).evaluate(62, None)
    for x in ("Step", "Epoch", "Tokens", "Elapsed"):
        page = open_page("job", id=run.job_id, x=x, log="true")
        assert not page.exception
        assert page.get("vega_lite_chart")


def test_a_job_with_evaluations_alone_has_a_chart(open_page: OpenPage, studio: Studio) -> None:
    run = Run(studio, queued_job(studio)).phase("training", start_step=0, total_steps=9).evaluate(1, 1.5)
    assert open_page("job", id=run.job_id).get("vega_lite_chart")


def test_a_click_pauses_the_job(open_page: OpenPage, run: Run) -> None:
    page = open_page("job", id=run.job_id)
    page.button(key="pause").click().run()
    assert run.job.requested_action is RequestedAction.PAUSE
    assert "The job was asked to pause" in words(page)
    assert page.button(key="pause").disabled


def test_cancel_asks_first_and_names_the_job(open_page: OpenPage, run: Run, workspace: Workspace) -> None:
    page = open_page("job", id=run.job_id)
    page.button(key="cancel").click().run()
    assert run.job.requested_action is None
    assert "**my \\*first\\* job** stops at once" in words(page)
    assert "checkpoints are kept. Queued again later, it goes on from step 45" in words(page)
    page.button(key="keep").click().run()
    assert "stops at once" not in words(page)
    page.button(key="cancel").click().run()
    page.button(key="confirm_cancel").click().run()
    assert run.job.requested_action is RequestedAction.CANCEL
    assert "stops at once" not in words(page)


def test_cancel_says_that_nothing_was_saved_yet(open_page: OpenPage, studio: Studio) -> None:
    run = Run(studio, queued_job(studio), total_steps=200).train(60, checkpoints=False)
    page = open_page("job", id=run.job_id)
    page.button(key="cancel").click().run()
    assert "No checkpoint was saved yet" in words(page)
    assert "pause it instead" in words(page)


def test_a_job_that_has_not_run_is_cancelled_in_other_words(open_page: OpenPage, studio: Studio) -> None:
    job = queued_job(studio, "not yet")
    page = open_page("job", id=job.id)
    page.button(key="cancel").click().run()
    assert "**not yet** is taken out of the queue" in words(page)
    page.button(key="confirm_cancel").click().run()
    assert jobs.get_job(studio.workspace(), job.id).status is JobStatus.CANCELLED
    assert "Cancelled" in page.toast[0].value


def test_a_question_that_is_answered_too_late_says_so(open_page: OpenPage, run: Run) -> None:
    page = open_page("job", id=run.job_id)
    page.button(key="cancel").click().run()
    run.end(Outcome.COMPLETED)
    page.button(key="confirm_cancel").click().run()
    assert "completed\\: it is too late to cancel it" in page.toast[0].value


def test_a_request_that_nobody_answers_is_told(
    open_page: OpenPage, run: Run, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = open_page("job", id=run.job_id)
    page.button(key="pause").click().run()
    assert "The job was asked to pause" in words(page)
    monkeypatch.setattr(requests, "ANSWER_SECONDS", -1)
    assert "its runner has not answered yet" in words(page.run())


def test_a_job_that_waits_for_a_time_is_started_at_once(
    open_page: OpenPage, studio: Studio, workspace: Workspace
) -> None:
    job = queued_job(studio)
    assert not [button for button in open_page("job", id=job.id).button if button.key == "start_now"]
    queue.start_job_after(workspace, job.id, utc_now() + timedelta(days=3))
    page = open_page("job", id=job.id)
    assert "It starts no earlier than" in words(page)
    page.button(key="start_now").click().run()
    assert jobs.get_job(workspace, job.id).not_before is None
    assert not [button for button in page.button if button.key == "start_now"]


def test_a_job_that_waits_for_its_retry_says_when_and_why_and_is_tried_at_once(
    open_page: OpenPage, run: Run, workspace: Workspace
) -> None:
    run.end(Outcome.FAILED, reason="The disk is full.", error="No space left.\nlast line", transient=True)
    page = open_page("job", id=run.job_id)
    text = words(page)
    assert "It is tried again at" in text
    assert "The disk is full \\(failure 1 of 3 in a row\\)" in text
    assert "What went wrong before" in text
    assert "last line" in [code.value for code in page.code]
    assert page.button(key="start_now").label == "Try now"
    page.button(key="start_now").click().run()
    assert run.job.retry_at is None


def test_an_action_that_comes_too_late_says_so(open_page: OpenPage, run: Run) -> None:
    page = open_page("job", id=run.job_id)
    run.end(Outcome.COMPLETED)
    page.button(key="pause").click().run()
    assert run.job.status is JobStatus.COMPLETED
    assert page.toast
    assert not page.exception


def test_a_paused_job_resumes(open_page: OpenPage, run: Run) -> None:
    run.end(Outcome.PAUSED, reason="paused by its owner")
    page = open_page("job", id=run.job_id)
    assert "Paused by its owner" in words(page)
    page.button(key="resume").click().run()
    assert run.job.status is JobStatus.QUEUED


def test_a_job_is_renamed(open_page: OpenPage, run: Run) -> None:
    page = open_page("job", id=run.job_id)
    page.text_input(key="job_name").set_value("better").run()
    page.button(key="rename").click().run()
    assert run.job.name == "better"


def test_an_ended_job_is_deleted_after_asking(
    open_page: OpenPage, studio: Studio, workspace: Workspace
) -> None:
    job: Job = queued_job(studio)
    jobs.cancel_job(workspace, job.id)
    page = open_page("job", id=job.id)
    page.button(key="delete").click().run()
    assert jobs.get_job(workspace, job.id)
    page.button(key="confirm_delete").click().run()
    assert not jobs.list_jobs(workspace).items


def test_a_queued_job_is_held_and_says_where_it_stands(open_page: OpenPage, studio: Studio) -> None:
    Run(studio, queued_job(studio, "at work"))
    job = queued_job(studio)
    page = open_page("job", id=job.id)
    assert "Number 1 in the queue\\: all runners that can take it are busy" in words(page)
    page.button(key="hold").click().run()
    assert jobs.get_job(studio.workspace(), job.id).status is JobStatus.PAUSED
    assert "Held" in page.toast[0].value


def test_the_place_in_the_queue_is_changed(open_page: OpenPage, studio: Studio, workspace: Workspace) -> None:
    job = queued_job(studio)
    page = open_page("job", id=job.id)
    page.button(key="place").click().run()
    page.number_input(key="priority").set_value(12).run()
    page.button(key="save_place").click().run()
    changed = jobs.get_job(workspace, job.id)
    assert (changed.priority, changed.not_before) == (12, None)
    assert not page.exception


def test_a_job_resumes_from_a_chosen_checkpoint(open_page: OpenPage, run: Run, workspace: Workspace) -> None:
    early, _ = run.keep(ArtifactKind.CHECKPOINT, 30), run.keep(ArtifactKind.CHECKPOINT, 60)
    run.end(Outcome.PAUSED)
    page = open_page("job", id=run.job_id)
    page.button(key="resume_from").click().run()
    choice = page.selectbox(key="chosen_checkpoint")
    (label,) = (option for option in choice.options if option.startswith("Step 30 "))
    choice.select(label).run()
    page.button(key="confirm_resume").click().run()
    assert (run.job.status, run.job.resume_from) == (JobStatus.QUEUED, early.id)


def test_a_fork_is_refused_in_its_dialog_or_leads_to_the_new_job(
    open_page: OpenPage, run: Run, workspace: Workspace
) -> None:
    checkpoint = run.keep(ArtifactKind.CHECKPOINT, 60)
    page = open_page("job", id=run.job_id)
    page.button(key="fork").click().run()
    page.text_area(key="fork_changes").set_value("adapter.rank=3").run()
    page.button(key="confirm_fork").click().run()
    assert "another adapter" in page.error[0].value
    page.text_area(key="fork_changes").set_value("optimisation.learning_rate=0.00005").run()
    page.button(key="confirm_fork").click().run()
    (made,) = (job for job in jobs.list_jobs(workspace).items if job.id != run.job_id)
    assert made.parent_artifact_id == checkpoint.id
    assert made.config.optimisation.learning_rate == 0.00005


def test_an_ended_job_is_archived_and_taken_back(open_page: OpenPage, run: Run) -> None:
    run.end(Outcome.COMPLETED)
    page = open_page("job", id=run.job_id)
    page.button(key="archive").click().run()
    assert run.job.archived_at is not None
    page.button(key="archive").click().run()
    assert run.job.archived_at is None


def test_the_log_is_searched(open_page: OpenPage, run: Run) -> None:
    run.log("loading the data").log("row 3 was cut", "warning")
    page = open_page("job", id=run.job_id, tab="Log")
    assert "loading the data" in page.code[0].value
    page.text_input(key="log_search").set_value("row 3").run()
    assert "WARNING  row 3 was cut" in page.code[0].value
    assert "loading" not in page.code[0].value
    page.text_input(key="log_search").set_value("no such words").run()
    assert "No line matches." in words(page)


def test_a_checkpoint_is_pinned(open_page: OpenPage, run: Run, workspace: Workspace) -> None:
    checkpoint = run.keep(ArtifactKind.CHECKPOINT, 60)
    page = open_page("job", id=run.job_id, tab="Files")
    page.button(key=f"pin_{checkpoint.id}").click().run()
    assert workspace.artifacts.get(checkpoint.id).pinned
    assert page.button(key=f"pin_{checkpoint.id}").label == "Pinned"


def test_the_config_shows_what_differs_from_its_preset(open_page: OpenPage, studio: Studio) -> None:
    job = queued_job(studio, overrides=("adapter.rank=8",))
    page = open_page("job", id=job.id, tab="Config")
    assert page.dataframe[0].value.to_dict("records") == [
        {"Setting": "adapter.rank", "preset Balanced": "32", "This job": "8"}
    ]
    assert "rank: 8" in page.code[0].value


def test_the_history_names_runner_and_reason(open_page: OpenPage, run: Run) -> None:
    run.end(Outcome.PAUSED, reason="paused by its owner")
    page = open_page("job", id=run.job_id, tab="History")
    attempts, events = (table.value for table in page.dataframe)
    assert attempts["Runner"].tolist() == ["workstation"]
    assert attempts["Outcome"].tolist() == ["paused"]
    ended, *_, submitted = events.to_dict("records")
    assert (ended["Who"], ended["From and to"]) == ("runner workstation", "Running → Paused")
    assert ended["Why"] == "paused by its owner"
    assert (submitted["Who"], submitted["What"], submitted["From and to"]) == ("you", "submitted", "→ Queued")
    assert "the CSV has them in UTC" in words(page)
