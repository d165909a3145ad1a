"""What people do with their jobs, and what they are refused."""

from typing import Any

import pytest

from lora_core.schema.base import new_id
from tests.supabase_sql.stage import (
    Asker,
    Row,
    add_artifact,
    add_attempt,
    call,
    events_of,
    hex_of,
    job_of,
    race,
    refused,
    set_job,
)
from tests.supastub.rig import Project

NO_JOB = "There is no such job (any more)."
NO_DATASET = "There is no such data set (any more)."


def of_job(function: str, job_id: str) -> tuple[str, dict[str, Any]]:
    """Return a call about a job with all it takes."""
    more: dict[str, dict[str, Any]] = {
        "request_job": {"p_action": "cancel", "p_request_id": "r"},
        "move_job": {"p_to": "cancelled"},
        "rename_job": {"p_name": "mine"},
        "hand_out_job": {"p_token_sha256": hex_of("t"), "p_wait_seconds": 60},
        "delete_job": {},
    }
    return function, {"p_job": job_id} | more[function]


class TestSubmitting:
    def test_a_submitted_job_is_queued_and_as_it_was_asked_for(self, anne: Asker) -> None:
        asked = {
            "name": "Try",
            "target": "box",
            "gpus": 2,
            "gpu_memory_gb": 24.5,
            "priority": 3,
            "total_steps": 70,
        }
        job = anne.submit(**asked, created_at="2026-03-01T12:00:00Z")
        assert asked.items() <= job.items()
        assert (job["user_id"], job["status"], job["config"]) == (anne.id, "queued", {"schema_version": 1})
        assert job["created_at"] == "2026-03-01T12:00:00+00:00"

    def test_what_is_left_out_has_defaults(self, anne: Asker) -> None:
        job = anne.submit()
        assert [job[name] for name in ("target", "gpus", "gpu_memory_gb", "priority", "total_steps")] == [
            "local",
            0,
            0,
            0,
            0,
        ]

    def test_it_bears_the_name_of_its_data_set(self, anne: Asker) -> None:
        assert anne.submit(dataset_id=anne.add_dataset(name="Tickets 2"))["dataset_name"] == "Tickets 2"

    def test_it_leaves_a_line_in_the_audit_trail(self, anne: Asker, project: Project) -> None:
        assert events_of(project, anne.submit()["id"]) == [(anne.id, "submitted", None, "queued", "")]

    def test_the_same_id_again_gives_the_stored_job(self, anne: Asker, project: Project) -> None:
        job = anne.submit()
        assert anne.submit(id=job["id"], name="Other", dataset_id=job["dataset_id"]) == job
        assert len(events_of(project, job["id"])) == 1

    def test_the_same_id_at_the_same_time_makes_one_job(self, anne: Asker, project: Project) -> None:
        asked = job_of(dataset_id=anne.add_dataset())
        with anne.again(project) as other:
            first, second = race(
                project,
                anne.connection,
                lambda: anne.call("submit_job", p_job=asked),
                other,
                lambda: call(other, "submit_job", p_job=asked),
            )
        assert first == second
        assert len(events_of(project, asked["id"])) == 1

    def test_an_id_of_somebody_else_is_a_conflict(self, anne: Asker, ben: Asker) -> None:
        job = anne.submit()
        with refused("PT409", "There is another job with this id."):
            ben.submit(id=job["id"])

    def test_a_job_belongs_to_who_submits_it_whatever_it_says(self, anne: Asker, ben: Asker) -> None:
        assert ben.submit(user_id=anne.id, status="completed", cost_usd=-1)["user_id"] == ben.id

    @pytest.mark.parametrize("column", ["dataset_id", "validation_dataset_id"])
    def test_a_data_set_of_somebody_else_is_not_found(self, anne: Asker, ben: Asker, column: str) -> None:
        with refused("PT404", NO_DATASET):
            ben.submit(**{"dataset_id": ben.add_dataset()} | {column: anne.add_dataset()})

    @pytest.mark.parametrize("column", ["dataset_id", "validation_dataset_id"])
    def test_a_data_set_that_is_gone_is_not_found(self, anne: Asker, column: str) -> None:
        with refused("PT404", NO_DATASET):
            anne.submit(**{"dataset_id": anne.add_dataset()} | {column: new_id()})

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"id": None}, "A job has an id."),
            ({"name": ""}, "The name is empty."),
            ({"name": "x" * 121}, "The name is longer than 120 characters."),
            ({"dataset_name": "x" * 121}, "The data set's name is longer than 120 characters."),
            ({"target": "x" * 101}, "The target is longer than 100 characters."),
            ({"config": None}, "A job has a config."),
            ({"config": []}, "A job has a config."),
            ({"config": {"x": "y" * 100_000}}, "The config is longer than 100000 characters."),
            ({"gpus": 65}, "0 to 64 GPUs"),
            ({"gpu_memory_gb": -1}, "0 to 64 GPUs"),
        ],
    )
    def test_nonsense_is_refused(self, anne: Asker, changes: dict[str, Any], message: str) -> None:
        with refused("PT422", message):
            anne.submit(**changes)

    def test_nobody_submits_without_a_session(self, project: Project) -> None:
        with project.as_role("authenticated") as connection, refused("PT401", "You are signed out."):
            call(connection, "submit_job", p_job=job_of())

    def test_no_table_of_jobs_is_written_directly(self, anne: Asker) -> None:
        job = anne.submit()
        for statement in (
            "update public.training_jobs set status = 'completed'",
            "update public.training_jobs set name = 'x'",
            "delete from public.training_jobs",
            f"insert into public.job_attempts values ('{job['id']}', 1, '{anne.id}', 'r')",
            f"insert into public.training_jobs (id, user_id, name, dataset_id, config) values (gen_random_uuid(), '{anne.id}',"
            " 'x', gen_random_uuid(), '{}')",
            "delete from public.quotas",
            f"insert into public.cost_records (user_id, job_id, attempt, kind) values ('{anne.id}', gen_random_uuid(), 1, 'x')",
        ):
            with refused("42501"):
                anne.rows(statement)


