"""Who may call and touch what, by the database's own account, under the old default grants of a project and the new ones."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from tests.supastub.cluster import MIGRATIONS
from tests.supastub.rig import Project, Rig

NEW_DEFAULTS = """
alter default privileges in schema public revoke all on tables from anon, authenticated, service_role;
alter default privileges in schema public revoke all on sequences from anon, authenticated, service_role;
alter default privileges in schema public revoke all on functions from anon, authenticated, service_role;
"""
FUNCTIONS = """
select n.nspname || '.' || p.proname as name, p.prosecdef as definer, coalesce(p.proconfig, '{}') as settings,
    p.prorettype = 'trigger'::regtype as is_trigger, array(
        select r.rolname::text from pg_roles r
        where r.rolname in ('anon', 'authenticated', 'service_role') and has_function_privilege(r.oid, p.oid, 'execute')
        order by 1
    ) as callers
from pg_proc p join pg_namespace n on n.oid = p.pronamespace where n.nspname in ('public', 'private', 'file_access') order by 1
"""
TABLES = """
select c.oid::regclass::text as name, r.rolname as role, a.attname as col, priv,
    has_column_privilege(r.oid, c.oid, a.attnum, priv) as may
from pg_class c join pg_namespace n on n.oid = c.relnamespace and n.nspname in ('public', 'private')
join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
cross join unnest(array['anon', 'authenticated', 'service_role']) r0 join pg_roles r on r.rolname = r0
cross join unnest(array['select', 'insert', 'update']) priv
where c.relkind = 'r' order by 1, 2, 3, 4
"""
DELETES = """
select c.relname as name, r as role from pg_class c cross join unnest(array['anon', 'authenticated']) r
where c.relnamespace = 'public'::regnamespace and c.relkind = 'r'
    and (has_table_privilege(r, c.oid, 'delete') or has_table_privilege(r, c.oid, 'truncate'))
order by 1, 2
"""
CALLED_BY_ANON = {
    "sign_up_is_open", "studio_about", "runner_about",
    "runner_announce", "runner_claim",
    "job_take", "job_renew", "job_ship", "job_dataset", "job_artifact", "job_put_artifact", "job_drop_artifact", "job_end",
    "delivery_claim", "delivery_end",
    "task_claim", "task_progress", "task_end", "task_dataset", "task_peer", "task_save_dataset",
    "task_add_dataset",
}  # fmt: skip
"""Functions of schema public that need no session. The token, where there is one, is the credential."""


@pytest.fixture(scope="module")
def new_project(
    rig: Rig, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[psycopg.Connection[dict[str, Any]]]:
    """A project that grants nothing by default, with our migrations."""
    defaults = Path(tmp_path_factory.mktemp("sql")) / "defaults.sql"
    defaults.write_text(NEW_DEFAULTS)
    name = rig.cluster.make_project("new_defaults", [defaults, *sorted(MIGRATIONS.glob("*.sql"))])
    with psycopg.connect(rig.cluster.dsn(name), row_factory=dict_row, autocommit=True) as connection:
        yield connection
    rig.cluster.drop(name)


@pytest.mark.parametrize("query", [FUNCTIONS, TABLES, DELETES], ids=["functions", "tables", "deletes"])
def test_grants_do_not_depend_on_the_defaults_of_the_project(
    project: Project, new_project: psycopg.Connection[dict[str, Any]], query: str
) -> None:
    assert project.sql(query) == new_project.execute(query).fetchall()


def test_without_a_session_these_functions_alone_can_be_called(project: Project) -> None:
    by_anon = {row["name"] for row in project.sql(FUNCTIONS) if "anon" in row["callers"]}
    over_http = {name.removeprefix("public.") for name in by_anon if name.startswith("public.")}
    assert over_http == CALLED_BY_ANON
    # What policies of storage.objects ask about the token in the header; the schema is not exposed.
    assert {name.split(".")[0] for name in by_anon} == {"public", "file_access"}


def test_every_function_that_can_be_called_is_a_definer_with_an_empty_search_path(project: Project) -> None:
    for row in project.sql(FUNCTIONS):
        if row["callers"]:
            assert row["definer"], row["name"]
        assert 'search_path=""' in row["settings"], row["name"]


def test_the_set_up_script_alone_needs_the_secret_key(project: Project) -> None:
    assert [row["name"] for row in project.sql(FUNCTIONS) if row["callers"] == ["service_role"]] == [
        "public.setup_invite"
    ]


@pytest.mark.parametrize("role", ["anon", "authenticated", "service_role"])
def test_nobody_reaches_the_private_schema(project: Project, role: str) -> None:
    assert project.sql("select has_schema_privilege(%s, 'private', 'usage') as may", role) == [{"may": False}]


def test_without_a_session_no_table_can_be_touched(project: Project) -> None:
    assert [row for row in project.sql(TABLES) if row["role"] == "anon" and row["may"]] == []


def test_people_delete_rows_of_these_tables_alone(project: Project) -> None:
    assert [(row["name"], row["role"]) for row in project.sql(DELETES)] == [
        ("datasets", "authenticated"),
        ("notification_routes", "authenticated"),
        ("provider_secrets", "authenticated"),
        ("training_configs", "authenticated"),
    ]


def test_people_change_these_columns_alone(project: Project) -> None:
    found: dict[str, set[str]] = {}
    for row in project.sql(TABLES):
        if row["role"] == "authenticated" and row["priv"] == "update" and row["may"]:
            found.setdefault(row["name"], set()).add(row["col"])
    assert found == {
        "datasets": {"name", "file_name", "sha256", "rows", "status", "format", "mapping", "report"},
        "training_configs": {"name", "draft", "config", "updated_at"},
        "notification_routes": {"name", "events"},
        "notifications": {"read_at"},
    }


def test_people_do_not_read_ciphertexts(project: Project) -> None:
    hidden = [
        (row["name"], row["col"])
        for row in project.sql(TABLES)
        if row["role"] == "authenticated"
        and row["priv"] == "select"
        and not row["may"]
        and row["name"].find("private.")
    ]
    assert hidden == [("notification_routes", "ciphertext"), ("provider_secrets", "ciphertext")]


def test_every_table_has_row_level_security(project: Project) -> None:
    tables = "select relname from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r'"
    assert project.sql(f"{tables} and not relrowsecurity") == []


def test_people_read_their_own_rows_alone(project: Project) -> None:
    policies = "select tablename, roles::text, qual from pg_policies where schemaname = 'public' and cmd = 'SELECT' order by 1"
    own = "(( SELECT auth.uid() AS uid) = user_id)"
    read = {row["tablename"]: (row["roles"], row["qual"]) for row in project.sql(policies)}
    # Runners that serve the whole team are seen by the whole team.
    assert read.pop("runners") == ("{authenticated}", f"({own} OR (scope = 'team'::text))")
    tables = project.sql(
        "select tablename from pg_tables where schemaname = 'public' and tablename <> 'runners' order by 1"
    )
    assert read == {row["tablename"]: ("{authenticated}", own) for row in tables}


def test_people_write_their_own_rows_alone(project: Project) -> None:
    policies = (
        "select tablename, cmd, roles::text, qual, with_check from pg_policies where schemaname = 'public'"
    )
    own = "(( SELECT auth.uid() AS uid) = user_id)"
    for row in project.sql(f"{policies} and cmd <> 'SELECT'"):
        assert row["roles"] == "{authenticated}"
        assert row["qual"] == (None if row["cmd"] == "INSERT" else own), row
        assert row["with_check"] == (None if row["cmd"] == "DELETE" else own), row
