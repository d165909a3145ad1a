"""What a person writes and a shared machine reads: it stops no machine, opens no file of it, and hands out nobody's data."""

import hashlib
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from lora_core.schema.base import utc_now
from lora_core.schema.dataset import Dataset
from lora_core.schema.job import JobStatus
from lora_core.schema.runner import RunnerScope
from runner.fetching import cache_name
from tests.contracts.samples import runner_of
from tests.contracts.team import Team
from tests.supastub.rig import Person, Project

ANNE, BEN = "00000000-0000-4000-8000-0000000000aa", "00000000-0000-4000-8000-0000000000bb"


@pytest.fixture
def people(project: Project) -> dict[str, Person]:
    """Ben, who means harm, and the operator with a runner for everybody."""
    return {
        BEN: project.add_person(BEN, "ben@studio.test"),
        ANNE: project.add_person(ANNE, "olga@studio.test", operator=True),
    }


@pytest.fixture
def team(project: Project, people: dict[str, Person], tmp_path: Path) -> Iterator[Team]:
    """Their stores, and the ports of machines."""
    team = Team(project.url, project.publishable_key, lambda user: people[user].token, tmp_path)
    yield team
    team.close()


def submit(project: Project, person: str, dataset: dict[str, Any], job: dict[str, Any]) -> str:
    """Enter rows as a person may who does not use the studio's own pages."""
    row_id, job_id = str(uuid.uuid4()), str(uuid.uuid4())
    row = {"id": row_id, "user_id": person, "name": "x", "storage_bucket": "lora-datasets", "bytes": 1}
    row |= {"storage_path": f"{person}/datasets/{row_id}/data"} | dataset
    names = ", ".join(row)
    with project.as_role("authenticated", {"sub": person}) as connection:
        connection.execute(
            f"insert into public.datasets ({names}) select {names} from jsonb_populate_record(null::public.datasets, %s)",
            [Jsonb(row)],
        )
        asked = {"id": job_id, "name": "x", "dataset_id": row_id, "config": {"schema_version": 1}, **job}
        connection.execute("select public.submit_job(%s)", [Jsonb(asked)])
    return job_id


@pytest.mark.parametrize(
    ("dataset", "job"),
    [
        ({}, {"config": {"nonsense": True}}),
        ({}, {"config": {"schema_version": "x" * 1000}}),
        ({"format": "unheard of"}, {}),
        ({"mapping": {"nonsense": 1}}, {}),
        ({"mapping": [1]}, {}),
        ({"report": {"nonsense": 1}}, {}),
    ],
    ids=str,
)
def test_a_job_that_cannot_be_read_waits_for_another_runner_and_the_next_one_is_taken(
    project: Project, team: Team, dataset: dict[str, Any], job: dict[str, Any]
) -> None:
    bad = submit(project, BEN, dataset, {"priority": 100, **job})
    good = submit(project, BEN, {}, {})
    port, _ = team.ports(team.register(ANNE, RunnerScope.TEAM)[1])
    assert port.claim(runner_of(), lease_seconds=30) is None
    claim = port.claim(runner_of(), lease_seconds=30)
    assert claim is not None
    assert claim.job.id == good
    tries = "update public.training_jobs set retry_at = now() - interval '1 second' where id = %s"
    for _ in range(2):
        row = project.sql("select status, error from public.training_jobs where id = %s", bad)[0]
        assert row["status"] == JobStatus.QUEUED, "a newer runner may be able to read it"
        assert row["error"].startswith("The runner cannot read this job")
        assert len(row["error"]) < 500
        project.sql(tries, bad)
        assert port.claim(runner_of(), lease_seconds=30) is None
    row = project.sql("select status, error from public.training_jobs where id = %s", bad)[0]
    assert row["status"] == JobStatus.FAILED, "nobody can, and it must not go round for ever"
    assert "The runner cannot read this job" in row["error"]


def dataset_of(user_id: str, dataset_id: str = "d", sha256: str = "") -> Dataset:
    return Dataset(
        id=dataset_id,
        user_id=user_id,
        name="x",
        storage_path="x",
        bytes=1,
        sha256=sha256,
        created_at=utc_now(),
    )


@pytest.mark.parametrize("sha256", ["", "../../../../etc/passwd", "/etc/passwd", "..", "a" * 64])
def test_what_a_row_says_is_no_path_on_the_machine(tmp_path: Path, sha256: str) -> None:
    path = tmp_path / cache_name(dataset_of(BEN, sha256=sha256))
    assert path.resolve().parent == tmp_path.resolve()
    assert path.name.isalnum()


def test_nobody_gets_what_was_fetched_for_somebody_else_by_stating_its_hash() -> None:
    sha256 = hashlib.sha256(b"Anne's data").hexdigest()
    names = {
        cache_name(dataset_of(ANNE, "d1", sha256)),
        cache_name(dataset_of(BEN, "d1", sha256)),
        cache_name(dataset_of(BEN, "d2", sha256)),
        cache_name(dataset_of(ANNE, "d1")),
    }
    assert len(names) == 4
    assert cache_name(dataset_of(ANNE, "d1", sha256)) == cache_name(dataset_of(ANNE, "d1", sha256))