class TestAsking:
    @pytest.fixture
    def running(self, anne: Asker, project: Project) -> Row:
        """A job of Anne's that trains."""
        job = anne.submit()
        set_job(project, job["id"], status="running")
        return job

    @pytest.mark.parametrize("action", ["pause", "cancel", "checkpoint"])
    def test_a_request_is_kept_with_its_id(
        self, anne: Asker, running: Row, project: Project, action: str
    ) -> None:
        asked = anne.call(
            "request_job", p_job=running["id"], p_action=action, p_request_id="r1", p_reason="why"
        )
        assert (asked["requested_action"], asked["request_id"], asked["status"]) == (action, "r1", "running")
        assert events_of(project, running["id"])[-1] == (anne.id, f"requested {action}", None, None, "why")

    def test_the_same_request_again_keeps_its_id(self, anne: Asker, running: Row, project: Project) -> None:
        for request_id in ("r1", "r2"):
            asked = anne.call("request_job", p_job=running["id"], p_action="pause", p_request_id=request_id)
        assert asked["request_id"] == "r1"
        assert len(events_of(project, running["id"])) == 2

    @pytest.mark.parametrize(
        ("first", "then"), [("checkpoint", "pause"), ("checkpoint", "cancel"), ("pause", "cancel")]
    )
    def test_a_stronger_request_replaces_a_weaker_one(
        self, anne: Asker, running: Row, first: str, then: str
    ) -> None:
        anne.call("request_job", p_job=running["id"], p_action=first, p_request_id="r1")
        asked = anne.call("request_job", p_job=running["id"], p_action=then, p_request_id="r2")
        assert (asked["requested_action"], asked["request_id"]) == (then, "r2")

    @pytest.mark.parametrize(
        ("first", "then"), [("pause", "checkpoint"), ("cancel", "checkpoint"), ("cancel", "pause")]
    )
    def test_a_weaker_request_does_not_replace_a_stronger_one(
        self, anne: Asker, running: Row, first: str, then: str
    ) -> None:
        anne.call("request_job", p_job=running["id"], p_action=first, p_request_id="r1")
        with refused("PT422", f"The job has already been asked to {first}."):
            anne.call("request_job", p_job=running["id"], p_action=then, p_request_id="r2")

    def test_cancelling_a_queued_job_is_a_move_at_once(self, anne: Asker, project: Project) -> None:
        job = anne.submit()
        cancelled = anne.call(
            "request_job", p_job=job["id"], p_action="cancel", p_request_id="r", p_reason="why"
        )
        assert (cancelled["status"], cancelled["requested_action"]) == ("cancelled", None)
        assert events_of(project, job["id"])[-1] == (anne.id, "cancelled", "queued", "cancelled", "why")

    @pytest.mark.parametrize("action", ["explode", None])
    def test_an_unknown_request_is_refused(self, anne: Asker, running: Row, action: str | None) -> None:
        with refused("PT422", "A runner can be asked to pause, to cancel or to save a checkpoint."):
            anne.call("request_job", p_job=running["id"], p_action=action, p_request_id="r")

    @pytest.mark.parametrize(
        ("request_id", "reason"), [("", ""), (None, ""), ("x" * 101, ""), ("r", "x" * 1001)]
    )
    def test_texts_have_their_limits(self, anne: Asker, running: Row, request_id: str, reason: str) -> None:
        with refused("PT422"):
            anne.call(
                "request_job", p_job=running["id"], p_action="pause", p_request_id=request_id, p_reason=reason
            )


