"""Every table x select, insert, update (of every column), delete x every kind of caller. All is asked about rows of Anne's.

Tables and columns come from the database's catalogue: a new one fails here until the table below says what it is for.
"""

import uuid
from dataclasses import dataclass

from psycopg.types.json import Jsonb

from tests.security.world import CALLERS, PEOPLE, World


@dataclass(frozen=True)
class Rights:
    """What the person may do whom a row belongs to. Nobody else may do anything with it.

    Attributes:
        hidden: Columns that not even the owner reads.
        insert: Whether the owner may insert a row.
        update: Columns that the owner may change.
        delete: Whether the owner may delete it.
    """

    hidden: frozenset[str] = frozenset()
    insert: bool = False
    update: frozenset[str] = frozenset()
    delete: bool = False


def own(update: str, hidden: str = "") -> Rights:
    """A table that people write themselves."""
    return Rights(frozenset(hidden.split()), insert=True, update=frozenset(update.split()), delete=True)


READ = Rights()
EXPECTED: dict[str, Rights] = {
    "budgets": READ,
    "chat_turns": READ,
    "cloud_deployments": READ,
    "cost_records": READ,
    "datasets": own("name file_name sha256 rows status format mapping report"),
    "job_attempts": READ,
    "job_events": READ,
    "log_lines": READ,
    "metrics_points": READ,
    "model_artifacts": READ,
    "notification_routes": own("name events", hidden="ciphertext"),
    "notifications": Rights(update=frozenset({"read_at"})),
    "predictions": READ,
    "provider_secrets": own("", hidden="ciphertext"),
    "quotas": READ,
    "runner_registrations": READ,
    "runners": READ,
    "samples": READ,
    "tasks": READ,
    "training_configs": own("name draft config updated_at"),
    "training_jobs": READ,
}
OWNERS = ("owner", "owner with a job token")


def test_every_table_has_its_entry(world: World) -> None:
    assert set(world.columns) == set(EXPECTED)


def expected_of(caller: str, *, granted: bool) -> str:
    """What a question about Anne's rows comes to: strangers have the right to ask about rows, and find none."""
    if caller not in PEOPLE or not granted:
        return "refused"
    return "done" if caller in OWNERS else "nothing"


def test_rows_are_read_by_their_owner_alone(world: World) -> None:
    found, expected = {}, {}
    for table, columns in world.columns.items():
        for name in CALLERS:
            for column in columns:
                key = (table, column["col"], name)
                query = f'select "{column["col"]}" from public.{table} where user_id = %s'
                # user_id itself may be read, so that the condition is no obstacle.
                found[key] = world.callers[name].outcome(query, world.anne.id)
                expected[key] = expected_of(name, granted=column["col"] not in EXPECTED[table].hidden)
    assert found == expected


def test_rows_are_counted_by_their_owner_alone(world: World) -> None:
    for table in EXPECTED:
        for name in ("other person", "operator"):
            caller = world.callers[name]
            query = f"select count(*) as n from public.{table} where user_id = %s"
            assert caller.ask(query, world.anne.id) == [{"n": 0}], (table, name)


def test_columns_are_changed_by_their_owner_alone(world: World) -> None:
    found, expected = {}, {}
    for table, columns in world.columns.items():
        for name in CALLERS:
            for column in columns:
                key = (table, column["col"], name)
                query = f'update public.{table} set "{column["col"]}" = default where user_id = %s'
                if column["col"] in EXPECTED[table].update:
                    query = query.replace("= default", f'= "{column["col"]}"')
                found[key] = world.callers[name].outcome(query, world.anne.id)
                expected[key] = expected_of(name, granted=column["col"] in EXPECTED[table].update)
    assert found == expected


def test_rows_are_deleted_by_their_owner_alone(world: World) -> None:
    found, expected = {}, {}
    # A data set that is in use may not be deleted by anybody; these rows are not.
    unused = {"datasets": " and id not in (select dataset_id from public.training_jobs)"}
    for table in world.columns:
        for name in CALLERS:
            query = f"delete from public.{table} where user_id = %s{unused.get(table, '')}"
            found[table, name] = world.callers[name].outcome(query, world.anne.id)
            expected[table, name] = expected_of(name, granted=EXPECTED[table].delete)
    assert found == expected


def test_rows_are_inserted_for_oneself_alone(world: World) -> None:
    """A copy of a row of Anne's under new keys, inserted by everybody: nobody may do that in her name."""
    found, expected = {}, {}
    for table, columns in world.columns.items():
        row = world.row(table)
        fresh = {"id": str(uuid.uuid4())} if "id" in row else {}
        if table == "datasets":
            fresh["storage_path"] = f"{world.anne.id}/datasets/{fresh['id']}/data"
        if table == "provider_secrets":
            fresh["provider"] = "huggingface"
        if table in ("provider_secrets", "notification_routes"):
            fresh["ciphertext"] = "x"
        names = ", ".join(f'"{column["col"]}"' for column in columns)
        query = (
            f"insert into public.{table} ({names}) overriding system value"
            f" select {names} from jsonb_populate_record(null::public.{table}, %s)"
        )
        for name in CALLERS:
            found[table, name] = world.callers[name].outcome(query, Jsonb(row | fresh))
            allowed = EXPECTED[table].insert and name in OWNERS
            expected[table, name] = "done" if allowed else "refused"
    assert found == expected


def test_no_table_is_emptied(world: World) -> None:
    for table in EXPECTED:
        for name in CALLERS:
            assert world.callers[name].outcome(f"truncate public.{table} cascade") == "refused", (table, name)


def test_secrets_of_machines_are_read_by_nobody(world: World) -> None:
    tables = world.project.sql("select tablename from pg_tables where schemaname = 'private'")
    assert len(tables) > 5
    for row in tables:
        for name in CALLERS:
            for query in (
                f"select from private.{row['tablename']}",
                f"delete from private.{row['tablename']}",
            ):
                assert world.callers[name].outcome(query) == "refused", (row, name)


def test_accounts_are_read_by_nobody(world: World) -> None:
    for row in world.project.sql("select tablename from pg_tables where schemaname = 'auth'"):
        for name in CALLERS:
            for query in (f"select from auth.{row['tablename']}", f"delete from auth.{row['tablename']}"):
                assert world.callers[name].outcome(query) == "refused", (row, name)
