"""A project as tests and journeys reach it: its address, its keys, and its database past the API.

It does not start anything: the rig does in this process, `python -m tests.supastub` in one of its own.
"""

import contextlib
import functools
import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import dict_row

from tests.supastub import passwords
from tests.supastub.backend import REST, Address
from tests.supastub.cluster import SUPERUSER
from tests.supastub.keys import Keys

PASSWORD = "correct horse battery"
Row = dict[str, Any]

TIMES = """
select format('%I.%I', n.nspname, c.relname) as table_name, array_agg(a.attname::text) as columns
from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
where n.nspname in ('public', 'private', 'auth') and c.relkind = 'r' and a.attnum > 0 and not a.attisdropped
    and a.attgenerated = '' and a.atttypid in ('timestamptz'::regtype, 'timestamp'::regtype)
group by 1
"""


@dataclass(frozen=True)
class Person:
    """Somebody who signed up, confirmed the address and is signed in."""

    id: str
    email: str
    password: str
    token: str


class Access:
    """Not safe for use from several threads."""

    def __init__(self, url: str, keys: Keys, address: Address) -> None:
        self.url = url
        self.keys = keys
        self._address = address
        self._connection: psycopg.Connection[Row] | None = None

    @property
    def publishable_key(self) -> str:
        """The key that everybody may know."""
        return self.keys.publishable

    @property
    def secret_key(self) -> str:
        """The key of the set-up script."""
        return self.keys.secret

    @property
    def dsn(self) -> str:
        """The database as the superuser."""
        return self._address(SUPERUSER)

    def environment(self) -> dict[str, str]:
        """Return what a process needs to find the project."""
        return {"SUPABASE_URL": self.url, "SUPABASE_PUBLISHABLE_KEY": self.publishable_key}

    def sql(self, query: str, *params: Any) -> list[Row]:
        """Run a statement as the superuser and return its rows; `%s` marks parameters."""
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(self.dsn, autocommit=True, row_factory=dict_row)
        cursor = self._connection.execute(query, params or None)
        return cursor.fetchall() if cursor.description else []

    @contextlib.contextmanager
    def as_role(
        self, role: str, claims: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None
    ) -> Iterator[psycopg.Connection[Row]]:
        """A connection as a request of that role has it: settings of the role, claims and headers, rows as dicts.

        It is in autocommit mode, so that a statement that is refused does not spoil the next.
        """
        with psycopg.connect(self._address(REST), autocommit=True, row_factory=dict_row) as connection:
            for setting in self.sql(
                "select unnest(rolconfig) as text from pg_roles where rolname = %s", role
            ):
                connection.execute("select set_config(%s, %s, false)", setting["text"].split("=", 1))
            values = {
                "request.jwt.claims": json.dumps({**(claims or {}), "role": role}),
                "request.headers": json.dumps(
                    {name.lower(): value for name, value in (headers or {}).items()}
                ),
                "role": role,
            }
            for name, value in values.items():
                connection.execute("select set_config(%s, %s, false)", (name, value))
            yield connection

    def add_person(
        self, user_id: str | None = None, email: str | None = None, *, operator: bool = False
    ) -> Person:
        """Add somebody past the rules of signing up, with a session."""
        user, session = user_id or str(uuid.uuid4()), str(uuid.uuid4())
        address = (email or f"{user[:8]}@studio.test").lower()
        app_metadata = {"provider": "email", "providers": ["email"]} | (
            {"role": "operator"} if operator else {}
        )
        self.sql("set session_replication_role = replica")  # past the trigger that asks for an invitation
        try:
            self.sql(
                """insert into auth.users (instance_id, id, aud, role, email, encrypted_password, email_confirmed_at,
                       last_sign_in_at, raw_app_meta_data, raw_user_meta_data, created_at, updated_at)
                   values ('00000000-0000-0000-0000-000000000000', %s, 'authenticated', 'authenticated', %s, %s, now(),
                       now(), %s, '{}', now(), now())""",
                user,
                address,
                _hash_of_password(),
                json.dumps(app_metadata),
            )
            self.sql(
                """insert into auth.identities (provider_id, user_id, identity_data, provider, created_at, updated_at)
                   values (%s, %s, %s, 'email', now(), now())""",
                user,
                user,
                json.dumps({"sub": user, "email": address, "email_verified": True}),
            )
            self.sql(
                "insert into auth.sessions (id, user_id, created_at, updated_at) values (%s, %s, now(), now())",
                session,
                user,
            )
        finally:
            self.sql("set session_replication_role = origin")
        person = Person(user, address, PASSWORD, "")
        return Person(user, address, PASSWORD, self.token(person, session=session, app_metadata=app_metadata))

    def token(
        self,
        person: Person,
        seconds: float = 3600,
        *,
        session: str | None = None,
        app_metadata: Row | None = None,
    ) -> str:
        """Return an access token; negative seconds give one that has ended."""
        claims = {
            "sub": person.id,
            "aud": "authenticated",
            "role": "authenticated",
            "email": person.email,
            "app_metadata": app_metadata or {},
            "user_metadata": {},
            "is_anonymous": False,
        }
        return self.keys.sign({**claims, "session_id": session} if session else claims, seconds)

    def mails(self, email: str | None = None) -> list[Row]:
        """Return what Auth would have mailed, newest last: kind, email, code, token_hash."""
        return self.sql(
            "select * from rig.mails where %s::text is null or email = %s order by id", email, email
        )

    def pass_time(self, seconds: float) -> None:
        """Move every time in public, private and auth back, as if so many seconds had gone by. Tokens in hand stay."""
        self.sql("set session_replication_role = replica")
        try:
            for row in self.sql(TIMES):
                changes = ", ".join(
                    f'"{name}" = "{name}" - make_interval(secs => {float(seconds)})'
                    for name in row["columns"]
                )
                self.sql(f"update {row['table_name']} set {changes}")
        finally:
            self.sql("set session_replication_role = origin")

    def close(self) -> None:
        """Close the connection that `sql` keeps."""
        if self._connection is not None:
            self._connection.close()


@functools.cache
def _hash_of_password() -> str:
    return passwords.hash_of(PASSWORD)
