"""What people do with artifacts, tasks, data sets and runners, and what they are refused."""

from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from lora_core.schema.base import new_id
from tests.supabase_sql.stage import Asker, Row, add_artifact, call, hex_of, job_of, race, refused, set_job
from tests.supastub.rig import Project

NO_DATASET = "There is no such data set (any more)."


class TestArtifacts:
    def test_a_checkpoint_is_pinned_and_unpinned(self, anne: Asker, project: Project) -> None:
        artifact = add_artifact(project, anne.submit())
        for pinned in (True, False):
            assert anne.call("pin_artifact", p_artifact=artifact, p_pinned=pinned)["pinned"] is pinned

    def test_a_deleted_artifact_is_returned_and_gone(self, anne: Asker, project: Project) -> None:
        artifact = add_artifact(project, anne.submit(), kind="adapter")
        assert anne.call("delete_artifact", p_artifact=artifact)["id"] == artifact
        with refused("PT404", "There is no such artifact (any more)."):
            anne.call("delete_artifact", p_artifact=artifact)

    @pytest.mark.parametrize(
        "newer", [{"step": 101}, {"attempt": 2, "step": 1}, {"created_at": "2026-03-02"}], ids=str
    )
    def test_the_newest_checkpoint_of_an_unfinished_job_stays(
        self, anne: Asker, project: Project, newer: dict[str, Any]
    ) -> None:
        job = anne.submit()
        older, newest = add_artifact(project, job), add_artifact(project, job, **newer)
        with refused("PT422", "This is the newest checkpoint of a job that has not completed."):
            anne.call("delete_artifact", p_artifact=newest)
        anne.call("delete_artifact", p_artifact=older)

    def test_the_newest_checkpoint_of_a_completed_job_goes(self, anne: Asker, project: Project) -> None:
        job = anne.submit()
        artifact = add_artifact(project, job)
        set_job(project, job["id"], status="completed")
        assert anne.call("delete_artifact", p_artifact=artifact)["id"] == artifact

    def test_an_artifact_of_somebody_else_is_not_found(
        self, anne: Asker, ben: Asker, project: Project
    ) -> None:
        artifact = add_artifact(project, anne.submit())
        for function, more in (("pin_artifact", {"p_pinned": True}), ("delete_artifact", {})):
            with refused("PT404", "There is no such artifact (any more)."):
                ben.call(function, p_artifact=artifact, **more)


class TestTasks:
    def add(self, asker: Asker, **changes: Any) -> Row:
        task = {"id": new_id(), "kind": "check_dataset", "subject_id": "s", "arguments": {"a": 1}} | changes
        stored: Row = asker.call("add_task", p_task=task)
        return stored

    def test_a_task_waits(self, anne: Asker) -> None:
        task = self.add(anne, created_at="2026-03-01T12:00:00Z")
        names = ("user_id", "kind", "subject_id", "arguments", "status", "created_at")
        expected = [anne.id, "check_dataset", "s", {"a": 1}, "waiting", "2026-03-01T12:00:00+00:00"]
        assert [task[name] for name in names] == expected

    def test_the_same_task_again_is_the_stored_one(self, anne: Asker) -> None:
        task = self.add(anne)
        assert self.add(anne, id=task["id"], subject_id="other") == task

    @pytest.mark.parametrize("status", ["waiting", "running"])
    def test_an_open_task_of_the_same_kind_and_subject_is_the_answer(
        self, anne: Asker, project: Project, status: str
    ) -> None:
        task = self.add(anne)
        project.sql("update public.tasks set status = %s", status)
        assert self.add(anne)["id"] == task["id"]

    def test_a_task_that_has_ended_is_not_in_the_way(self, anne: Asker, project: Project) -> None:
        task = self.add(anne)
        project.sql("update public.tasks set status = 'done'")
        assert self.add(anne)["id"] != task["id"]

    def test_people_do_not_share_tasks(self, anne: Asker, ben: Asker) -> None:
        assert self.add(anne)["id"] != self.add(ben)["id"]

    def test_an_id_of_somebody_else_is_a_conflict(self, anne: Asker, ben: Asker) -> None:
        task = self.add(anne)
        with refused("PT409", "There is another task with this id."):
            self.add(ben, id=task["id"])

    def test_the_same_task_at_the_same_time_is_one(self, anne: Asker, project: Project) -> None:
        task = {"id": new_id(), "kind": "check_dataset", "subject_id": "s"}
        with anne.again(project) as other:
            first, second = race(
                project,
                anne.connection,
                lambda: self.add(anne),
                other,
                lambda: call(other, "add_task", p_task=task),
            )
        assert first == second

    @pytest.mark.parametrize(
        "changes",
        [
            {"id": None},
            {"kind": ""},
            {"subject_id": ""},
            {"subject_id": "x" * 301},
            {"arguments": {"x": "y" * 20_000}},
        ],
        ids=lambda changes: next(iter(changes)),
    )
    def test_nonsense_is_refused(self, anne: Asker, changes: dict[str, Any]) -> None:
        with refused("PT422"):
            self.add(anne, **changes)