class TestMoving:
    @pytest.mark.parametrize(("to", "action"), [("paused", "held"), ("cancelled", "cancelled")])
    def test_a_move_leaves_a_line_in_the_audit_trail(
        self, anne: Asker, project: Project, to: str, action: str
    ) -> None:
        job = anne.submit()
        assert anne.call("move_job", p_job=job["id"], p_to=to, p_reason="why")["status_reason"] == "why"
        assert events_of(project, job["id"])[-1] == (anne.id, action, "queued", to, "why")

    def test_a_job_that_is_tried_again_forgets_its_error_and_its_end(
        self, anne: Asker, project: Project
    ) -> None:
        job = anne.submit()
        set_job(project, job["id"], status="failed", error="bad", lost_attempts=3, ended_at="2026-03-01")
        tried = anne.call("move_job", p_job=job["id"], p_to="queued")
        assert [tried[name] for name in ("status", "error", "lost_attempts", "ended_at")] == [
            "queued",
            "",
            0,
            None,
        ]
        assert events_of(project, job["id"])[-1] == (anne.id, "queued", "failed", "queued", "")

    def test_a_long_reason_is_refused(self, anne: Asker) -> None:
        with refused("PT422", "The reason is longer than 1000 characters."):
            anne.call("move_job", p_job=anne.submit()["id"], p_to="paused", p_reason="x" * 1001)

    @pytest.mark.parametrize("to", ["lost", None])
    def test_an_unknown_state_is_refused(self, anne: Asker, to: str | None) -> None:
        with refused("PT422", "Only a runner can make a job"):
            anne.call("move_job", p_job=anne.submit()["id"], p_to=to)

    def test_of_a_move_and_a_claim_at_the_same_time_one_wins(self, anne: Asker, project: Project) -> None:
        job = anne.submit()
        with anne.again(project) as other:
            _, refusal = race(
                project,
                anne.connection,
                lambda: anne.call(
                    "hand_out_job", p_job=job["id"], p_token_sha256=hex_of("t"), p_wait_seconds=60
                ),
                other,
                lambda: call(other, "move_job", p_job=job["id"], p_to="cancelled"),
            )
        assert "The job is initializing: a runner holds it" in str(refusal)


class TestRenamingAndDeleting:
    def test_a_job_gets_another_name_and_the_audit_trail_keeps_the_old_one(
        self, anne: Asker, project: Project
    ) -> None:
        job = anne.submit(name="Old")
        assert anne.call("rename_job", p_job=job["id"], p_name="New")["name"] == "New"
        assert events_of(project, job["id"])[-1] == (anne.id, "renamed", None, None, "was “Old”")

    @pytest.mark.parametrize("name", ["", None, "x" * 121])
    def test_a_name_has_its_limits(self, anne: Asker, name: str | None) -> None:
        job = anne.submit()
        with refused("PT422", "The name is"):
            anne.call("rename_job", p_job=job["id"], p_name=name)

    @pytest.mark.parametrize("status", ["failed", "cancelled", "completed"])
    def test_an_ended_job_is_deleted_with_all_but_its_history(
        self, anne: Asker, project: Project, status: str
    ) -> None:
        job = anne.submit()
        add_attempt(project, job)
        add_artifact(project, job)
        set_job(project, job["id"], status=status)
        anne.call("delete_job", p_job=job["id"])
        for table in ("job_attempts", "model_artifacts", "training_jobs"):
            assert anne.rows(f"select * from public.{table}") == []
        assert events_of(project, job["id"])[-1] == (anne.id, "deleted", None, None, "First try")

    @pytest.mark.parametrize("status", ["queued", "initializing", "running", "paused"])
    def test_a_live_or_paused_job_is_not_deleted(self, anne: Asker, project: Project, status: str) -> None:
        job = anne.submit()
        set_job(project, job["id"], status=status)
        with refused("PT422", f"The job is {status}.\nCancel it first."):
            anne.call("delete_job", p_job=job["id"])

    @pytest.mark.parametrize(
        "function", ["request_job", "move_job", "rename_job", "delete_job", "hand_out_job"]
    )
    def test_a_job_of_somebody_else_is_not_found(self, anne: Asker, ben: Asker, function: str) -> None:
        name, parameters = of_job(function, anne.submit()["id"])
        with refused("PT404", NO_JOB):
            ben.call(name, **parameters)

    def test_counts_are_of_ones_own_jobs_by_state(self, anne: Asker, ben: Asker) -> None:
        anne.submit()
        for to in ("paused", "paused"):
            anne.call("move_job", p_job=anne.submit()["id"], p_to=to)
        assert anne.call("job_counts") == {"queued": 1, "paused": 2}
        assert ben.call("job_counts") == {}


