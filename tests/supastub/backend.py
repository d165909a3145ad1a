"""What the three services share: the database through the right accounts, the keys, the folder of objects, the settings.

Each service logs in as on a hosted project: PostgREST as `authenticator`, Auth as `supabase_auth_admin`, Storage as
`supabase_storage_admin`. None is a superuser, so grants and row-level security are the database's own.
"""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool
from starlette.requests import Request

from tests.supastub import literals
from tests.supastub.catalogue import Catalogue
from tests.supastub.keys import Keys

REST, AUTH, STORAGE = "authenticator", "supabase_auth_admin", "supabase_storage_admin"
SERVICE: dict[str, Any] = {"role": "service_role"}
"""The claims under which a service does what no policy shall stop."""

CONNECTIONS = 8
MEBIBYTE = 2**20

Address = Callable[[str], str]
"""The DSN of the current database for an account."""


@dataclass
class Settings:
    """What a project's owner sets on the dashboard. Tests may change them at any time."""

    confirm_email: bool = False
    """Whether a person must follow a link before the first sign-in. Off: signing up gives a session at once."""
    allow_sign_up: bool = True
    password_length: int = 6
    token_seconds: int = 3600
    reuse_seconds: int = 10
    """How long a used refresh token may be used again."""
    one_time_token_seconds: int = 3600
    object_bytes: int = 50 * MEBIBYTE
    """The project's limit for a file; 50 MiB is that of the free plan."""
    upload_seconds: float = 24 * 3600
    """How long a resumable upload may be continued."""


@dataclass
class Backend:
    """State of one project behind the gateway. Owned by the gateway's event loop."""

    keys: Keys
    folder: Path
    settings: Settings = field(default_factory=Settings)
    catalogue: Catalogue = field(default_factory=Catalogue)
    _pools: dict[str, AsyncConnectionPool[AsyncConnection[Any]]] = field(default_factory=dict)

    async def open(self, address: Address) -> None:
        """Turn to a database; what is open to another one is closed."""
        await self.close()
        for account in (REST, AUTH, STORAGE):
            pool = AsyncConnectionPool(
                address(account),
                min_size=0,
                max_size=CONNECTIONS,
                open=False,
                timeout=20,
                kwargs={"autocommit": True, "prepare_threshold": None},
            )
            await pool.open()
            self._pools[account] = pool
        await self.refresh()

    async def close(self) -> None:
        """Close every connection."""
        pools, self._pools = self._pools, {}
        for pool in pools.values():
            await pool.close(timeout=1)

    async def refresh(self) -> None:
        """Read the schema and the roles again."""
        async with self._pools[REST].connection() as connection:
            await self.catalogue.read(connection)

    @asynccontextmanager
    async def transaction(self, account: str, begin: str = "begin") -> AsyncIterator[AsyncConnection[Any]]:
        """One transaction as an account: committed at the end, rolled back by an exception."""
        async with self._pools[account].connection() as connection:
            await run(connection, begin)
            try:
                yield connection
            except BaseException:
                if not connection.closed:
                    await run(connection, "rollback")
                raise
            await run(connection, "commit")

    @asynccontextmanager
    async def as_caller(
        self, claims: dict[str, Any], request: Request, operation: str = ""
    ) -> AsyncIterator[AsyncConnection[Any]]:
        """One transaction of the storage service in the caller's role, with what policies may look at."""
        role = str(claims.get("role", "anon"))
        values = {
            "search_path": "storage, public, extensions",
            "role": role,
            "request.jwt.claim.role": role,
            "request.jwt.claim.sub": str(claims.get("sub", "")),
            "request.jwt.claims": json.dumps(claims),
            "request.headers": json.dumps(dict(request.headers)),
            "request.method": request.method,
            "request.path": request.url.path.removeprefix("/storage/v1"),
            "storage.operation": operation,
            "storage.allow_delete_query": "true",
        }
        async with self.transaction(STORAGE) as connection:
            await run(connection, literals.settings(values))
            yield connection


async def run(connection: AsyncConnection[Any], statement: str, *parameters: Any) -> psycopg.AsyncCursor[Any]:
    """Run a statement; without parameters as the text it is."""
    return await connection.execute(statement, parameters or None)
