"""Rows of auth.users, sessions, refresh and one-time tokens. It knows no HTTP and decides about no request."""

import json
import secrets
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import dict_row

from tests.supastub import passwords

Row = dict[str, Any]
TOKEN_COLUMN = {"recovery": "recovery_token", "confirmation": "confirmation_token"}


@dataclass(frozen=True)
class People:
    """The tables through one transaction of supabase_auth_admin."""

    connection: AsyncConnection[Any]

    async def one(self, statement: str, *parameters: Any) -> Row | None:
        """Return the first row of a statement."""
        cursor = self.connection.cursor(row_factory=dict_row)
        await cursor.execute(statement, parameters)
        return await cursor.fetchone() if cursor.description else None

    async def run(self, statement: str, *parameters: Any) -> None:
        """Run a statement."""
        await self.connection.execute(statement, parameters)

    async def by_id(self, user_id: str) -> Row | None:
        """Return a user."""
        return await self.one("select * from auth.users where id = %s", user_id)

    async def by_email(self, email: str) -> Row | None:
        """Return a user."""
        return await self.one(
            "select * from auth.users where email = %s and not is_sso_user", email.strip().lower()
        )

    async def page(self, number: int, size: int) -> list[Row]:
        """Return users, newest first."""
        cursor = self.connection.cursor(row_factory=dict_row)
        statement = "select * from auth.users order by created_at desc, id limit %s offset %s"
        await cursor.execute(statement, (size, size * (number - 1)))
        return await cursor.fetchall()

    async def insert(self, user_id: str, email: str, password: str, metadata: Row) -> None:
        """Insert a user, through the project's own triggers. Raises: psycopg.Error of such a trigger."""
        await self.run(
            """insert into auth.users (instance_id, id, aud, role, email, encrypted_password, raw_app_meta_data,
                   raw_user_meta_data, created_at, updated_at)
               values ('00000000-0000-0000-0000-000000000000', %s, 'authenticated', '', %s, %s, %s, %s, now(), now())""",
            user_id,
            email,
            passwords.hash_of(password),
            json.dumps({"provider": "email", "providers": ["email"]}),
            json.dumps(metadata),
        )
        await self.run(
            "update auth.users set role = 'authenticated', updated_at = now() where id = %s", user_id
        )

    async def add_identity(self, user_id: str, email: str, extra: Row) -> None:
        """Insert the identity that goes with an e-mail address. What a person signs up with stands here too."""
        data = {**extra, "sub": user_id, "email": email, "email_verified": False, "phone_verified": False}
        await self.run(
            """insert into auth.identities (provider_id, user_id, identity_data, provider, last_sign_in_at, created_at,
                   updated_at) values (%s, %s, %s, 'email', now(), now(), now())""",
            user_id,
            user_id,
            json.dumps(data),
        )

    async def identities(self, user_id: str) -> list[Row]:
        """Return them."""
        cursor = self.connection.cursor(row_factory=dict_row)
        await cursor.execute("select * from auth.identities where user_id = %s", (user_id,))
        return await cursor.fetchall()

    async def confirm(self, user_id: str) -> None:
        """Mark the address as the person's own."""
        await self.run(
            "update auth.users set email_confirmed_at = coalesce(email_confirmed_at, now()), updated_at = now() where id = %s",
            user_id,
        )

    async def merge(self, user_id: str, column: str, values: Row) -> None:
        """Change raw_app_meta_data or raw_user_meta_data: null removes a key."""
        await self.run(
            f"""update auth.users set updated_at = now(),
                    {column} = (coalesce({column}, '{{}}') || %s::jsonb) - %s::text[] where id = %s""",
            json.dumps(values),
            [name for name, value in values.items() if value is None],
            user_id,
        )

    async def set_password(self, user_id: str, password: str, keep_session: str | None) -> None:
        """Change it, which ends every session but one."""
        await self.run(
            "update auth.users set encrypted_password = %s, updated_at = now() where id = %s",
            passwords.hash_of(password),
            user_id,
        )
        await self.end_sessions(user_id, keep_session)

    async def end_sessions(self, user_id: str, keep: str | None = None) -> None:
        """End a person's sessions, all or all but one."""
        await self.run(
            "delete from auth.sessions where user_id = %s and id is distinct from %s", user_id, keep
        )

    async def new_session(self, user_id: str) -> str:
        """Begin one."""
        session = str(uuid.uuid4())
        await self.run(
            "insert into auth.sessions (id, user_id, created_at, updated_at) values (%s, %s, now(), now())",
            session,
            user_id,
        )
        await self.run("update auth.users set last_sign_in_at = now() where id = %s", user_id)
        return session

    async def new_refresh_token(self, user_id: str, session: str, parent: str | None = None) -> str:
        """Return a token for the next access token of a session."""
        token = secrets.token_urlsafe(9)
        await self.run(
            """insert into auth.refresh_tokens (token, user_id, session_id, parent, revoked, created_at, updated_at)
               values (%s, %s, %s, %s, false, now(), now())""",
            token,
            user_id,
            session,
            parent,
        )
        return token

    async def mail(self, user: Row, kind: str) -> None:
        """Keep a one-time token as the hosted service does, and what the mail said, for tests, in rig.mails."""
        code = f"{secrets.randbelow(10**6):06d}"
        digest = passwords.token_hash(user["email"], code)
        await self.run("delete from auth.one_time_tokens where user_id = %s", user["id"])
        await self.run(
            "insert into auth.one_time_tokens (id, user_id, token_type, token_hash, relates_to) values (%s, %s, %s, %s, %s)",
            str(uuid.uuid4()),
            user["id"],
            TOKEN_COLUMN[kind],
            digest,
            user["email"],
        )
        await self.run(f"update auth.users set {kind}_sent_at = now() where id = %s", user["id"])
        await self.run(
            "insert into rig.mails (kind, email, code, token_hash) values (%s, %s, %s, %s)",
            kind,
            user["email"],
            code,
            digest,
        )

    async def use_token(self, kind: str, digest: str, seconds: int) -> Row | None:
        """Return the user of a mailed token, once; None when it is unknown or too old."""
        found = await self.one(
            """delete from auth.one_time_tokens where token_type = %s and token_hash = %s
               returning user_id, created_at > now() - make_interval(secs => %s) as fresh""",
            TOKEN_COLUMN[kind],
            digest,
            seconds,
        )
        return await self.by_id(str(found["user_id"])) if found and found["fresh"] else None


