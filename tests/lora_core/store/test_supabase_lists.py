"""Lists of a team's store are complete, however long, and a search takes the text as it is."""

import pytest

from lora_core.schema.job import JobFilter
from lora_core.schema.metrics import MetricKind
from lora_core.store.supabase.store import SupabaseUserStore
from tests.contracts.samples import (
    ANNE,
    dataset_of,
    submitted,
)
from tests.contracts.store_contract.stage import walk
from tests.supastub.rig import Project

MANY = 1203
"""More than the 1,000 rows that a project answers at most."""


@pytest.mark.parametrize("limit", [500, 10_000])
def test_more_rows_than_one_answer_holds_are_all_listed(
    project: Project, anne: SupabaseUserStore, limit: int
) -> None:
    project.sql(
        """insert into datasets (id, user_id, name, storage_bucket, storage_path, bytes, created_at)
           select gen_random_uuid(), %s, 'row ' || n, 'lora-datasets', %s, 1,
               timestamptz '2026-03-01 12:00Z' + interval '1 s' * (n / 7)
           from generate_series(1, %s) n""",
        ANNE,
        f"{ANNE}/datasets/x/data",
        MANY,
    )
    listed = walk(lambda cursor: anne.datasets.list(limit=limit, cursor=cursor))
    assert len({dataset.id for dataset in listed}) == len(listed) == MANY
    assert listed == sorted(listed, key=lambda dataset: (dataset.created_at, dataset.id), reverse=True)


def test_all_jobs_notifications_and_lines_of_the_audit_trail_are_listed(
    project: Project, anne: SupabaseUserStore
) -> None:
    job_id = submitted(anne, ANNE).id
    project.sql(
        """insert into training_jobs (id, user_id, name, dataset_id, config)
           select gen_random_uuid(), user_id, name, dataset_id, config from training_jobs, generate_series(2, %s)""",
        MANY,
    )
    project.sql(
        """insert into notifications (id, user_id, kind, title, created_at)
           select gen_random_uuid(), %s, 'job_completed', 'x', now() from generate_series(1, %s)""",
        ANNE,
        MANY,
    )
    project.sql(
        """insert into job_events (job_id, user_id, actor, action)
           select %s, %s, 'system', 'x' from generate_series(2, %s)""",
        job_id,
        ANNE,
        MANY,
    )
    jobs = walk(lambda cursor: anne.jobs.list(JobFilter(), limit=500, cursor=cursor))
    assert len({job.id for job in jobs}) == len(jobs) == MANY
    told = walk(lambda cursor: anne.notifications.list(limit=500, cursor=cursor))
    assert len({notification.id for notification in told}) == len(told) == anne.notifications.unread() == MANY
    events = walk(lambda cursor: anne.jobs.events(job_id, limit=500, cursor=cursor))
    assert len({event.seq for event in events}) == len(events) == MANY
    anne.notifications.mark_read([notification.id for notification in told])
    assert anne.notifications.unread() == 0


def test_all_attempts_and_artifacts_of_a_job_are_listed(project: Project, anne: SupabaseUserStore) -> None:
    job_id = submitted(anne, ANNE).id
    project.sql(
        """insert into job_attempts (job_id, number, user_id, runner_id)
           select %s, n, %s, 'box' from generate_series(1, %s) n""",
        job_id,
        ANNE,
        MANY,
    )
    project.sql(
        """insert into model_artifacts (id, user_id, job_id, attempt, kind, name, bucket, path, files, step)
           select gen_random_uuid(), %s, %s, n %% 9, 'checkpoint', 'x', 'model-artifacts', 'p' || n, '[]',
               nullif(n %% 5, 0)
           from generate_series(1, %s) n""",
        ANNE,
        job_id,
        MANY,
    )
    assert [attempt.number for attempt in anne.jobs.attempts(job_id)] == [*range(1, MANY + 1)]
    listed = anne.artifacts.list(job_id)
    assert len({artifact.id for artifact in listed}) == len(listed) == MANY
    keys = [(artifact.attempt, artifact.step or 0) for artifact in listed]
    assert keys == sorted(keys, reverse=True)


def test_all_points_and_log_lines_are_listed(project: Project, anne: SupabaseUserStore) -> None:
    job_id = submitted(anne, ANNE).id
    project.sql(
        """insert into metrics_points (job_id, kind, step, user_id, attempt, seq, recorded_at, loss)
           select %s, 'train', n, %s, 1, n, now(), 1 from generate_series(1, %s) n""",
        job_id,
        ANNE,
        MANY,
    )
    project.sql(
        """insert into log_lines (job_id, attempt, seq, user_id, at, level, source, text)
           select %s, n %% 3, n, %s, now(), 'info', 'trainer', 'x' from generate_series(1, %s) n""",
        job_id,
        ANNE,
        MANY,
    )
    points = walk(lambda cursor: anne.metrics.points(job_id, MetricKind.TRAIN, cursor=cursor))
    assert [point.step for point in points] == [*range(1, MANY + 1)]
    lines = walk(lambda cursor: anne.metrics.logs(job_id, limit=500, cursor=cursor))
    assert len(lines) == MANY
    assert lines == sorted(lines, key=lambda line: (line.attempt, line.seq), reverse=True)
    assert anne.metrics.series(job_id, MetricKind.TRAIN, ["loss"], points=5000).total == MANY


@pytest.mark.parametrize(
    "text", [*list("%_\\*,.:()[]{}\"'^$|?+-# &="), "a,b", "not.eq", "\\d", "(?i)", "***:", "🦙", "“", "ⓐ"]
)
def test_a_search_takes_every_sign_as_it_is(anne: SupabaseUserStore, text: str) -> None:
    wanted = dataset_of(ANNE, f"One {text} two")
    anne.datasets.add(wanted)
    anne.datasets.add(dataset_of(ANNE, "OneXtwo"))
    anne.datasets.add(dataset_of(ANNE, "4711"))
    assert [dataset.id for dataset in anne.datasets.list(search=f"ONE {text} ").items] == [wanted.id]
    assert wanted.id in [dataset.id for dataset in anne.datasets.list(search=text).items]


@pytest.mark.parametrize("text", ["\x00", "\udcff", "x" * 5000, "((((" * 100])
def test_a_search_for_what_no_text_can_hold_finds_nothing(anne: SupabaseUserStore, text: str) -> None:
    anne.datasets.add(dataset_of(ANNE))
    assert not anne.datasets.list(search=text).items