class TestDatasets:
    @pytest.mark.parametrize("column", ["dataset_id", "validation_dataset_id"])
    @pytest.mark.parametrize("status", ["queued", "initializing", "running", "paused"])
    def test_what_a_live_or_paused_job_uses_stays(
        self, anne: Asker, project: Project, column: str, status: str
    ) -> None:
        used = anne.add_dataset()
        job = anne.submit(**{"dataset_id": anne.add_dataset(), "name": "Try"} | {column: used})
        set_job(project, job["id"], status=status)
        with refused("PT409", "The job “Try” uses this data set.\nCancel the job or wait for its end."):
            anne.rows("delete from public.datasets where id = %s", used)

    @pytest.mark.parametrize("status", ["failed", "cancelled", "completed"])
    def test_what_ended_jobs_used_can_go(self, anne: Asker, project: Project, status: str) -> None:
        set_job(project, anne.submit()["id"], status=status)
        assert len(anne.rows("delete from public.datasets returning id")) == 1

    def test_no_job_slips_in_while_its_data_set_is_deleted(self, anne: Asker, project: Project) -> None:
        dataset = anne.add_dataset()
        with anne.again(project) as other:
            _, refusal = race(
                project,
                anne.connection,
                lambda: anne.rows("delete from public.datasets"),
                other,
                lambda: call(other, "submit_job", p_job=job_of(dataset_id=dataset)),
            )
        assert NO_DATASET in str(refusal)

    def test_a_data_set_is_not_deleted_while_a_job_slips_in(self, anne: Asker, project: Project) -> None:
        dataset = anne.add_dataset()
        with anne.again(project) as other:
            _, refusal = race(
                project,
                anne.connection,
                lambda: anne.submit(dataset_id=dataset),
                other,
                lambda: other.execute("delete from public.datasets"),
            )
        assert "uses this data set" in str(refusal)

    def test_a_person_can_leave_with_a_live_job(self, anne: Asker, project: Project) -> None:
        anne.submit()
        project.sql("delete from auth.users where id = %s", anne.id)
        assert (
            project.sql("select id from public.datasets union all select id from public.training_jobs") == []
        )

    def test_a_path_into_another_folder_is_refused(self, anne: Asker, ben: Asker) -> None:
        for path in (f"{ben.id}/datasets/x", f"{anne.id}/../{ben.id}/x", f"{anne.id}x/y", anne.id):
            with refused("23514"):
                anne.add_dataset(storage_path=path)

    def test_a_data_set_for_somebody_else_is_refused(self, anne: Asker, ben: Asker) -> None:
        with refused("42501"):
            ben.add_dataset(user_id=anne.id)

    @pytest.mark.parametrize(
        "column", ["user_id", "storage_path", "storage_bucket", "bytes", "parent_id", "created_at"]
    )
    def test_content_and_owner_never_change(self, anne: Asker, column: str) -> None:
        anne.add_dataset()
        with refused("42501"):
            anne.rows(f"update public.datasets set {column} = {column}")