class TestHandingOut:
    def hand_out(self, asker: Asker, job: Row, token: str = "t", seconds: float = 60) -> int:
        attempt: int = asker.call(
            "hand_out_job", p_job=job["id"], p_token_sha256=hex_of(token), p_wait_seconds=seconds
        )
        return attempt

    def test_an_attempt_begins_that_waits_for_a_machine(self, anne: Asker, project: Project) -> None:
        job = anne.submit()
        assert self.hand_out(anne, job) == 1
        attempt = anne.rows("select *, lease_until - now() as waits from public.job_attempts")[0]
        assert (attempt["number"], attempt["runner_id"], attempt["runner_name"]) == (1, "", "pod")
        assert 50 < attempt["waits"].total_seconds() <= 60
        assert anne.rows("select status, attempt from public.training_jobs") == [
            {"status": "initializing", "attempt": 1}
        ]
        assert events_of(project, job["id"])[-1] == (anne.id, "handed out", "queued", "initializing", "")

    def test_the_token_ends_after_three_days(self, anne: Asker, project: Project) -> None:
        self.hand_out(anne, anne.submit())
        token = project.sql(
            "select *, extract(epoch from expires_at - now()) / 3600 as hours from private.job_tokens"
        )[0]
        assert (token["attempt"], token["registration_id"], token["runner_id"]) == (1, None, None)
        assert token["hours"] == pytest.approx(72, abs=0.1)

    def test_the_same_token_again_gives_the_same_attempt(self, anne: Asker) -> None:
        job = anne.submit()
        assert [self.hand_out(anne, job), self.hand_out(anne, job)] == [1, 1]

    def test_a_token_serves_one_job(self, anne: Asker) -> None:
        self.hand_out(anne, anne.submit())
        with refused("PT409", "This job token is in use already."):
            self.hand_out(anne, anne.submit())

    def test_a_job_that_is_not_queued_is_refused(self, anne: Asker) -> None:
        job = anne.submit()
        anne.call("move_job", p_job=job["id"], p_to="paused")
        with refused("PT422", "The job is paused: only a queued job can be handed out."):
            self.hand_out(anne, job)

    def test_a_job_without_its_data_set_is_refused(self, anne: Asker, project: Project) -> None:
        job = anne.submit()
        project.sql("alter table public.datasets disable trigger datasets_in_use")
        project.sql("delete from public.datasets")
        with refused("PT404", NO_DATASET):
            self.hand_out(anne, job)

    @pytest.mark.parametrize("token", ["", "xyz", None, "g" * 64, hex_of("t") + "0"])
    def test_what_is_no_sha256_is_refused(self, anne: Asker, token: str | None) -> None:
        with refused("PT422", "A sha256 is written as 64 hexadecimal digits."):
            anne.call("hand_out_job", p_job=anne.submit()["id"], p_token_sha256=token, p_wait_seconds=60)

    @pytest.mark.parametrize("seconds", [0.0, -1.0, 90_000.0, float("nan"), None])
    def test_the_wait_has_its_limits(self, anne: Asker, seconds: float | None) -> None:
        with refused("PT422", "between a second and a day"):
            anne.call(
                "hand_out_job", p_job=anne.submit()["id"], p_token_sha256=hex_of("t"), p_wait_seconds=seconds
            )
