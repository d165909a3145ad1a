"""What the operator allows a person, in jobs, GPU hours, dollars and storage."""

import pytest

from tests.supabase_sql.stage import Asker, add_artifact, add_attempt, call, job_of, race, refused, set_job
from tests.supastub.rig import Project


class TestQuotas:
    def limit(self, project: Project, asker: Asker, **limits: float) -> None:
        for name, value in limits.items():
            project.sql(
                f"insert into public.quotas (user_id, {name}) values (%s, %s)"
                f" on conflict (user_id) do update set {name} = excluded.{name}",
                asker.id,
                value,
            )

    def test_live_jobs_are_limited(self, anne: Asker, project: Project) -> None:
        self.limit(project, anne, max_live_jobs=2)
        anne.submit()
        anne.submit()
        with refused(
            "PT422",
            "The limit is 2 queued or running jobs at the same time; there are 2.\nWait for a job to end, or ask",
        ):
            anne.submit()

    def test_paused_and_ended_jobs_do_not_count(self, anne: Asker, project: Project) -> None:
        self.limit(project, anne, max_live_jobs=1)
        anne.call("move_job", p_job=anne.submit()["id"], p_to="paused")
        anne.call("move_job", p_job=anne.submit()["id"], p_to="cancelled")
        anne.submit()

    def test_a_job_does_not_come_back_to_the_queue_beyond_the_limit(
        self, anne: Asker, project: Project
    ) -> None:
        held = anne.submit()
        anne.call("move_job", p_job=held["id"], p_to="paused")
        anne.submit()
        self.limit(project, anne, max_live_jobs=1)
        with refused("PT422", "The limit is 1 queued or running jobs"):
            anne.call("move_job", p_job=held["id"], p_to="queued")

    def test_submitting_again_at_the_limit_gives_the_stored_job(self, anne: Asker, project: Project) -> None:
        self.limit(project, anne, max_live_jobs=1)
        job = anne.submit()
        assert anne.submit(id=job["id"]) == job

    def test_two_jobs_at_the_same_time_do_not_both_take_the_last_place(
        self, anne: Asker, project: Project
    ) -> None:
        self.limit(project, anne, max_live_jobs=1)
        asked = [job_of(dataset_id=anne.add_dataset()) for _ in range(2)]
        with anne.again(project) as other:
            _, refusal = race(
                project,
                anne.connection,
                lambda: anne.call("submit_job", p_job=asked[0]),
                other,
                lambda: call(other, "submit_job", p_job=asked[1]),
            )
        assert "The limit is 1" in str(refusal)

    def test_a_quota_is_one_persons(self, anne: Asker, ben: Asker, project: Project) -> None:
        self.limit(project, anne, max_live_jobs=0)
        ben.submit()

    @pytest.mark.parametrize("ended", [True, False])
    def test_gpu_hours_are_limited(self, anne: Asker, project: Project, ended: bool) -> None:
        job = anne.submit(gpus=2)
        add_attempt(project, job, seconds=3600, ended=ended)
        project.sql("update public.job_attempts set started_at = greatest(started_at, private.month_start())")
        spent = project.sql("select private.gpu_hours(%s) as hours", anne.id)[0]["hours"]
        assert 0 < spent <= 2.001
        self.limit(project, anne, gpu_hours_per_month=spent + 0.1)
        anne.submit()
        self.limit(project, anne, gpu_hours_per_month=spent)
        with refused("PT422", "GPU hours a month"):
            anne.submit()

    def test_gpu_hours_of_last_month_do_not_count(self, anne: Asker, project: Project) -> None:
        add_attempt(project, anne.submit(gpus=1), seconds=3600)
        project.pass_time(32 * 86400)
        assert project.sql("select private.gpu_hours(%s) as hours", anne.id) == [{"hours": 0}]

    def test_hours_without_a_gpu_and_imported_ones_do_not_count(self, anne: Asker, project: Project) -> None:
        add_attempt(project, anne.submit(), seconds=3600)
        add_attempt(project, anne.submit(gpus=1), seconds=3600)
        project.sql("update public.job_attempts set imported = true")
        assert project.sql("select private.gpu_hours(%s) as hours", anne.id) == [{"hours": 0}]

    def test_a_lost_attempt_counts_until_its_lease_ran_out(self, anne: Asker, project: Project) -> None:
        add_attempt(project, anne.submit(gpus=1), seconds=3600, ended=False)
        project.sql(
            "update public.job_attempts set lease_until = started_at, started_at = started_at - interval '1 second'"
        )
        assert project.sql("select private.gpu_hours(%s) as hours", anne.id)[0]["hours"] < 0.001

    def test_deleting_a_job_gives_no_gpu_hours_back(self, anne: Asker, project: Project) -> None:
        for _ in range(2):
            job = anne.submit(gpus=1)
            add_attempt(project, job, seconds=1)
            set_job(project, job["id"], status="completed")
            anne.call("delete_job", p_job=job["id"])
        assert project.sql("select private.gpu_hours(%s) * 3600 as seconds", anne.id)[0][
            "seconds"
        ] == pytest.approx(2)

    def test_dollars_are_limited(self, anne: Asker, project: Project) -> None:
        for usd, at in ((7.5, "now()"), (100, "now() - interval '32 days'")):
            project.sql(
                "insert into public.cost_records (user_id, job_id, attempt, kind, usd, at)"
                f" values (%s, gen_random_uuid(), 1, 'gpu', %s, {at})",
                anne.id,
                usd,
            )
        self.limit(project, anne, usd_per_month=8)
        anne.submit()
        self.limit(project, anne, usd_per_month=7.5)
        with refused("PT422", "The limit is $7.50 a month; $7.50 are spent."):
            anne.submit()

    def test_storage_is_limited(self, anne: Asker, project: Project) -> None:
        job = anne.submit(dataset_id=anne.add_dataset(bytes=600_000_000))
        add_artifact(project, job, bytes=300_000_000)
        self.limit(project, anne, storage_bytes=1_000_000_000)
        anne.add_dataset(bytes=100_000_000)
        message = "The storage limit is 1.0 GB; 1.0 GB are used.\nDelete data sets or artifacts, or ask the operator"
        with refused("PT422", message):
            anne.add_dataset(bytes=1)

    def test_a_full_storage_takes_no_job(self, anne: Asker, project: Project) -> None:
        dataset = anne.add_dataset(bytes=5_000_000)
        self.limit(project, anne, storage_bytes=5_000_000)
        with refused("PT422", "The storage limit is 5.0 MB; 5.0 MB are used."):
            anne.submit(dataset_id=dataset)

    def test_a_repeated_data_set_meets_its_key_and_not_the_quota(self, anne: Asker, project: Project) -> None:
        dataset = anne.add_dataset(bytes=100)
        self.limit(project, anne, storage_bytes=100)
        with refused("23505"):
            anne.add_dataset(id=dataset, bytes=100)
