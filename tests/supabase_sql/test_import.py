"""What a person brings from an embedded studio is theirs, is marked, and cannot pass for what was recorded here."""

from typing import Any

import pytest
from psycopg.types.json import Jsonb

from lora_core.schema.base import new_id
from tests.supabase_sql.stage import Asker, Row, call, events_of, hex_of, job_of, refused
from tests.supastub.rig import Project

PAST = "2026-03-01T12:00:00Z"
LATER = "2026-03-01T13:00:00Z"
NO_JOB = "There is no such job (any more)."
USED = "The job has been used here, so its import cannot go on."
COUNTS = {"attempts": 0, "events": 0, "points": 0, "logs": 0, "samples": 0, "artifacts": 0}


def past_job(**changes: Any) -> Row:
    return {
        "id": new_id(),
        "name": "Old",
        "dataset_id": new_id(),
        "config": {"schema_version": 1},
        "status": "completed",
        "created_at": PAST,
        "updated_at": LATER,
    } | changes


def attempt(number: int = 1, **changes: Any) -> Row:
    times = {"started_at": PAST, "ended_at": LATER}
    return {
        "number": number,
        "runner_id": "r",
        "runner_name": "pc",
        "outcome": "completed",
        **times,
    } | changes


def event(action: str = "claimed", **changes: Any) -> Row:
    return {"at": PAST, "actor": "runner pc", "action": action, "to_status": "initializing"} | changes


def point(step: int, **changes: Any) -> Row:
    return {
        "kind": "train",
        "step": step,
        "attempt": 1,
        "seq": step,
        "recorded_at": PAST,
        "loss": 1.5,
    } | changes


def log(seq: int, **changes: Any) -> Row:
    return {
        "attempt": 1,
        "seq": seq,
        "at": PAST,
        "level": "info",
        "source": "trainer",
        "text": "hello",
    } | changes


def sample(seq: int, **changes: Any) -> Row:
    return {"attempt": 1, "seq": seq, "at": PAST, "step": 1, "data": {"text": "hi"}} | changes


def bell(**changes: Any) -> Row:
    return {
        "id": new_id(),
        "kind": "job_completed",
        "title": "“Old” is completed",
        "created_at": PAST,
    } | changes


ROWS = {"attempts": attempt(), "events": event(), "points": point(1), "logs": log(1), "samples": sample(1)}


def bring(asker: Asker, part: str, job_id: str, rows: list[Row], first: int = 0) -> None:
    more = {"p_first": first} if part == "events" else {}
    asker.call(f"import_{part}", p_job=job_id, p_rows=Jsonb(rows), **more)


def opened(asker: Asker, **changes: Any) -> str:
    job = past_job(**changes)
    asker.call("import_job", p_job=job)
    return str(job["id"])


def finished(asker: Asker, **changes: Any) -> Row:
    """Bring a job with one row of each part, to its end."""
    job_id = opened(asker, **changes)
    for part, row in ROWS.items():
        bring(asker, part, job_id, [row])
    expected = COUNTS | dict.fromkeys(ROWS, 1)
    answer: Row = asker.call("finish_import", p_job=job_id, p_expected=expected)
    return answer


def stored_file(project: Project, key: str, size: int = 10) -> None:
    project.sql(
        "insert into storage.objects (bucket_id, name, metadata) values ('model-artifacts', %s, %s)",
        key,
        Jsonb({"size": size}),
    )


def artifact(asker: Asker, job_id: str, **changes: Any) -> Row:
    file = {"name": "adapter.safetensors", "bytes": 10, "sha256": "0" * 64}
    values = {
        "id": new_id(),
        "job_id": job_id,
        "attempt": 1,
        "kind": "adapter",
        "name": "adapter",
        "created_at": PAST,
    }
    return values | {"files": [file]} | changes


def key_of(asker: Asker, row: Row) -> str:
    return f"{asker.id}/jobs/{row['job_id']}/{row['attempt']}/{row['id']}/adapter.safetensors"


