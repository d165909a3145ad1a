"""What a hosted project asks of the studio's migrations beyond what a plain PostgreSQL does."""

import re
from collections.abc import Iterator

import psycopg
import pytest

from tests.supastub.cluster import Cluster
from tests.supastub.fixtures import shared_cluster

FUNCTIONS = """
select p.oid::regprocedure::text, p.prosrc from pg_proc p join pg_namespace n on n.oid = p.pronamespace
where n.nspname in ('public', 'private')
"""
RIGHTS = """
select role, what from unnest(array['anon', 'authenticated', 'service_role']) role, lateral (
    select c.relname || ' ' || right_name as what
    from pg_class c, unnest(array['select', 'insert', 'update', 'delete', 'truncate', 'references', 'trigger']) right_name
    where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'v') and has_table_privilege(role, c.oid, right_name)
    union all
    select c.relname || '.' || a.attname || ' ' || right_name
    from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped,
        unnest(array['select', 'insert', 'update']) right_name
    where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'v')
        and has_column_privilege(role, c.oid, a.attnum, right_name)
    union all
    select p.oid::regprocedure::text from pg_proc p
    where p.pronamespace = 'public'::regnamespace and has_function_privilege(role, p.oid, 'execute')
    union all
    select c.relname || ' usage' from pg_class c
    where c.relnamespace = 'public'::regnamespace and c.relkind = 'S' and has_sequence_privilege(role, c.oid, 'usage')
        and not exists (select from pg_depend d where d.objid = c.oid and d.deptype = 'i')  -- identity needs no right
) rights
"""


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    return shared_cluster()


@pytest.fixture(scope="module")
def open_database(cluster: Cluster) -> Iterator[str]:
    yield cluster.make_project("rules_open")
    cluster.drop("rules_open")


def unguarded(body: str) -> list[str]:
    """Return the updates and deletes of a function's body that have no WHERE."""
    text = re.sub(r"--[^\n]*|/\*.*?\*/", " ", body, flags=re.DOTALL)
    text = re.sub(r"'(?:[^']|'')*'", "''", text).lower()
    found = []
    for match in re.finditer(
        r"(?<!for )(?<!for no key )(?<!do )\b(?:update\s+(?!set\b|of\b)[\w.\"]+|delete\s+from\s+[\w.\"]+)",
        text,
    ):
        depth, end = 0, match.end()
        while end < len(text) and text[end] != ";" and depth >= 0:
            depth += {"(": 1, ")": -1}.get(text[end], 0)
            end += 1
        statement = text[match.start() : end]
        if not re.search(r"\bwhere\b", statement):
            found.append(" ".join(statement.split()))
    return found


def test_the_check_finds_what_it_looks_for() -> None:
    body = """begin
        update a.b set x = 1; delete from c -- where
        ; with gone as (delete from d returning *) select 1 from d where true;
        select 1 from e for update; insert into f values (1) on conflict (id) do update set x = 2;
        update g set x = 'where' where id = 1; end"""
    assert unguarded(body) == ["update a.b set x = 1", "delete from c", "delete from d returning *)"]


def test_no_function_changes_all_rows(cluster: Cluster, open_database: str) -> None:
    """Hosted projects load safeupdate for the API: an UPDATE or DELETE without WHERE fails, also inside a function."""
    with psycopg.connect(cluster.dsn(open_database)) as connection:
        bodies = connection.execute(FUNCTIONS).fetchall()
    assert bodies
    assert {name: found for name, body in bodies if (found := unguarded(body))} == {}


def test_rights_do_not_depend_on_a_projects_default_privileges(cluster: Cluster, open_database: str) -> None:
    """Old projects grant every new object to the API's roles, new ones grant nothing: ours must be the same under both."""
    closed_database = cluster.make_project("rules_closed", closed=True)
    rights = []
    for database in (open_database, closed_database):
        with psycopg.connect(cluster.dsn(database)) as connection:
            rights.append(set(connection.execute(RIGHTS).fetchall()))
    cluster.drop(closed_database)
    assert rights[0] - rights[1] == set()
    assert rights[1] - rights[0] == set()
