"""The rig: a cluster, a template with the project's migrations, a gateway; and the project that a test works on.

A test gets a project as after its set-up. The database of the last test is emptied rather than cloned again where that is
enough: no schema was changed and little was written.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psycopg
from psycopg.rows import dict_row

from tests.supastub.access import PASSWORD, Access, Person, Row
from tests.supastub.backend import Settings
from tests.supastub.cluster import HERE, Cluster, run_file
from tests.supastub.faults import Faults
from tests.supastub.gateway import Gateway
from tests.supastub.keys import Keys

__all__ = ["PASSWORD", "Person", "Project", "Rig"]

SMALL_BYTES = 8 * 2**20
"""More than this in the tables, and a clone is quicker than emptying them."""
GROWN_BYTES = 256 * 2**10
"""More than this in one table, and what was deleted is cleared away."""

TABLES = """
select format('%I.%I', n.nspname, c.relname) as name, pg_relation_size(c.oid) as bytes,
    array(
        select quote_ident(a.attname) from pg_attribute a
        where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
    ) as columns
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname in ('public', 'private', 'auth', 'storage', 'rig') and c.relkind = 'r' order by 1
"""
# Every change of the schema writes a row of one of these catalogues; xmin is the transaction that wrote it.
SCHEMA_MARK = """
select md5(string_agg(mark, ',' order by mark)) as mark from (
    select 'c' || oid || ' ' || xmin::text as mark from pg_class where oid >= 16384
    union all select 'a' || attrelid || '.' || attnum || ' ' || xmin::text from pg_attribute where attrelid >= 16384
    union all select 'p' || oid || ' ' || xmin::text from pg_proc where oid >= 16384
    union all select 'y' || oid || ' ' || xmin::text from pg_policy
    union all select 't' || oid || ' ' || xmin::text from pg_trigger
    union all select 'k' || oid || ' ' || xmin::text from pg_constraint where oid >= 16384
    union all select 'r' || oid || ' ' || xmin::text from pg_authid
) marks
"""


class Project(Access):
    """A project whose gateway runs in this process: it can also be hurt on purpose."""

    def __init__(self, gateway: Gateway, address: Callable[[str], str]) -> None:
        super().__init__(gateway.url, gateway.keys, address)
        self._gateway = gateway

    @property
    def faults(self) -> Faults:
        """What shall go wrong next, and which requests came. Safe to use from any thread."""
        return self._gateway.faults

    @property
    def settings(self) -> Settings:
        """The dashboard's settings; every test begins with the defaults."""
        return self._gateway.settings

    def pass_time(self, seconds: float) -> None:
        """Move every time back, also those of uploads on their way."""
        super().pass_time(seconds)
        self._gateway.pass_time(seconds)

    def stop_gateway(self) -> None:
        """Take the project off the network: the port is closed and every connection is cut."""
        self._gateway.stop()

    def start_gateway(self) -> None:
        """Bring it back, under the same address."""
        self._gateway.start()

    def reload_schema(self) -> None:
        """Let the API see a change of the schema or of a role's settings (an unknown name is looked up anyway)."""
        self._gateway.reload()


class Rig:
    """One template and one gateway. Projects are handed out one after the other."""

    def __init__(
        self, cluster: Cluster, template: str = "studio", migrations: Sequence[Path] | None = None
    ) -> None:
        self.cluster = cluster
        self.template = cluster.make_project(template, migrations)
        run_file(cluster.dsn(template), HERE / "rig.sql")
        self.gateway = Gateway(Keys(), cluster.make_folder(f"files-{template}"))
        self._database: str | None = None
        self._mark = ""
        self._seed: dict[str, bytes] = {}
        self._tables: list[Row] = []

    @contextlib.contextmanager
    def project(self, port: int = 0) -> Iterator[Project]:
        """A fresh project, and its end. The gateway keeps its port over all of them."""
        if self._database is None:
            self._database = self.cluster.clone(self.template)
            self._remember()
            self.gateway.connect(functools.partial(self.cluster.dsn, self._database))
        self.gateway.start(port)
        project = Project(self.gateway, functools.partial(self.cluster.dsn, self._database))
        try:
            yield project
        finally:
            project.close()
            self.gateway.begin_anew()
            self._clean()

    def close(self) -> None:
        """End the gateway; the cluster stays."""
        self.gateway.close()

    def _remember(self) -> None:
        """Keep what the migrations put into tables."""
        with self._superuser() as connection:
            self._mark = _mark(connection)
            self._tables = connection.execute(TABLES).fetchall()
            self._seed = {}
            for table in self._with_rows(connection):
                with connection.cursor().copy(_copy(table, "to stdout")) as copy:
                    self._seed[table["name"]] = b"".join(bytes(part) for part in copy)

    def _superuser(self) -> psycopg.Connection[Row]:
        return psycopg.connect(self.cluster.dsn(str(self._database)), autocommit=True, row_factory=dict_row)

    def _with_rows(self, connection: psycopg.Connection[Row]) -> list[Row]:
        """Return the tables in which something stands."""
        marks = ", ".join(f"exists (select from {table['name']})" for table in self._tables)
        row = connection.execute(f"select array[{marks}] as found").fetchone()
        assert row is not None
        return [table for table, found in zip(self._tables, row["found"], strict=True) if found]

    def _clean(self) -> None:
        """Make the database as it was, or drop it where a clone is quicker or the schema was changed."""
        with self._superuser() as connection:
            quick = _mark(connection) == self._mark
            if quick:
                sizes = {row["name"]: row["bytes"] for row in connection.execute(TABLES)}
                quick = sum(sizes.values()) < SMALL_BYTES
            quick = quick and self._empty(connection)
            if quick:
                grown = [name for name, size in sizes.items() if size > GROWN_BYTES]
                if grown:
                    connection.execute(f"vacuum {', '.join(grown)}")
        if not quick:
            self.gateway.disconnect()
            self.cluster.drop(str(self._database))
            self._database = None

    def _empty(self, connection: psycopg.Connection[Row]) -> bool:
        """Delete what the test wrote and put the seed back. False where somebody still holds a lock."""
        try:
            self._rewrite(connection)
        except psycopg.errors.LockNotAvailable:
            return False
        return True

    def _rewrite(self, connection: psycopg.Connection[Row]) -> None:
        with connection.transaction():
            connection.execute(
                "set local session_replication_role = replica"
            )  # past triggers and foreign keys
            connection.execute("set local lock_timeout = '2s'")
            for table in self._with_rows(connection):
                connection.execute(f"delete from {table['name']}")
            for table in self._tables:
                if table["name"] in self._seed:
                    with connection.cursor().copy(_copy(table, "from stdin")) as copy:
                        copy.write(self._seed[table["name"]])


def _copy(table: Row, direction: str) -> str:
    return f"copy {table['name']} ({', '.join(table['columns'])}) {direction}"


def _mark(connection: psycopg.Connection[Row]) -> str:
    row = connection.execute(SCHEMA_MARK).fetchone()
    assert row is not None
    return str(row["mark"])
