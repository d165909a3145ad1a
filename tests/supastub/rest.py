"""/rest/v1: the part of PostgREST that the product uses. It turns a request into ONE statement, run in the caller's role.

Values go in as untyped literals and bodies through json_to_record, so type errors, defaults, grants and policies are
PostgreSQL's own.
"""

import json
from typing import Any

import jwt
import psycopg
from starlette.requests import Request
from starlette.responses import Response

from tests.supastub import literals
from tests.supastub.backend import REST, Backend, run
from tests.supastub.catalogue import EXPOSED
from tests.supastub.filters import BadQuery
from tests.supastub.keys import JWT_LEEWAY_SECONDS, token_at_entrance
from tests.supastub.statements import Ask, RestError, Statement, of_function, of_table

JSON = "application/json; charset=utf-8"
SINGLE = "application/vnd.pgrst.object+json"

EXACT = {
    "23503": 409,
    "23505": 409,
    "25006": 405,
    "42883": 404,
    "42P01": 404,
    "42P17": 500,
    "53400": 500,
    "57P01": 503,
    "P0001": 400,
}
BY_CLASS = {
    **dict.fromkeys(("08", "53"), 503),
    **dict.fromkeys(("0L", "0P", "28"), 403),
    **dict.fromkeys(
        ("09", "25", "2D", "38", "39", "3B", "40", "54", "55", "57", "58", "F0", "HV", "P0", "XX"), 500
    ),
}


def status_of(code: str, message: str, signed_in: bool) -> int:
    """Return the HTTP status of an SQLSTATE, as PostgREST's table of errors has it."""
    if code == "42501":
        return 403 if signed_in else 401
    if code == "21000":
        return 400 if message.endswith("requires a WHERE clause") else 500
    if code.startswith("PT") and code[2:].isdigit():
        return int(code[2:])
    return EXACT.get(code) or BY_CLASS.get(code[:2], 400)


class Rest:
    """The service. Stateless but for the backend's catalogue."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def __call__(self, request: Request) -> Response:
        """Answer a request. Raises: NotAdmitted, NotInRig."""
        signed_in = False
        try:
            claims = self._claims(token_at_entrance(request, self._backend.keys))
            signed_in = claims["role"] != "anon"
            return await self._answer(request, claims)
        except RestError as error:
            return failure(error.status, error.code, str(error), error.details, error.hint)
        except BadQuery as error:
            return failure(400, "PGRST100", error.message, error.details)
        except literals.ZeroByte:
            return failure(
                400, "22P05", "unsupported Unicode escape sequence", "\\u0000 cannot be converted to text."
            )
        except psycopg.Error as error:
            about = error.diag
            code, message = error.sqlstate or "PGRST001", about.message_primary or str(error)
            return failure(
                status_of(code, message, signed_in), code, message, about.message_detail, about.message_hint
            )

    def _claims(self, token: str) -> dict[str, Any]:
        try:
            claims = self._backend.keys.read(token, JWT_LEEWAY_SECONDS)
        except jwt.ExpiredSignatureError as error:
            raise RestError(401, "PGRST303", "JWT expired") from error
        except jwt.InvalidSignatureError as error:
            raise RestError(401, "PGRST301", "No suitable key or wrong key type") from error
        except jwt.PyJWTError as error:
            raise RestError(401, "PGRST301", f"JWT could not be decoded: {error}") from error
        return {**claims, "role": claims.get("role", "anon")}

    async def _answer(self, request: Request, claims: dict[str, Any]) -> Response:
        ask = Ask.of(request, (await request.body()).decode() if request.method in ("POST", "PATCH") else "")
        statement = self._statement(ask)
        if statement is None:
            await self._backend.refresh()
            statement = self._statement(ask, last=True)
        assert statement is not None
        total, count, body, headers, status = await self._run(request, claims, statement, ask)
        return respond(ask, statement, total, count, body, headers, status)

    def _statement(self, ask: Ask, *, last: bool = False) -> Statement | None:
        """Return the statement, None where the catalogue lacks the name and is to be read again first."""
        make = of_function if ask.path.startswith("rpc/") else of_table
        try:
            return make(ask, self._backend.catalogue)
        except RestError as error:
            if last or error.code not in ("PGRST202", "PGRST204", "PGRST205"):
                raise
            return None

    async def _run(
        self, request: Request, claims: dict[str, Any], statement: Statement, ask: Ask
    ) -> tuple[int | None, int, str, str | None, str | None]:
        role = str(claims["role"])
        values = {
            **self._backend.catalogue.role_settings.get(role, {}),
            **statement.settings,
            "search_path": f'"{EXPOSED}", "extensions"',
            "role": role,
            "request.jwt.claims": json.dumps(claims),
            "request.method": request.method,
            "request.path": request.url.path.removeprefix("/rest/v1"),
            "request.headers": json.dumps(
                {name: value for name, value in request.headers.items() if name != "cookie"}
            ),
            "request.cookies": json.dumps(request.cookies),
        }
        begin = "begin isolation level read committed " + ("read write" if statement.writes else "read only")
        async with self._backend.transaction(REST, begin) as connection:
            await run(connection, literals.settings(values))
            row = await (await run(connection, statement.sql)).fetchone()
            assert row is not None
            if ask.single and statement.many and row[1] != 1:
                message = "Cannot coerce the result to a single JSON object"
                raise RestError(406, "PGRST116", message, f"The result contains {row[1]} rows")
            return row[0], row[1], row[2], row[3], row[4]


def respond(
    ask: Ask,
    statement: Statement,
    total: int | None,
    count: int,
    body: str,
    headers: str | None,
    status: str | None,
) -> Response:
    """Return the answer to a statement that ran."""
    out = {"Content-Type": f"{SINGLE}; charset=utf-8" if ask.single else JSON}
    whole = "*" if total is None else str(total)
    code = statement.status
    if ask.reads or statement.rpc:
        if ask.offset and total is not None and ask.offset > total:
            details = f"An offset of {ask.offset} was requested, but there are only {total} rows."
            raise RestError(416, "PGRST103", "Requested range not satisfiable", details)
        out["Content-Range"] = (f"{ask.offset}-{ask.offset + count - 1}" if count else "*") + f"/{whole}"
        if total is not None and count < total:
            code = 206
    elif ask.method == "PATCH":
        out["Content-Range"] = (f"0-{count - 1}" if count else "*") + f"/{whole}"
    else:
        out["Content-Range"] = f"*/{whole}"
    if ask.applied:
        out["Preference-Applied"] = ask.applied
    for item in json.loads(headers) if headers else []:
        out |= item
    code = int(status) if status else code
    if statement.void:
        return Response(None, 204, out)
    if not ask.reads and not statement.rpc and not ask.representation:
        del out["Content-Type"]
        return Response(None, code, out)
    if ask.single and statement.many:
        body = json.dumps(json.loads(body)[0])
    return Response(None if ask.method == "HEAD" else body, code, out)


def failure(
    status: int, code: str, message: str, details: str | None = None, hint: str | None = None
) -> Response:
    """Return an error in PostgREST's shape."""
    headers = {"Content-Type": JSON, "Proxy-Status": f"PostgREST; error={code}"}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    content = json.dumps({"code": code, "message": message, "details": details, "hint": hint})
    return Response(content, status, headers)