class TestOpening:
    def test_a_job_is_paused_and_marked_until_it_is_whole(self, anne: Asker, project: Project) -> None:
        job_id = opened(anne)
        (job,) = project.sql("select * from public.training_jobs where id = %s", job_id)
        assert (job["status"], job["imported"], str(job["user_id"]), job["cost_usd"]) == (
            "paused",
            True,
            anne.id,
            0,
        )
        assert events_of(project, job_id) == [
            (anne.id, "import begun", "queued", "paused", "It is being imported from an embedded studio.")
        ]

    def test_opening_again_tells_how_far_it_is(self, anne: Asker) -> None:
        job = past_job()
        answers = [anne.call("import_job", p_job=job) for _ in range(2)]
        assert answers[0] == answers[1]
        assert (answers[0]["finished"], answers[0]["left_out"]) == (False, [])

    @pytest.mark.parametrize("status", ["queued", "initializing", "running"])
    def test_a_live_job_is_not_imported(self, anne: Asker, status: str) -> None:
        with refused("PT422", f"A job that is {status} cannot be imported."):
            anne.call("import_job", p_job=past_job(status=status))

    @pytest.mark.parametrize(
        "field",
        ["cost_usd", "user_id", "imported", "attempt", "requested_action", "request_id", "phase", "anything"],
    )
    def test_costs_owners_and_marks_are_not_brought(self, anne: Asker, field: str) -> None:
        with refused("PT422", f"{field} is not imported."):
            anne.call("import_job", p_job=past_job(**{field: None}))

    @pytest.mark.parametrize(
        "changes",
        [
            {"name": ""},
            {"name": "x" * 121},
            {"config": []},
            {"config": {"x": "y" * 100_001}},
            {"gpus": 65},
            {"gpu_memory_gb": -1},
            {"progress": 1.5},
            {"train_loss": "NaN"},
            {"created_at": None},
            {"created_at": "2999-01-01T00:00:00Z"},
            {"ended_at": "infinity"},
            {"target": ""},
            {"error": "x" * 16_001},
            {"dataset_id": None},
        ],
    )
    def test_limits_are_those_of_other_jobs(self, anne: Asker, changes: Row) -> None:
        with refused("PT422"):
            anne.call("import_job", p_job=past_job(**changes))

    def test_ids_of_somebody_else_are_refused(self, anne: Asker, ben: Asker) -> None:
        theirs, made_here = opened(ben), ben.submit()["id"]
        for job_id in (theirs, made_here):
            with refused("PT409", "There is another job with this id."):
                anne.call("import_job", p_job=past_job(id=job_id))
        dataset = ben.add_dataset()
        for field in ("dataset_id", "validation_dataset_id"):
            with refused("PT409", "There is another data set with this id."):
                anne.call("import_job", p_job=past_job(**{field: dataset}))

    def test_a_job_that_was_made_here_takes_nothing_in(self, anne: Asker) -> None:
        job = anne.submit()
        with refused("PT409", "nothing can be imported into it"):
            anne.call("import_job", p_job=past_job(id=job["id"]))
        anne.call("move_job", p_job=job["id"], p_to="paused")
        for part, row in ROWS.items():
            with refused("PT409", "nothing can be imported into it"):
                bring(anne, part, job["id"], [row])


