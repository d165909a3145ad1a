"""The database enforces the one table of transitions, whoever writes."""

import itertools
from typing import Any

import pytest

from lora_core.lifecycle import OWNED, REQUESTS, TRANSITIONS
from lora_core.schema.base import new_id
from lora_core.schema.job import JobStatus, RequestedAction
from lora_core.schema.runner import TaskKind
from tests.supabase_sql.stage import Asker, events_of, refused, set_job
from tests.supastub.rig import Project

SET = "select (private.set_status(j, %s, %s, %s, %s, %s)).* from public.training_jobs j where j.id = %s"


def set_status(
    project: Project,
    job_id: str,
    to: str,
    *,
    actor: str = "system",
    action: str = "moved",
    reason: str = "",
    error: str = "",
) -> dict[str, Any]:
    """Move a job as the functions do."""
    return project.sql(SET, to, actor, action, reason, error, job_id)[0]


def test_the_transitions_are_those_of_the_domain(project: Project) -> None:
    stored = {
        (row["from_status"], row["to_status"]) for row in project.sql("select * from private.job_transitions")
    }
    assert stored == {(old.value, new.value) for old, to in TRANSITIONS.items() for new in to}


def test_the_states_are_those_of_the_domain(anne: Asker, project: Project) -> None:
    job = anne.submit()
    for status in JobStatus:
        set_job(project, job["id"], status=status.value)
    with refused("23514"):
        set_job(project, job["id"], status="lost")


def test_the_kinds_of_tasks_are_those_of_the_domain(anne: Asker) -> None:
    for kind in TaskKind:
        anne.call("add_task", p_task={"id": new_id(), "kind": kind.value, "subject_id": "s"})
    with refused("23514"):
        anne.call("add_task", p_task={"id": new_id(), "kind": "mine_coins", "subject_id": "s"})


def test_no_update_makes_another_transition(anne: Asker, project: Project) -> None:
    job = anne.submit()
    for old, new in itertools.product(JobStatus, JobStatus):
        if old is new:
            continue
        set_job(project, job["id"], status=old.value)
        change = ("update public.training_jobs set status = %s where id = %s", new.value, job["id"])
        if new in TRANSITIONS[old]:
            project.sql(*change)
        else:
            with refused("PT422", f"A job that is {old.value} cannot become {new.value}."):
                project.sql(*change)


def test_a_new_job_starts_as_queued(anne: Asker, project: Project) -> None:
    with refused("PT422", "A new job starts as queued."):
        project.sql(
            "insert into public.training_jobs (id, user_id, name, dataset_id, config, status)"
            " values (gen_random_uuid(), %s, 'x', gen_random_uuid(), '{}', 'running')",
            anne.id,
        )


def test_a_state_cannot_follow_itself(anne: Asker, project: Project) -> None:
    job = anne.submit()
    with refused("PT422", "A job that is queued cannot become queued."):
        set_status(project, job["id"], "queued")


def test_leaving_the_runner_drops_the_request_and_what_is_live(anne: Asker, project: Project) -> None:
    job = anne.submit()
    set_job(
        project,
        job["id"],
        status="running",
        requested_action="pause",
        request_id="r",
        phase="training",
        remaining_seconds=9,
    )
    moved = set_status(project, job["id"], "paused")
    names = ("requested_action", "request_id", "phase", "remaining_seconds", "ended_at")
    assert [moved[name] for name in names] == [None, "", "", None, None]


def test_a_request_stays_while_a_runner_holds_the_job(anne: Asker, project: Project) -> None:
    job = anne.submit()
    set_job(
        project, job["id"], status="initializing", requested_action="pause", request_id="r", phase="fetching"
    )
    moved = set_status(project, job["id"], "running")
    assert [moved[name] for name in ("requested_action", "request_id", "phase")] == ["pause", "r", "fetching"]


@pytest.mark.parametrize("to", ["completed", "failed", "cancelled"])
def test_an_ended_job_has_an_end(anne: Asker, project: Project, to: str) -> None:
    job = anne.submit()
    set_job(project, job["id"], status="running")
    assert set_status(project, job["id"], to)["ended_at"] is not None


def test_an_error_is_kept_and_is_the_reason_in_the_audit_trail_where_there_is_none(
    anne: Asker, project: Project
) -> None:
    job = anne.submit()
    moved = set_status(project, job["id"], "failed", error="No memory.")
    assert (moved["error"], moved["status_reason"]) == ("No memory.", "")
    assert events_of(project, job["id"])[-1] == ("system", "moved", "queued", "failed", "No memory.")


def test_a_request_is_allowed_in_the_states_of_the_domain(anne: Asker, project: Project) -> None:
    job = anne.submit()
    for status, action in itertools.product(JobStatus, RequestedAction):
        if status is JobStatus.QUEUED and action is RequestedAction.CANCEL:
            continue  # a move at once
        set_job(project, job["id"], status=status.value, requested_action=None)
        request = {"p_job": job["id"], "p_action": action.value, "p_request_id": "r"}
        if status in REQUESTS[action]:
            assert anne.call("request_job", **request)["requested_action"] == action.value
        else:
            with refused("PT422", f"The job is {status.value}: there is nothing to {action.value}."):
                anne.call("request_job", **request)


def test_a_person_moves_a_job_as_the_domain_allows(anne: Asker, project: Project) -> None:
    job = anne.submit()
    moves = {JobStatus.QUEUED, JobStatus.PAUSED, JobStatus.CANCELLED}
    for old, new in itertools.product(JobStatus, JobStatus):
        set_job(project, job["id"], status=old.value)
        move = {"p_job": job["id"], "p_to": new.value}
        if old in OWNED:
            with refused("PT422", f"The job is {old.value}: a runner holds it and has to be asked."):
                anne.call("move_job", **move)
        elif new not in moves:
            with refused("PT422", f"Only a runner can make a job {new.value}."):
                anne.call("move_job", **move)
        elif new not in TRANSITIONS[old]:
            with refused("PT422", f"A job that is {old.value} cannot become {new.value}."):
                anne.call("move_job", **move)
        else:
            assert anne.call("move_job", **move)["status"] == new.value


def test_the_audit_trail_cannot_be_changed_or_removed(anne: Asker, project: Project) -> None:
    anne.submit()
    for statement in (
        "update public.job_events set actor = 'x'",
        "delete from public.job_events",
        "truncate public.job_events",
    ):
        with refused("PT403", "job_events is append-only."):
            project.sql(statement)


def test_costs_cannot_be_changed_or_removed(project: Project) -> None:
    for statement in ("update public.cost_records set usd = 0", "delete from public.cost_records"):
        with refused("PT403", "cost_records is append-only."):
            project.sql(statement)


def test_a_notification_is_told_once(anne: Asker, project: Project) -> None:
    job = anne.submit()
    for title in ("first", "again"):
        project.sql(
            "select private.notify(%s, %s, '1/failed', 'job_failed', %s, 'b', null)",
            anne.id,
            job["id"],
            title,
        )
    assert [row["title"] for row in anne.rows("select title from public.notifications")] == ["first"]
