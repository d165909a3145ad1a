"""The rig itself: a cluster that leaves nothing behind, and projects that are fresh."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psycopg
import pytest

from tests.supastub.cluster import ClusterFailed
from tests.supastub.journey import LocalProject
from tests.supastub.rig import Person, Project, Rig

DEADLINE_SECONDS = 30.0


def gone(path: Path) -> bool:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while path.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    return not path.exists()


def test_letters_fold_beyond_ascii(project: Project) -> None:
    assert project.sql("select 'ÄPFEL' ilike '%äpfel%' as likes, lower('É') as lower") == [
        {"likes": True, "lower": "é"}
    ]


def test_a_project_starts_without_pgcrypto(project: Project) -> None:
    assert project.sql("select extname from pg_extension") == [{"extname": "plpgsql"}]


def test_what_a_test_wrote_is_gone_in_the_next(rig: Rig) -> None:
    for _ in range(2):
        with rig.project() as project:
            assert project.sql("select count(*) as n from auth.users") == [{"n": 0}]
            assert project.sql("select id from storage.buckets") == [{"id": "files"}]
            person = project.add_person()
            project.sql("insert into public.notes (user_id, title) values (%s, 'x')", person.id)
            project.sql("update storage.buckets set file_size_limit = 1")
            project.settings.allow_sign_up = False
    with rig.project() as project:
        assert project.sql("select file_size_limit as n from storage.buckets") == [{"n": 20971520}]
        assert project.settings.allow_sign_up


def test_a_changed_schema_is_gone_in_the_next(rig: Rig) -> None:
    with rig.project() as project:
        project.sql("drop policy own on public.notes")
        project.sql("create table public.other (id integer)")
    with rig.project() as project:
        assert project.sql("select policyname from pg_policies where tablename = 'notes'") == [
            {"policyname": "own"}
        ]
        assert project.sql("select to_regclass('public.other') as found") == [{"found": None}]


def test_much_data_is_gone_in_the_next(rig: Rig) -> None:
    with rig.project() as project:
        person = project.add_person()
        project.sql(
            "insert into public.notes (user_id, title) select %s, repeat(md5(i::text), 10) from generate_series(1, 30000) i",
            person.id,
        )
    with rig.project() as project:
        assert project.sql("select count(*) as n from public.notes") == [{"n": 0}]


def test_time_passes(project: Project, anne: Person) -> None:
    project.sql("insert into public.notes (user_id, title) values (%s, 'x')", anne.id)
    project.pass_time(7200)
    [row] = project.sql("select now() - created_at > interval '119 minutes' as old from public.notes")
    assert row["old"]


def test_a_role_asks_as_a_request_does(project: Project, anne: Person) -> None:
    with project.as_role("authenticated", {"sub": anne.id}, {"X-Job-Token": "t"}) as connection:
        [row] = connection.execute("select public.asked() as asked").fetchall()
        asked = {
            "role": "authenticated",
            "login": "authenticator",
            "limit": "8s",
            "header": "t",
            "person": anne.id,
        }
        assert row["asked"] == asked
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("select * from auth.users")
    with project.as_role("anon") as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("select id from public.notes")


def test_an_operator_is_one_by_app_metadata(project: Project) -> None:
    person = project.add_person(email="olga@notes.test", operator=True)
    [row] = project.sql(
        "select raw_app_meta_data ->> 'role' as role from auth.users where id = %s", person.id
    )
    assert row["role"] == "operator"
    assert project.keys.read(person.token)["app_metadata"]["role"] == "operator"


def test_a_migration_that_does_not_run_says_where(rig: Rig, tmp_path: Path) -> None:
    wrong = tmp_path / "1_wrong.sql"
    wrong.write_text("select 1;\nselect wrong;\n")
    with pytest.raises(ClusterFailed, match=r"1_wrong.sql, line 2: column"):
        rig.cluster.make_project("wrong", [wrong])
    theirs = tmp_path / "2_theirs.sql"
    theirs.write_text("create function storage.mine() returns integer language sql as 'select 1';")
    with pytest.raises(ClusterFailed, match=r"storage.mine|permission denied for schema storage"):
        rig.cluster.make_project("theirs", [theirs])


def test_migrations_do_not_run_as_a_superuser(rig: Rig, tmp_path: Path) -> None:
    file = tmp_path / "1.sql"
    file.write_text("create role mighty superuser;")
    with pytest.raises(ClusterFailed, match=r"permission denied|must be superuser"):
        rig.cluster.make_project("mighty", [file])


def test_a_local_project_runs_in_a_process_of_its_own() -> None:
    with LocalProject(people=["anne@studio.test"], operators=["olga@studio.test"]) as local:
        anne, _ = local.people
        headers = {"apikey": local.publishable_key, "Authorization": f"Bearer {anne.token}"}
        assert httpx.get(f"{local.url}/auth/v1/user", headers=headers).json()["email"] == anne.email
        assert local.sql("select count(*) as n from auth.users") == [{"n": 2}]
        assert local.environment()["SUPABASE_URL"] == local.url
        local.stop_gateway()
        with pytest.raises(httpx.ConnectError):
            httpx.get(local.url)
        local.start_gateway()
        assert httpx.get(f"{local.url}/auth/v1/health", headers=headers).status_code == 200
        folder = Path(local.dsn.split("host=")[1])
        assert folder.exists()
    assert not folder.exists()


def test_a_killed_process_leaves_no_cluster() -> None:
    command = [sys.executable, "-m", "tests.supastub.cluster", "--no-migrations"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    folder = Path(process.stdout.readline().strip().split("host=")[1])
    assert folder.exists()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert gone(folder)