class TestBringing:
    def test_everything_arrives_as_it_was(self, anne: Asker, project: Project) -> None:
        job_id = opened(anne)
        wide = point(
            2, hidden=True, loss=None, nonfinite={"loss": "nan"}, extra={"reward": 2.5}, tokens_seen=7
        )
        bring(
            anne,
            "attempts",
            job_id,
            [attempt(1), attempt(2, elapsed_before=3.5, last_seq=9, result={"a": 1})],
        )
        bring(anne, "points", job_id, [point(1), wide, point(1, kind="eval")])
        bring(anne, "logs", job_id, [log(1), log(2, level="error")])
        bring(anne, "samples", job_id, [sample(5)])
        (second,) = project.sql("select * from public.job_attempts where job_id = %s and number = 2", job_id)
        assert (second["imported"], second["elapsed_before"], second["last_seq"], second["result"]) == (
            True,
            3.5,
            9,
            {"a": 1},
        )
        assert (second["lease_until"], second["registration_id"], str(second["user_id"])) == (
            None,
            None,
            anne.id,
        )
        (stored,) = project.sql("select * from public.metrics_points where job_id = %s and step = 2", job_id)
        assert {name: stored[name] for name in wide} == wide | {"recorded_at": stored["recorded_at"]}
        assert stored["recorded_at"].isoformat() == "2026-03-01T12:00:00+00:00"
        assert [row["level"] for row in anne.rows("select level from public.log_lines order by seq")] == [
            "info",
            "error",
        ]
        assert anne.rows("select data from public.samples") == [{"data": {"text": "hi"}}]

    @pytest.mark.parametrize("part", list(ROWS))
    def test_what_comes_twice_is_there_once(self, anne: Asker, project: Project, part: str) -> None:
        answer = finished(anne, status="failed")
        job_id = opened(anne)
        for _ in range(3):
            bring(anne, part, job_id, [ROWS[part]])
        answer = anne.call("finish_import", p_job=job_id, p_expected=COUNTS | {part: 1})
        assert answer["counts"] == COUNTS | {part: 1}

    def test_a_stored_row_is_never_changed(self, anne: Asker) -> None:
        job_id = opened(anne)
        bring(anne, "points", job_id, [point(1)])
        bring(anne, "points", job_id, [point(1, loss=0.0, attempt=9)])
        assert anne.rows("select loss, attempt from public.metrics_points") == [{"loss": 1.5, "attempt": 1}]

    def test_events_keep_their_order_time_and_actor_and_are_marked(
        self, anne: Asker, project: Project
    ) -> None:
        job_id = opened(anne)
        bring(anne, "events", job_id, [event("submitted", actor=anne.id, reason="r"), event("claimed")])
        bring(
            anne, "events", job_id, [event("claimed"), event("started", from_status="initializing")], first=1
        )
        assert [row[:2] for row in events_of(project, job_id)[1:]] == [
            (anne.id, "imported: submitted"),
            ("runner pc", "imported: claimed"),
            ("runner pc", "imported: started"),
        ]
        times = project.sql("select distinct at from public.job_events where action like 'imported: %%'")
        assert [row["at"].isoformat() for row in times] == ["2026-03-01T12:00:00+00:00"]

    def test_events_with_a_gap_are_refused(self, anne: Asker) -> None:
        job_id = opened(anne)
        for first in (1, -1, None):
            with refused("PT409"):
                anne.call("import_events", p_job=job_id, p_first=first, p_rows=Jsonb([event()]))

    @pytest.mark.parametrize("part", [*ROWS, "notifications"])
    def test_too_many_rows_are_refused_before_anything_else(self, anne: Asker, part: str) -> None:
        more = {} if part == "notifications" else {"p_job": new_id()}
        more |= {"p_first": 0} if part == "events" else {}
        with refused("PT413", "At most 1,000 rows"):
            anne.call(f"import_{part}", p_rows=Jsonb([{}] * 1001), **more)
        with refused("PT422", "Rows come as a list."):
            anne.call(f"import_{part}", p_rows=Jsonb({}), **more)

    @pytest.mark.parametrize(
        ("part", "changes"),
        [
            ("attempts", {"number": 0}),
            ("attempts", {"ended_at": None}),
            ("attempts", {"ended_at": "2026-02-01T00:00:00Z"}),
            ("attempts", {"started_at": "2999-01-01T00:00:00Z", "ended_at": "2999-01-02T00:00:00Z"}),
            ("attempts", {"outcome": None}),
            ("attempts", {"elapsed_before": "NaN"}),
            ("attempts", {"runner_name": "x" * 201}),
            ("events", {"at": "2999-01-01T00:00:00Z"}),
            ("events", {"at": "infinity"}),
            ("events", {"action": "x" * 201}),
            ("events", {"to_status": "rich"}),
            ("events", {"actor": None}),
            ("points", {"loss": "NaN"}),
            ("points", {"attempt": 0}),
            ("points", {"seq": None}),
            ("points", {"recorded_at": "2999-01-01T00:00:00Z"}),
            ("points", {"extra": []}),
            ("points", {"extra": {"a": "x" * 30_000}}),
            ("logs", {"level": "loud"}),
            ("logs", {"at": None}),
            ("logs", {"attempt": None}),
            ("samples", {"data": None}),
            ("samples", {"seq": None}),
        ],
    )
    def test_rows_that_cannot_be_are_refused(self, anne: Asker, part: str, changes: Row) -> None:
        job_id = opened(anne)
        with refused("PT422"):
            bring(anne, part, job_id, [ROWS[part], ROWS[part] | changes])

    def test_long_log_lines_are_cut_as_a_runners_are(self, anne: Asker) -> None:
        job_id = opened(anne)
        bring(anne, "logs", job_id, [log(1, text="x" * 20_000, source="s" * 200)])
        (row,) = anne.rows("select length(text) as text, length(source) as source from public.log_lines")
        assert row == {"text": 16_000, "source": 100}

    def test_ids_inside_of_rows_count_for_nothing(self, anne: Asker, ben: Asker, project: Project) -> None:
        job_id, other = opened(anne), opened(ben)
        lies = {
            "job_id": other,
            "user_id": ben.id,
            "imported": False,
            "lease_until": LATER,
            "registration_id": new_id(),
        }
        for part in ("attempts", "points"):
            with refused("PT422"):
                bring(anne, part, job_id, [ROWS[part] | lies])
        for part in ("events", "logs", "samples"):
            bring(anne, part, job_id, [ROWS[part] | lies])
        for table in ("log_lines", "samples"):
            owners = project.sql(
                f"select distinct user_id::text as id, job_id::text as job from public.{table}"
            )
            assert owners == [{"id": anne.id, "job": job_id}]
        assert len(events_of(project, other)) == 1
        for number in ({"imported": False}, {"lease_until": None}):
            bring(anne, "attempts", job_id, [attempt(1, **number)])
        stored = project.sql(
            "select imported, lease_until from public.job_attempts where job_id = %s", job_id
        )
        assert stored == [{"imported": True, "lease_until": None}]

    def test_nobody_writes_into_another_persons_job(self, anne: Asker, ben: Asker) -> None:
        job_id = opened(anne)
        for part, row in ROWS.items():
            with refused("PT404", NO_JOB):
                bring(ben, part, job_id, [row])
        with refused("PT404", NO_JOB):
            ben.call("finish_import", p_job=job_id, p_expected=COUNTS)
        with refused("PT404", NO_JOB):
            ben.call("import_artifact", p_artifact=artifact(ben, job_id))

    def test_others_see_nothing_of_it(self, anne: Asker, ben: Asker) -> None:
        finished(anne)
        for table in (
            "training_jobs",
            "job_attempts",
            "job_events",
            "metrics_points",
            "log_lines",
            "samples",
        ):
            assert ben.rows(f"select 1 from public.{table}") == []

    def test_the_state_of_imports_is_nobodys_to_read(self, anne: Asker) -> None:
        opened(anne)
        with refused("42501"):
            anne.rows("select * from private.job_imports")

    @pytest.mark.parametrize("role", ["anon", "service_role"])
    def test_only_people_import(self, project: Project, role: str) -> None:
        with project.as_role(role) as connection:
            asker = Asker(connection)
            for part in ROWS:
                with refused("42501"):
                    bring(asker, part, new_id(), [])
            with refused("42501"):
                asker.call("import_job", p_job=past_job())


