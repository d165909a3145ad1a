"""Asking the database as a request of a role does, and rows to ask about. It knows SQL and no HTTP."""

import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any, LiteralString, Self, cast

import psycopg
import pytest
from psycopg import sql
from psycopg.types.json import Jsonb

from lora_core.schema.base import new_id
from tests.supastub.rig import Project

Row = dict[str, Any]
SECONDS = 10.0


class Asker:
    """One role's connection, in autocommit mode: every statement is a request of its own."""

    def __init__(self, connection: psycopg.Connection[Row], person_id: str = "", email: str = "") -> None:
        self.connection = connection
        self.id = person_id
        self.email = email

    @classmethod
    @contextlib.contextmanager
    def of_person(cls, project: Project, email: str, *, operator: bool = False) -> Iterator[Self]:
        """Add a person, and ask with their session."""
        person = project.add_person(email=email, operator=operator)
        with project.as_role("authenticated", {"sub": person.id}) as connection:
            yield cls(connection, person.id, person.email)

    def again(self, project: Project) -> contextlib.AbstractContextManager[psycopg.Connection[Row]]:
        """Open a second connection of the same person."""
        return project.as_role("authenticated", {"sub": self.id})

    def call(self, function: str, **parameters: Any) -> Any:
        """Call a function of schema public with named parameters; dictionaries go as jsonb."""
        return call(self.connection, function, **parameters)

    def rows(self, query: str, *parameters: Any) -> list[Row]:
        """Run a statement and return its rows."""
        cursor = self.connection.execute(cast(LiteralString, query), parameters or None)
        return cursor.fetchall() if cursor.description else []

    def add_dataset(self, **changes: Any) -> str:
        """Insert a data set of this person and return its id."""
        dataset_id = changes.pop("id", None) or new_id()
        owner = changes.get("user_id", self.id)
        row = {
            "id": dataset_id,
            "user_id": owner,
            "name": "Tickets",
            "storage_bucket": "lora-datasets",
            "storage_path": f"{owner}/datasets/{dataset_id}/data.jsonl",
            "bytes": 100,
        } | changes
        names = sql.SQL(", ").join(map(sql.Identifier, row))
        marks = sql.SQL(", ").join([sql.Placeholder()] * len(row))
        self.connection.execute(
            sql.SQL("insert into public.datasets ({}) values ({})").format(names, marks), list(row.values())
        )
        return dataset_id

    def submit(self, **changes: Any) -> Row:
        """Submit a job of this person, on a new data set where none is given."""
        changes.setdefault("dataset_id", None)
        changes["dataset_id"] = changes["dataset_id"] or self.add_dataset()
        answer: Row = self.call("submit_job", p_job=job_of(**changes))
        return answer


def call(connection: psycopg.Connection[Row], function: str, **parameters: Any) -> Any:
    """Call a function of schema public on a connection."""
    named = sql.SQL(", ").join(
        sql.SQL("{} => {}").format(sql.Identifier(name), sql.Placeholder()) for name in parameters
    )
    values = [Jsonb(value) if isinstance(value, dict) else value for value in parameters.values()]
    statement = sql.SQL("select public.{}({}) as answer").format(sql.Identifier(function), named)
    row = connection.execute(statement, values).fetchone()
    assert row is not None
    return row["answer"]


def job_of(**changes: Any) -> Row:
    """Make what a person submits."""
    return {"id": new_id(), "name": "First try", "config": {"schema_version": 1}} | changes


def hex_of(token: str) -> str:
    """Return what the database is told of a token."""
    return sha256(token.encode()).hexdigest()


@contextlib.contextmanager
def refused(code: str, message: str = "") -> Iterator[None]:
    """Expect a refusal with this SQLSTATE whose message or hint has this text."""
    with pytest.raises(psycopg.Error) as caught:
        yield
    told = f"{caught.value.diag.message_primary}\n{caught.value.diag.message_hint or ''}"
    assert caught.value.sqlstate == code, told
    assert re.search(re.escape(message), told), told


def set_job(project: Project, job_id: str, **columns: Any) -> None:
    """Write columns of a job past all rules."""
    assignments = sql.SQL(", ").join(
        sql.SQL("{} = {}").format(sql.Identifier(name), sql.Placeholder()) for name in columns
    )
    statement = sql.SQL("update public.training_jobs set {} where id = {}").format(
        assignments, sql.Placeholder()
    )
    with psycopg.connect(project.dsn) as connection:
        connection.execute("set session_replication_role = replica")
        connection.execute(statement, [*columns.values(), job_id])


def add_attempt(
    project: Project, job: Row, number: int = 1, *, seconds: float = 0.0, ended: bool = True
) -> None:
    """Insert an attempt that began so many seconds ago and ends now, or runs on."""
    project.sql(
        "insert into public.job_attempts (job_id, number, user_id, runner_id, started_at, ended_at, lease_until)"
        " values (%s, %s, %s, 'r', now() - make_interval(secs => %s), case when %s then now() end,"
        " now() + interval '1 minute')",
        job["id"],
        number,
        job["user_id"],
        seconds,
        ended,
    )


def add_artifact(project: Project, job: Row, **changes: Any) -> str:
    """Insert an artifact of a job and return its id."""
    row = {
        "id": new_id(),
        "kind": "checkpoint",
        "attempt": 1,
        "step": 100,
        "bytes": 10,
        "created_at": "2026-03-01",
    } | changes
    project.sql(
        "insert into public.model_artifacts (id, user_id, job_id, attempt, kind, name, step, bucket, path, files, bytes,"
        " created_at) values (%s, %s, %s, %s, %s, 'c', %s, 'model-artifacts', %s, '[]', %s, %s)",
        row["id"],
        job["user_id"],
        job["id"],
        row["attempt"],
        row["kind"],
        row["step"],
        f"{job['user_id']}/jobs/{job['id']}/{row['attempt']}/{row['id']}",
        row["bytes"],
        row["created_at"],
    )
    return str(row["id"])


def events_of(project: Project, job_id: str) -> list[tuple[Any, ...]]:
    """Return the audit trail as (actor, action, from, to, reason), oldest first."""
    rows = project.sql(
        "select actor, action, from_status, to_status, reason from public.job_events where job_id = %s order by seq",
        job_id,
    )
    return [tuple(row.values()) for row in rows]


def wait_for(condition: Callable[[], object]) -> None:
    """Poll until something holds."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "It did not come true."
        time.sleep(0.01)


def is_blocked(project: Project, connection: psycopg.Connection[Row]) -> bool:
    """Say whether a connection waits for another's lock."""
    return bool(
        project.sql("select 1 where cardinality(pg_blocking_pids(%s)) > 0", connection.info.backend_pid)
    )


def race(
    project: Project,
    first: psycopg.Connection[Row],
    do_first: Callable[[], Any],
    second: psycopg.Connection[Row],
    do_second: Callable[[], Any],
) -> tuple[Any, Any]:
    """Do two things at the same time: the second waits for a lock of the first's transaction, which then commits.

    Returns:
        What each returned; of the second, the error where it was refused.
    """
    outcomes: list[Any] = []

    def try_second() -> None:
        try:
            outcomes.append(do_second())
        except psycopg.Error as error:
            outcomes.append(error)

    thread = threading.Thread(target=try_second)
    with first.transaction():
        answer = do_first()
        thread.start()
        wait_for(lambda: is_blocked(project, second) or outcomes)
        assert not outcomes, f"It did not wait: {outcomes[0]}"
    thread.join(SECONDS)
    return answer, outcomes[0]
