"""One project with Anne, Ben and the operator in it, a row of Anne's in every table, machines with tokens, and files.

Who asks is a `Caller`: a role with its claims and headers. Every question is rolled back, so one world serves a whole matrix.
"""

import json
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, LiteralString, cast

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from tests.supabase_sql.stage import hex_of
from tests.supabase_sql.workshop import Held, Workshop, new_token, runner_of
from tests.supastub.rig import Person, Project

Row = dict[str, Any]

PEOPLE = ("owner", "owner with a job token", "other person", "operator")
MACHINES = ("anonymous", "runner token", "job token", "foreign job token", "task token")
CALLERS = (*PEOPLE, *MACHINES)

COLUMNS = """
select c.relname as name, a.attname as col, format_type(a.atttypid, a.atttypmod) as type, a.attnotnull as needed,
    a.attidentity <> '' as counted
from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'f') order by c.relname, a.attnum
"""
OF_TYPE: Row = {
    "uuid": None, "text": "x", "integer": 1, "bigint": 1, "double precision": 1.0, "boolean": True, "jsonb": {},
    "timestamp with time zone": "2026-03-01T12:00:00Z",
}  # fmt: skip
"""What a column is filled with, where no check wants more."""

CHECKED: dict[str, Row] = {
    "metrics_points": {"kind": "train"},
    "log_lines": {"level": "info"},
    "provider_secrets": {"provider": "runpod"},
    "training_configs": {"config": {"a": 1}},
    "runner_registrations": {"scope": "mine"},
    "chat_turns": {"status": "waiting"},
    "quotas": {
        "max_live_jobs": 100,
        "running_jobs": 100,
        "gpu_hours_per_month": 1e6,
        "storage_bytes": 10**12,
        "usd_per_month": 1e6,
    },
}


class Caller:
    """One way to ask. Not thread-safe."""

    def __init__(self, name: str, connection: psycopg.Connection[Row]) -> None:
        self.name = name
        self.connection = connection

    def ask(self, query: str, *values: Any) -> list[Row]:
        """Ask, and undo it. Raises: psycopg.Error."""
        with self.connection.transaction(force_rollback=True):
            # Lets a row be deleted past the storage service, as the service itself does.
            self.connection.execute("select set_config('storage.allow_delete_query', 'true', true)")
            cursor = self.connection.execute(cast(LiteralString, query), values or None)
            return cursor.fetchall() if cursor.description else [{}] * cursor.rowcount

    def call(self, function: str, parameters: Mapping[str, Any]) -> Any:
        """Call a function of schema public, and undo it."""
        marks = ", ".join(f"{name} => %s" for name in parameters)
        values = [as_parameter(value) for value in parameters.values()]
        return self.ask(f"select public.{function}({marks}) as answer", *values)[0]["answer"]

    def outcome(self, query: str, *values: Any) -> str:
        """Return 'done' (something was read or written), 'nothing' (no row), 'refused' (no right), or the error's code."""
        try:
            return "done" if self.ask(query, *values) else "nothing"
        except psycopg.errors.InsufficientPrivilege:
            return "refused"
        except psycopg.Error as error:
            return error.sqlstate or type(error).__name__

    def outcome_of_call(self, function: str, parameters: Mapping[str, Any]) -> str:
        """Return 'done', 'refused' (no right to call it), or the code of the function's refusal."""
        try:
            self.call(function, parameters)
        except psycopg.errors.InsufficientPrivilege:
            return "refused"
        except psycopg.Error as error:
            return error.sqlstate or type(error).__name__
        return "done"


def as_parameter(value: Any) -> Any:
    """Documents go as jsonb; lists of texts stay arrays."""
    return (
        Jsonb(value)
        if isinstance(value, dict) or (isinstance(value, list) and value[:1] != ["loss"])
        else value
    )


@dataclass
class Token:
    """A credential and what it stands for."""

    value: str
    job: str = ""
    attempt: int = 1
    task: str = ""