class TestFinishing:
    @pytest.mark.parametrize("status", ["paused", "failed", "cancelled", "completed"])
    def test_the_job_is_what_it_was(self, anne: Asker, project: Project, status: str) -> None:
        values = {
            "status": status,
            "status_reason": "because",
            "progress": 0.5,
            "current_step": 50,
            "total_steps": 100,
            "train_loss": 1.25,
            "best_eval_loss": 1.5,
            "best_step": 40,
            "elapsed_seconds": 12.5,
            "error": "oh",
            "priority": 3,
            "gpus": 1,
            "gpu_memory_gb": 24.0,
        }
        times = {"started_at": PAST, "heartbeat_at": LATER} | (
            {} if status == "paused" else {"ended_at": LATER}
        )
        job = finished(anne, **values, **times)["job"]
        assert values.items() <= job.items()
        assert [job[name] for name in times] == [moment.replace("Z", "+00:00") for moment in times.values()]
        assert (job["attempt"], job["imported"], job["cost_usd"], job["updated_at"]) == (
            1,
            True,
            0,
            "2026-03-01T13:00:00+00:00",
        )
        last = events_of(project, job["id"])[-1]
        assert last[:4] == (
            (anne.id, "import finished", "paused", status) if status != "paused" else (*last[:2], None, None)
        )

    def test_nobody_ever_sees_the_states_in_between(self, anne: Asker, project: Project) -> None:
        job = finished(anne)["job"]
        moves = [row[1] for row in events_of(project, job["id"])]
        assert moves == ["import begun", "imported: claimed", "import finished"]
        assert project.sql("select count(*) as n from public.notifications") == [{"n": 0}]

    def test_an_import_that_is_not_whole_is_not_finished(self, anne: Asker, project: Project) -> None:
        job_id = opened(anne)
        bring(anne, "logs", job_id, [log(1)])
        for expected in (COUNTS | {"logs": 2}, COUNTS, {}, COUNTS | {"logs": "x"}):
            with refused("PT409", "not whole"):
                anne.call("finish_import", p_job=job_id, p_expected=expected)
        assert project.sql("select status from public.training_jobs where id = %s", job_id) == [
            {"status": "paused"}
        ]
        assert anne.call("finish_import", p_job=job_id, p_expected=COUNTS | {"logs": 1})["finished"]

    def test_finishing_again_changes_nothing(self, anne: Asker, project: Project) -> None:
        first = finished(anne)
        job_id = first["job"]["id"]
        assert anne.call("finish_import", p_job=job_id, p_expected={}) == first
        assert anne.call("import_job", p_job=past_job(id=job_id, name="another")) == first
        assert len(events_of(project, job_id)) == 3

    @pytest.mark.parametrize("part", list(ROWS))
    def test_after_the_end_nothing_more_is_taken(self, anne: Asker, part: str) -> None:
        job_id = finished(anne)["job"]["id"]
        with refused("PT409", "The import of this job is finished."):
            bring(anne, part, job_id, [ROWS[part]])

    def test_a_job_that_changed_between_two_tries_ends_as_it_is_now(self, anne: Asker) -> None:
        job = past_job(status="paused")
        anne.call("import_job", p_job=job)
        anne.call("import_job", p_job=job | {"status": "cancelled", "name": "Renamed"})
        answer = anne.call("finish_import", p_job=job["id"], p_expected=COUNTS)
        assert (answer["job"]["status"], answer["job"]["name"]) == ("cancelled", "Renamed")