class TestRunners:
    def register(self, asker: Asker, token: str = "t", **changes: Any) -> str:
        asked = {
            "p_id": new_id(),
            "p_name": "box",
            "p_scope": "mine",
            "p_token_sha256": hex_of(token),
        } | changes
        asker.call("register_runner", **asked)
        return str(asked["p_id"])

    def test_a_registration_keeps_the_sha256_of_its_token_alone(self, anne: Asker, project: Project) -> None:
        registration = self.register(anne)
        stored = anne.rows("select id::text, name, scope, revoked_at from public.runner_registrations")
        assert stored == [{"id": registration, "name": "box", "scope": "mine", "revoked_at": None}]
        tokens = project.sql(
            "select encode(token_sha256, 'hex') as token, registration_id::text from private.runner_tokens"
        )
        assert tokens == [{"token": hex_of("t"), "registration_id": registration}]

    def test_the_same_registration_again_changes_nothing(self, anne: Asker) -> None:
        registration = self.register(anne)
        self.register(anne, p_id=registration)
        assert len(anne.rows("select 1 from public.runner_registrations")) == 1

    @pytest.mark.parametrize("changes", [{"p_name": "other"}, {"p_token_sha256": hex_of("u")}], ids=str)
    def test_another_registration_of_the_same_id_is_a_conflict(
        self, anne: Asker, changes: dict[str, str]
    ) -> None:
        registration = self.register(anne)
        with refused("PT409", "There is another runner registration with this id."):
            self.register(anne, p_id=registration, **changes)

    def test_a_registration_of_somebody_elses_id_is_a_conflict(self, anne: Asker, ben: Asker) -> None:
        registration = self.register(anne)
        with refused("PT409", "There is another runner registration with this id."):
            self.register(ben, p_id=registration)

    def test_a_token_serves_one_registration(self, anne: Asker) -> None:
        self.register(anne)
        with refused("PT409", "This runner token is in use already."):
            self.register(anne)
        assert len(anne.rows("select 1 from public.runner_registrations")) == 1

    def test_the_operator_alone_registers_for_the_team(self, anne: Asker, operator: Asker) -> None:
        self.register(operator, p_scope="team")
        with refused("PT403", "Only the operator registers runners for the whole team."):
            self.register(anne, "u", p_scope="team")

    def test_a_persons_own_metadata_makes_no_operator(self, anne: Asker, project: Project) -> None:
        project.sql('update auth.users set raw_user_meta_data = \'{"role": "operator"}\'')
        with refused("PT403"):
            self.register(anne, p_scope="team")

    @pytest.mark.parametrize(
        "changes",
        [
            {"p_id": None},
            {"p_name": ""},
            {"p_name": "x" * 81},
            {"p_scope": "all"},
            {"p_scope": None},
            {"p_token_sha256": "x"},
        ],
        ids=str,
    )
    def test_nonsense_is_refused(self, anne: Asker, changes: dict[str, Any]) -> None:
        with refused("PT422"):
            self.register(anne, **changes)

    def test_a_revoked_registration_leaves_no_token_and_no_runner(
        self, anne: Asker, project: Project
    ) -> None:
        registration, job = self.register(anne), anne.submit()
        task = anne.call("add_task", p_task={"id": new_id(), "kind": "check_dataset", "subject_id": "s"})
        project.sql(
            "insert into private.job_tokens values (sha256('j'), %s, 1, %s, 'r', now())",
            job["id"],
            registration,
        )
        project.sql(
            "insert into private.task_tokens (token_sha256, task_id, registration_id, runner_id, tries, expires_at)"
            " values (sha256('k'), %s, %s, 'r', 1, now())",
            task["id"],
            registration,
        )
        project.sql(
            "insert into public.runners values ('r', %s, %s, 'mine', 'r', '1', '[]', 1, 1, '[]', 0, 'idle', now(), now())",
            registration,
            anne.id,
        )
        anne.call("revoke_runner", p_id=registration)
        for table in ("private.runner_tokens", "private.job_tokens", "private.task_tokens", "public.runners"):
            assert project.sql(f"select * from {table}") == []
        assert anne.rows("select revoked_at is not null as revoked from public.runner_registrations") == [
            {"revoked": True}
        ]

    def test_revoking_again_keeps_the_time(self, anne: Asker) -> None:
        registration = self.register(anne)
        times = []
        for _ in range(2):
            anne.call("revoke_runner", p_id=registration)
            times += anne.rows("select revoked_at from public.runner_registrations")
        assert times[0] == times[1]

    def test_a_registration_of_somebody_else_is_not_found(self, anne: Asker, ben: Asker) -> None:
        registration = self.register(anne)
        with refused("PT404", "There is no such runner registration (any more)."):
            ben.call("revoke_runner", p_id=registration)

    def test_a_claim_that_races_a_revocation_leaves_no_token(self, anne: Asker, project: Project) -> None:
        registration, job = self.register(anne), anne.submit()
        begin = (
            "select private.begin_attempt(j, 'r', 'r', %s, 60, sha256('j'), now() + interval '1 hour')"
            " from public.training_jobs j where j.id = %s"
        )
        with psycopg.connect(project.dsn, autocommit=True, row_factory=dict_row) as runner:
            _, refusal = race(
                project,
                anne.connection,
                lambda: anne.call("revoke_runner", p_id=registration),
                runner,
                lambda: runner.execute(begin, (registration, job["id"])),
            )
        assert "was revoked" in str(refusal)
        assert project.sql("select * from private.job_tokens") == []