class World:
    """The stage of a matrix. Rows are made past the API where the API has no way to make them."""

    def __init__(self, project: Project, stack: ExitStack) -> None:
        self.project = project
        self._stack = stack
        self.shop = Workshop(project, stack)
        self.anne: Person = self.shop.anne
        self.ben = project.add_person(email="ben@studio.test")
        self.olga = project.add_person(email="olga@studio.test", operator=True)
        self.runner_token = self.shop.token
        self.shop.ask("runner_announce", token=self.runner_token, runner=runner_of())
        held = self.shop.running()
        self.artifact = held.put(held.artifact())
        self.stray = held.artifact()
        self.dataset: str = held.claim["dataset"]["id"]
        self.held: Held = held
        self.job = Token(held.token, held.id)
        self.queued = self.shop.submit()
        self.foreign = self._bens_job()
        self.task = self._task(self.anne, self.runner_token)
        self.foreign_task = self._task(self.ben, self.bens_runner)
        self.columns: dict[str, list[Row]] = {}
        for row in project.sql(COLUMNS):
            self.columns.setdefault(row["name"], []).append(row)
        for table in self.columns:
            self._fill(table)
        self.callers = {name: self._caller(name) for name in CALLERS}

    def _bens_job(self) -> Token:
        self.bens_runner = self.shop.register(self.ben)
        self.bens_dataset = self.shop.add_dataset(self.ben)
        self.shop.submit(self.ben, dataset_id=self.bens_dataset)
        claim = self.shop.claim(runner_of("bens"), token=self.bens_runner)
        assert claim is not None
        return Token(claim["token"], claim["job"]["id"])

    def _task(self, person: Person, runner: str) -> Token:
        subject = self.shop.add_dataset(person)
        task = str(uuid.uuid4())
        self.shop.asked_by(
            person, "add_task", task={"id": task, "kind": "check_dataset", "subject_id": subject}
        )
        token = new_token()
        name = "workstation" if runner == self.runner_token else "bens"
        claimed = self.shop.ask(
            "task_claim",
            token=runner,
            runner=runner_of(name),
            lease_seconds=600,
            task_token_sha256=hex_of(token),
        )
        assert claimed["id"] == task
        return Token(token, task=task)

    def _fill(self, table: str) -> None:
        """Give Anne a row in a table that has none."""
        owned = any(column["col"] == "user_id" for column in self.columns[table])
        assert owned, f"public.{table} has no user_id: say in tests/security whose its rows are"
        if self.project.sql(f"select 1 from public.{table} where user_id = %s limit 1", self.anne.id):
            return
        values: Row = {}
        for column in self.columns[table]:
            if column["counted"]:
                continue
            value = OF_TYPE[column["type"]]
            values[column["col"]] = str(uuid.uuid4()) if column["type"] == "uuid" else value
        values |= CHECKED.get(table, {}) | {"user_id": self.anne.id}
        if "job_id" in values:
            values["job_id"] = self.job.job
        names = sql.SQL(", ").join(map(sql.Identifier, values))
        marks = sql.SQL(", ").join([sql.Placeholder()] * len(values))
        statement = sql.SQL("insert into public.{} ({}) values ({})").format(
            sql.Identifier(table), names, marks
        )
        with psycopg.connect(self.project.dsn) as connection:
            connection.execute("set session_replication_role = replica")
            connection.execute(statement, [as_parameter(value) for value in values.values()])

    def _caller(self, name: str) -> Caller:
        headers = {
            "runner token": {"X-Runner-Token": self.runner_token, "X-Job-Token": self.runner_token},
            "job token": {"X-Job-Token": self.job.value},
            "foreign job token": {"X-Job-Token": self.foreign.value},
            "task token": {"X-Job-Token": self.task.value},
            "owner with a job token": {"X-Job-Token": self.job.value},
        }.get(name, {})
        people = {"other person": self.ben, "operator": self.olga}
        person = people.get(name, self.anne)
        role, claims = ("authenticated", {"sub": person.id}) if name in PEOPLE else ("anon", {})
        if name == "operator":
            claims = {**claims, "app_metadata": json.dumps({"role": "operator"})}
        return Caller(name, self._stack.enter_context(self.project.as_role(role, claims, headers)))

    def row(self, table: str) -> Row:
        """Return a row of Anne's as a document."""
        found = self.project.sql(
            f"select to_jsonb(t) as row from public.{table} t where user_id = %s limit 1", self.anne.id
        )
        row: Row = found[0]["row"]
        return row

    def objects(self, keys: Mapping[str, list[str]]) -> None:
        """Put files into Storage, by bucket."""
        for bucket, names in keys.items():
            for name in names:
                self.project.sql(
                    "insert into storage.objects (bucket_id, name, metadata) values (%s, %s, '{\"size\": 10}')"
                    " on conflict do nothing",
                    bucket,
                    name,
                )


@contextmanager
def open_world(project: Project) -> Iterator[World]:
    """Make the world on a fresh project."""
    with ExitStack() as stack:
        yield World(project, stack)