class TestUsedHere:
    def test_the_first_attempt_that_is_made_here_closes_an_import(
        self, anne: Asker, project: Project
    ) -> None:
        job_id = opened(anne, status="paused", dataset_id=anne.add_dataset())
        bring(anne, "attempts", job_id, [attempt(1), attempt(2)])
        anne.call("move_job", p_job=job_id, p_to="queued")
        with refused("PT409", USED):
            bring(anne, "points", job_id, [point(1)])
        number = anne.call("hand_out_job", p_job=job_id, p_token_sha256=hex_of("t"), p_wait_seconds=60)
        assert number == 3
        project.sql("update public.job_attempts set ended_at = now(), outcome = 'paused' where number = 3")
        project.sql("update public.training_jobs set status = 'paused' where id = %s", job_id)
        for part, row in ROWS.items():
            with refused("PT409", USED):
                bring(anne, part, job_id, [row])
        with refused("PT409", USED):
            anne.call("finish_import", p_job=job_id, p_expected=COUNTS | {"attempts": 2})

    def test_an_imported_paused_job_goes_on_here_with_the_next_attempt(
        self, anne: Asker, project: Project
    ) -> None:
        job = finished(anne, status="paused", dataset_id=anne.add_dataset(), elapsed_seconds=9.0)["job"]
        anne.call("move_job", p_job=job["id"], p_to="queued")
        assert anne.call("hand_out_job", p_job=job["id"], p_token_sha256=hex_of("t"), p_wait_seconds=60) == 2
        rows = project.sql("select number, imported, elapsed_before from public.job_attempts order by number")
        assert [tuple(row.values()) for row in rows] == [(1, True, 0.0), (2, False, 9.0)]

    def test_a_choice_of_a_checkpoint_and_a_time_come_along_and_a_pause_of_elsewhere_does_not(
        self, anne: Asker
    ) -> None:
        job = past_job(
            status="paused", not_before="2027-01-01T00:00:00Z", estimated_seconds=60, resume_from=new_id()
        )
        answer = finished(anne, **job)["job"]
        assert (answer["not_before"], answer["estimated_seconds"]) == ("2027-01-01T00:00:00+00:00", 60)
        assert (answer["resume_from"], answer["archived_at"], answer["retry_at"]) == (None, None, None)
        with refused("PT422", "retry_at is not imported."):
            anne.call("import_job", p_job=past_job(retry_at=LATER))
        with refused("PT422", "A job is expected to take some seconds"):
            anne.call("import_job", p_job=past_job(estimated_seconds=-1))

    def test_a_fork_of_somebody_elses_checkpoint_does_not_start_here(
        self, anne: Asker, ben: Asker, project: Project
    ) -> None:
        theirs = new_id()
        project.sql(
            "insert into public.model_artifacts (id, user_id, job_id, attempt, kind, name, bucket, path, files)"
            " values (%s, %s, %s, 1, 'checkpoint', 'x', 'model-artifacts', 'x', '[]')",
            theirs,
            ben.id,
            ben.submit()["id"],
        )
        values = {"status": "paused", "dataset_id": anne.add_dataset(), "parent_artifact_id": theirs}
        job = finished(anne, **values)["job"]
        assert job["parent_artifact_id"] == theirs
        anne.call("move_job", p_job=job["id"], p_to="queued")
        with refused("PT404", "The checkpoint that this job starts from has been deleted."):
            anne.call("hand_out_job", p_job=job["id"], p_token_sha256=hex_of("t"), p_wait_seconds=60)

    def test_imported_hours_use_up_no_quota_but_hours_made_here_do(
        self, anne: Asker, project: Project
    ) -> None:
        project.sql("insert into public.quotas (user_id, gpu_hours_per_month) values (%s, 1)", anne.id)
        now = project.sql("select now() as at, now() - interval '9 hours' as began")[0]
        job_id = opened(anne, status="paused", gpus=8, dataset_id=anne.add_dataset())
        times = {"started_at": now["began"].isoformat(), "ended_at": now["at"].isoformat()}
        bring(anne, "attempts", job_id, [attempt(1, **times)])
        anne.call("finish_import", p_job=job_id, p_expected=COUNTS | {"attempts": 1})
        anne.call("move_job", p_job=job_id, p_to="queued")
        project.sql(
            "insert into public.job_attempts (job_id, number, user_id, runner_id, started_at, ended_at, outcome)"
            " values (%s, 2, %s, 'r', now() - interval '9 hours', now(), 'paused')",
            job_id,
            anne.id,
        )
        with refused("PT422", "GPU hours a month"):
            anne.call("submit_job", p_job=job_of(dataset_id=anne.add_dataset()))


