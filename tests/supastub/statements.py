"""A request to PostgREST, and the one SQL statement it becomes. It runs nothing and knows no role."""

import json
import re
from dataclasses import dataclass, field
from typing import Any, Self

from starlette.requests import Request

from tests.supastub.catalogue import EXPOSED, Catalogue, Column, Function
from tests.supastub.filters import Wanted, columns, condition, order, split, tree, unquoted
from tests.supastub.literals import identifier, literal
from tests.supastub.missing import NotInRig

MOST_ROWS = 1000
"""What a hosted project answers at most, silently."""

RESERVED = frozenset(("select", "order", "limit", "offset", "columns", "on_conflict", "apikey"))
READING = ("GET", "HEAD")
KNOWN_PREFERENCES = {
    "return": ("representation", "minimal"),
    "count": ("exact",),
    "resolution": ("merge-duplicates", "ignore-duplicates"),
}


class RestError(Exception):
    """An error of PostgREST itself, or one with its code."""

    def __init__(
        self, status: int, code: str, message: str, details: str | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.details, self.hint = status, code, details, hint


@dataclass(frozen=True)
class Ask:
    """What a request wants, read from method, path, parameters, headers and body."""

    method: str
    path: str
    parameters: tuple[tuple[str, str], ...]
    raw: str
    prefer: dict[str, str]
    single: bool
    limit: int | None
    offset: int

    @classmethod
    def of(cls, request: Request, raw: str) -> Self:
        """Read a request. Raises: RestError, NotInRig."""
        if request.method not in ("GET", "HEAD", "POST", "PATCH", "DELETE"):
            raise NotInRig(f"the method {request.method} under /rest/v1")
        profile = request.headers.get(
            "accept-profile" if request.method in READING else "content-profile", EXPOSED
        )
        if profile != EXPOSED:
            hint = f"Only the following schemas are exposed: {EXPOSED}"
            raise RestError(406, "PGRST106", f"Invalid schema: {profile}", None, hint)
        accept = request.headers.get("accept", "*/*")
        if accept.startswith("text/csv") or "nulls=stripped" in accept or "vnd.pgrst.plan" in accept:
            raise NotInRig(f"the answer as {accept}")
        prefer: dict[str, str] = {}
        for part in ",".join(request.headers.getlist("prefer")).split(","):
            name, _, value = part.strip().partition("=")
            if name:
                prefer.setdefault(name, value)
        for name, value in prefer.items():
            if value not in KNOWN_PREFERENCES.get(name, ()):
                raise NotInRig(f"the header Prefer: {name}={value}")
        parameters = tuple(request.query_params.multi_items())
        limit, offset = _range(request, dict(parameters))
        return cls(
            request.method,
            request.path_params["path"].strip("/"),
            parameters,
            raw,
            prefer,
            "vnd.pgrst.object" in accept,
            limit,
            offset,
        )

    @property
    def reads(self) -> bool:
        """Whether it is a GET or HEAD."""
        return self.method in READING

    @property
    def representation(self) -> bool:
        """Whether changed rows are wanted back."""
        return self.prefer.get("return") == "representation"

    @property
    def applied(self) -> str:
        """The answer's Preference-Applied."""
        return ", ".join(f"{name}={value}" for name, value in self.prefer.items())

    def get(self, name: str) -> str | None:
        """Return the first parameter of a name."""
        return next((value for key, value in self.parameters if key == name), None)

    def body(self) -> Any:
        """Return the JSON. Raises: RestError."""
        try:
            return json.loads(self.raw) if self.raw else None
        except ValueError as error:
            raise RestError(400, "PGRST102", "Empty or invalid json") from error

    def conditions(self, table: str, *, apart_from: frozenset[str] = frozenset()) -> list[str]:
        """Return the SQL of every filter."""
        found = []
        for name, value in self.parameters:
            plain = name.removeprefix("not.")
            if name in RESERVED or name in apart_from:
                continue
            if plain in ("and", "or"):
                found.append(("not " if plain != name else "") + f"({tree(table, plain, value)})")
            elif "." in re.sub(r'"[^"]*"', "", name):
                raise NotInRig(f"a filter on an embedded resource ({name})")
            else:
                found.append(condition(table, name, value))
        return found


def _range(request: Request, parameters: dict[str, str]) -> tuple[int | None, int]:
    """Return limit and offset, of the parameters or of the Range header."""
    try:
        limit = int(parameters["limit"]) if "limit" in parameters else None
        offset = int(parameters.get("offset", 0))
    except ValueError as error:
        raise RestError(400, "PGRST100", "limit and offset are numbers") from error
    header = re.fullmatch(r"(\d+)-(\d*)", request.headers.get("range", ""))
    if header and request.method in READING:
        first, last = int(header[1]), int(header[2]) if header[2] else None
        offset = max(offset, first)
        within = last - first + 1 if last is not None else None
        limit = within if limit is None else limit if within is None else min(limit, within)
    if offset < 0 or (limit is not None and limit < 0):
        details = "Limit should be greater than or equal to zero."
        raise RestError(416, "PGRST103", "Requested range not satisfiable", details)
    return limit, offset


@dataclass(frozen=True)
class Statement:
    """SQL that answers one row: total or null, number of rows, JSON text, response.headers, response.status."""

    sql: str
    status: int
    writes: bool
    many: bool = True
    rpc: bool = False
    void: bool = False
    settings: dict[str, str] = field(default_factory=dict)


def _select(
    ask: Ask, source: str, table: str, *, cap: int | None, apart_from: frozenset[str] = frozenset()
) -> tuple[str, str]:
    """Return the reading statement and the one that counts what it would read without limits."""
    wanted = ", ".join(item.sql(table) for item in columns(ask.get("select") or ""))
    where = " and ".join(ask.conditions(table, apart_from=apart_from))
    origin = f"from {source} {table}" + (f" where {where}" if where else "")
    sorted_by = ask.get("order")
    limits = [limit for limit in (ask.limit, cap) if limit is not None]
    parts = [f"select {wanted} {origin}", order(table, sorted_by) if sorted_by else ""]
    parts += [f"limit {min(limits)}" if limits else "", f"offset {ask.offset}" if ask.offset else ""]
    return " ".join(part for part in parts if part), f"select count(*) {origin}"


def _answer(sources: list[str], rows: str, total: str, body: str) -> str:
    """Return the whole statement."""
    tables = ", ".join([*sources, f"pgrst_rows as ({rows})"])
    return (
        f"with {tables} select {total}, (select count(*) from pgrst_rows), {body},"
        " nullif(current_setting('response.headers', true), ''), nullif(current_setting('response.status', true), '')"
        " from (select * from pgrst_rows) pgrst_row"
    )


AS_ARRAY = "coalesce(json_agg(pgrst_row), '[]')::text"
NO_TOTAL = "null::bigint"


def of_table(ask: Ask, catalogue: Catalogue) -> Statement:
    """Return the statement for /rest/v1/<table>. Raises: RestError, NotInRig, BadQuery."""
    known = catalogue.tables.get(ask.path)
    if known is None:
        raise RestError(
            404, "PGRST205", f"Could not find the table '{EXPOSED}.{ask.path}' in the schema cache"
        )
    full = f"{identifier(EXPOSED)}.{identifier(ask.path)}"
    counted = "count" in ask.prefer
    if ask.reads:
        rows, count = _select(ask, full, identifier(ask.path), cap=MOST_ROWS)
        return Statement(
            _answer([], rows, f"({count})" if counted else NO_TOTAL, AS_ARRAY), 200, writes=False
        )
    if ask.method != "POST" and (ask.limit is not None or ask.get("order")):
        raise NotInRig("limit and order of an update or delete")
    change = {"POST": _insert, "PATCH": _update, "DELETE": _delete}[ask.method](ask, full, known)
    wanted = columns(ask.get("select") or "")
    table = identifier(ask.path)
    back = _returning(wanted, table) if ask.representation else "1"
    rows = "select 1 from pgrst_source"
    if ask.representation:
        rows = f"select {', '.join(item.sql(table) for item in wanted)} from pgrst_source {table}"
    total = "(select count(*) from pgrst_source)" if counted else NO_TOTAL
    status = 201 if ask.method == "POST" else 200 if ask.representation else 204
    return Statement(
        _answer([f"pgrst_source as ({change} returning {back})"], rows, total, AS_ARRAY), status, writes=True
    )


def _returning(wanted: list[Wanted], table: str) -> str:
    """Return only the columns that are wanted back: the caller may have no right to others."""
    if any(item.name == "*" for item in wanted):
        return f"{table}.*"
    return ", ".join(sorted({f"{table}.{identifier(item.base)}" for item in wanted}))


def _fields(ask: Ask, rows: list[dict[str, Any]], known: dict[str, Column]) -> list[Column]:
    given = ask.get("columns")
    names = [unquoted(name) for name in split(given)] if given else list(rows[0]) if rows else []
    if not given and any(set(row) != set(names) for row in rows):
        raise RestError(400, "PGRST102", "All object keys must match")
    for name in names:
        if name not in known:
            raise RestError(
                400, "PGRST204", f"Could not find the '{name}' column of '{ask.path}' in the schema cache"
            )
    return [known[name] for name in names]


def _rows(ask: Ask) -> list[dict[str, Any]]:
    body = ask.body()
    rows = body if isinstance(body, list) else [body]
    if any(not isinstance(row, dict) for row in rows):
        raise RestError(400, "PGRST102", "Empty or invalid json")
    return rows


def _declared(fields: list[Column]) -> str:
    return ", ".join(f"{identifier(item.name)} {item.type}" for item in fields)


def _insert(ask: Ask, full: str, known: dict[str, Column]) -> str:
    rows = _rows(ask)
    fields = _fields(ask, rows, known)
    names = [identifier(item.name) for item in fields]
    if not rows:
        return f"insert into {full} select from (select) nothing where false"
    if not fields:
        return f"insert into {full} default values"
    sql = (
        f"insert into {full} ({', '.join(names)}) select {', '.join(f'body.{name}' for name in names)}"
        f" from json_to_recordset({literal(json.dumps(rows))}) as body({_declared(fields)})"
    )
    resolution = ask.prefer.get("resolution")
    if not resolution:
        return sql
    given = ask.get("on_conflict")
    target = (
        [unquoted(name) for name in split(given)]
        if given
        else [item.name for item in known.values() if item.is_primary]
    )
    action = "nothing"
    if resolution == "merge-duplicates":
        action = "update set " + ", ".join(f"{name} = excluded.{name}" for name in names)
    return f"{sql} on conflict ({', '.join(map(identifier, target))}) do {action}"


def _where(ask: Ask, verb: str) -> str:
    found = ask.conditions(identifier(ask.path))
    if not found:  # what the extension safeupdate says on hosted projects
        raise RestError(400, "21000", f"{verb} requires a WHERE clause")
    return " and ".join(found)


def _update(ask: Ask, full: str, known: dict[str, Column]) -> str:
    body = ask.body()
    if not isinstance(body, dict) or not body:
        raise NotInRig("an update without an object of columns")
    fields = _fields(ask, [body], known)
    changes = ", ".join(f"{identifier(item.name)} = pgrst_body.{identifier(item.name)}" for item in fields)
    return (
        f"update {full} set {changes} from (select * from json_to_record({literal(json.dumps(body))})"
        f" as body({_declared(fields)})) pgrst_body where {_where(ask, 'UPDATE')}"
    )


def _delete(ask: Ask, full: str, known: dict[str, Column]) -> str:
    return f"delete from {full} where {_where(ask, 'DELETE')}"


def of_function(ask: Ask, catalogue: Catalogue) -> Statement:
    """Return the statement for /rest/v1/rpc/<function>. Raises: RestError, NotInRig, BadQuery."""
    name = ask.path.removeprefix("rpc/")
    if ask.method not in ("POST", "GET"):
        raise NotInRig(f"the method {ask.method} of a function")
    candidates = catalogue.functions.get(name, [])
    if ask.reads:
        known = {argument for function in candidates for argument in function.names}
        given: dict[str, Any] = {key: value for key, value in ask.parameters if key in known}
        raw = json.dumps(given)
    else:
        body = ask.body()
        given, raw = body if isinstance(body, dict) else {}, ask.raw or "{}"
        if body is not None and not isinstance(body, dict):
            raise NotInRig("a function called with something else than an object")
    function = _chosen(name, candidates, set(given))
    apart_from = frozenset(given) if ask.reads else frozenset()
    called = f"{identifier(EXPOSED)}.{identifier(name)}"
    source = f"pgrst_source as materialized ({_call(called, function, list(given), raw)})"
    cap = MOST_ROWS if function.many else None
    if function.composite:
        rows, count = _select(ask, "pgrst_source", "pgrst_source", cap=cap, apart_from=apart_from)
        body_sql = AS_ARRAY if function.many else "coalesce(json_agg(pgrst_row)->0, 'null')::text"
    else:
        if ask.get("select"):
            raise NotInRig("select on a function that returns no rows of columns")
        rows = "select * from pgrst_source" + (f" limit {cap}" if cap else "")
        count = "select count(*) from pgrst_source"
        body_sql = (
            "coalesce(json_agg(pgrst_row.pgrst_scalar)" + ("" if function.many else "->0") + ", 'null')::text"
        )
        if function.many:
            body_sql = "coalesce(json_agg(pgrst_row.pgrst_scalar), '[]')::text"
    return Statement(
        _answer([source], rows, f"({count})" if "count" in ask.prefer else NO_TOTAL, body_sql),
        200,
        writes=function.writes and not ask.reads,
        many=function.many,
        rpc=True,
        void=function.returns == "void",
        settings=function.settings(),
    )


def _chosen(name: str, candidates: list[Function], given: set[str]) -> Function:
    fitting = [function for function in candidates if function.takes(given)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise RestError(
            300,
            "PGRST203",
            f"Could not choose the best candidate function between: {EXPOSED}.{name}, {EXPOSED}.{name}",
        )
    names = ", ".join(sorted(given))
    called = f"{EXPOSED}.{name}({names})" if names else f"{EXPOSED}.{name} without parameters"
    with_what = f"with parameter{'s' if len(given) > 1 else ''} {names}" if names else "without parameters"
    details = (
        f"Searched for the function {EXPOSED}.{name} {with_what} or with a single unnamed json/jsonb parameter,"
        " but no matches were found in the schema cache."
    )
    raise RestError(404, "PGRST202", f"Could not find the function {called} in the schema cache", details)


def _call(called: str, function: Function, given: list[str], raw: str) -> str:
    types = dict(zip(function.names, function.types, strict=True))
    arguments = ", ".join(f"{identifier(name)} := pgrst_body.{identifier(name)}" for name in given)
    body = ""
    if given:
        declared = ", ".join(f"{identifier(name)} {types[name]}" for name in given)
        body = (
            f"(select * from json_to_record({literal(raw)}) as body({declared}) limit 1) pgrst_body, lateral "
        )
    if function.composite:
        return f"select pgrst_call.* from {body}{called}({arguments}) pgrst_call"
    return (
        f"select pgrst_call.pgrst_scalar from {body}(select {called}({arguments}) as pgrst_scalar) pgrst_call"
    )