def moment(value: datetime | None) -> str | None:
    """Return a time as the service writes it."""
    return value.isoformat().replace("+00:00", "Z") if value else None


def shown(user: Row, identities: list[Row]) -> Row:
    """Return a user as the service answers it."""
    names = (
        "created_at",
        "updated_at",
        "email_confirmed_at",
        "confirmed_at",
        "last_sign_in_at",
        "banned_until",
    )
    times = {
        name: moment(user[name])
        for name in (*names, "recovery_sent_at", "confirmation_sent_at")
        if user[name]
    }
    return {
        "id": str(user["id"]),
        "aud": user["aud"],
        "role": user["role"],
        "email": user["email"] or "",
        "phone": "",
        "app_metadata": user["raw_app_meta_data"] or {},
        "user_metadata": user["raw_user_meta_data"] or {},
        "identities": [
            {
                "identity_id": str(identity["id"]),
                "id": identity["provider_id"],
                "user_id": str(identity["user_id"]),
                "identity_data": identity["identity_data"],
                "provider": identity["provider"],
                "last_sign_in_at": moment(identity["last_sign_in_at"]),
                "created_at": moment(identity["created_at"]),
                "updated_at": moment(identity["updated_at"]),
                "email": identity["email"],
            }
            for identity in identities
        ],
        "is_anonymous": user["is_anonymous"],
        **times,
    }