class TestArtifacts:
    @pytest.fixture
    def job_id(self, anne: Asker) -> str:
        job_id = opened(anne)
        bring(anne, "attempts", job_id, [attempt(1)])
        return job_id

    def test_its_files_have_to_be_there_first(self, anne: Asker, project: Project, job_id: str) -> None:
        row = artifact(anne, job_id)
        with refused("PT409", "has not arrived as it was sent"):
            anne.call("import_artifact", p_artifact=row)
        stored_file(project, key_of(anne, row), size=9)
        with refused("PT409", "has not arrived as it was sent"):
            anne.call("import_artifact", p_artifact=row)
        project.sql("update storage.objects set metadata = %s", Jsonb({"size": 10}))
        stored = anne.call("import_artifact", p_artifact=row)
        assert (stored["bytes"], stored["user_id"], stored["path"]) == (
            10,
            anne.id,
            key_of(anne, row).rsplit("/", 1)[0],
        )
        assert anne.call("import_artifact", p_artifact=row | {"name": "again"}) == stored

    def test_it_belongs_to_an_imported_attempt(self, anne: Asker, project: Project, job_id: str) -> None:
        row = artifact(anne, job_id, attempt=2)
        stored_file(project, key_of(anne, row))
        with refused("PT422", "an imported attempt"):
            anne.call("import_artifact", p_artifact=row)

    def test_paths_and_owners_are_not_brought(
        self, anne: Asker, ben: Asker, project: Project, job_id: str
    ) -> None:
        row = artifact(anne, job_id)
        stored_file(project, key_of(anne, row))
        lies = {"user_id": ben.id, "bucket": "lora-datasets", "path": f"{ben.id}/jobs/x", "bytes": -5}
        stored = anne.call("import_artifact", p_artifact=row | lies)
        assert (stored["user_id"], stored["bucket"], stored["bytes"]) == (anne.id, "model-artifacts", 10)
        assert stored["path"].startswith(f"{anne.id}/jobs/{job_id}/1/")

    def test_an_id_of_somebody_else_is_refused(
        self, anne: Asker, ben: Asker, project: Project, job_id: str
    ) -> None:
        other = opened(ben)
        bring(ben, "attempts", other, [attempt(1)])
        theirs = artifact(ben, other)
        stored_file(project, key_of(ben, theirs))
        ben.call("import_artifact", p_artifact=theirs)
        with refused("PT409", "There is another artifact with this id."):
            anne.call("import_artifact", p_artifact=artifact(anne, job_id, id=theirs["id"]))

    @pytest.mark.parametrize(
        "changes",
        [
            {"files": []},
            {"files": [{"name": "../x", "bytes": 1, "sha256": "0" * 64}]},
            {"kind": None},
            {"created_at": "2999-01-01T00:00:00Z"},
            {"name": ""},
        ],
    )
    def test_what_cannot_be_is_refused(self, anne: Asker, job_id: str, changes: Row) -> None:
        with refused("PT422"):
            anne.call("import_artifact", p_artifact=artifact(anne, job_id, **changes))

    def test_the_storage_quota_holds(self, anne: Asker, project: Project, job_id: str) -> None:
        project.sql("insert into public.quotas (user_id, storage_bytes) values (%s, 5)", anne.id)
        row = artifact(anne, job_id)
        stored_file(project, key_of(anne, row))
        with refused("PT422", "The storage limit"):
            anne.call("import_artifact", p_artifact=row)

    def test_one_that_was_left_out_may_follow_and_no_other(
        self, anne: Asker, project: Project, job_id: str
    ) -> None:
        late, other = artifact(anne, job_id), artifact(anne, job_id)
        for row in (late, other):
            stored_file(project, key_of(anne, row))
        anne.call(
            "finish_import", p_job=job_id, p_expected=COUNTS | {"attempts": 1}, p_left_out=Jsonb([late["id"]])
        )
        with refused("PT409", "finished"):
            anne.call("import_artifact", p_artifact=other)
        anne.call("import_artifact", p_artifact=late)
        answer = anne.call("import_job", p_job=past_job(id=job_id))
        assert (answer["left_out"], answer["counts"]["artifacts"]) == ([], 1)


class TestNotifications:
    def test_they_are_shown_and_sent_to_nobody(self, project: Project, anne: Asker) -> None:
        route = {
            "id": new_id(),
            "name": "Slack",
            "ciphertext": "x",
            "key_id": "k",
            "events": ["job_completed"],
        }
        anne.call("add_notification_route", p_route=route | {"created_at": "2026-01-01T00:00:00Z"})
        anne.call(
            "register_runner", p_id=new_id(), p_name="w", p_scope="mine", p_token_sha256=hex_of("lsr_x")
        )

        def claimed() -> Row | None:
            with project.as_role("anon") as machine:
                asked = {"p_token": "lsr_x", "p_claim": new_id(), "p_key_ids": ["k"], "p_lease_seconds": 30.0}
                answer: Row | None = call(machine, "delivery_claim", **asked)
                return answer

        (now,) = project.sql("select now()::text as now")
        anne.call("import_notifications", p_rows=Jsonb([bell(kind="job_completed", created_at=now["now"])]))
        assert claimed() is None
        project.sql(
            "insert into public.notifications (id, user_id, kind, title) values (gen_random_uuid(), %s, 'job_completed', 'Done')",
            anne.id,
        )
        taken = claimed()
        assert taken is not None
        assert taken["notification"]["title"] == "Done"

    def test_they_arrive_as_they_were(self, anne: Asker) -> None:
        job_id = opened(anne)
        rows = [bell(job_id=job_id, read_at=LATER), bell(body="why")]
        for _ in range(2):
            anne.call("import_notifications", p_rows=Jsonb(rows))
        stored = anne.rows(
            "select id::text, read_at is null as unread, body from public.notifications order by body"
        )
        assert stored == [
            {"id": rows[0]["id"], "unread": False, "body": ""},
            {"id": rows[1]["id"], "unread": True, "body": "why"},
        ]

    def test_about_another_persons_job_nothing_is_told(self, anne: Asker, ben: Asker) -> None:
        with refused("PT409", "There is another job with this id."):
            anne.call("import_notifications", p_rows=Jsonb([bell(job_id=opened(ben))]))

    def test_an_id_of_somebody_else_is_refused(self, anne: Asker, ben: Asker) -> None:
        row = bell()
        ben.call("import_notifications", p_rows=Jsonb([row]))
        with refused("PT409", "There is another notification with this id."):
            anne.call("import_notifications", p_rows=Jsonb([bell(), row]))
        assert anne.rows("select 1 from public.notifications") == []

    @pytest.mark.parametrize(
        "changes", [{"title": ""}, {"kind": None}, {"created_at": "infinity"}, {"id": None}]
    )
    def test_what_cannot_be_is_refused(self, anne: Asker, changes: Row) -> None:
        with refused("PT422"):
            anne.call("import_notifications", p_rows=Jsonb([bell(**changes)]))
