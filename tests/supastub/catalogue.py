"""What PostgREST knows of the exposed schema: tables with columns, functions with arguments. It runs nothing of them."""

from dataclasses import dataclass, field
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import dict_row

EXPOSED = "public"

TABLES = """
select c.relname as table_name, a.attname as name, format_type(a.atttypid, a.atttypmod) as type,
    exists (
        select 1 from pg_index i where i.indrelid = c.oid and i.indisprimary and a.attnum = any(i.indkey)
    ) as is_primary
from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
where c.relnamespace = %s::regnamespace and c.relkind in ('r', 'v', 'm', 'p', 'f')
order by c.relname, a.attnum
"""
FUNCTIONS = """
select p.proname as name, coalesce(p.proargnames[1:p.pronargs], '{}') as names,
    (
        select coalesce(array_agg(format_type(t, null) order by place), '{}')
        from unnest(p.proargtypes) with ordinality as x (t, place)
    ) as types,
    p.pronargdefaults as defaults, p.proretset as many, p.provolatile = 'v' as writes,
    format_type(p.prorettype, null) as returns, t.typtype = 'c' or p.prorettype = 'record'::regtype as composite,
    coalesce(p.proconfig, '{}') as config
from pg_proc p join pg_type t on t.oid = p.prorettype
where p.pronamespace = %s::regnamespace and p.prokind = 'f' and p.provariadic = 0
"""
SETTINGS = "select rolname as name, rolconfig as config from pg_roles where rolconfig is not null"
HOISTED = ("statement_timeout",)
"""Settings of a function that hold for its whole transaction, as on hosted projects."""


@dataclass(frozen=True)
class Column:
    """One column of a table or view."""

    name: str
    type: str
    is_primary: bool


@dataclass(frozen=True)
class Function:
    """One function that can be called by name."""

    name: str
    names: tuple[str, ...]
    types: tuple[str, ...]
    defaults: int
    many: bool
    writes: bool
    returns: str
    composite: bool
    config: tuple[str, ...]

    def takes(self, given: set[str]) -> bool:
        """Whether these names are arguments of it, with all that have no default."""
        return given <= set(self.names) and set(self.names[: len(self.names) - self.defaults]) <= given

    def settings(self) -> dict[str, str]:
        """Return what it sets for its transaction."""
        pairs = (item.split("=", 1) for item in self.config)
        return {name: value for name, value in pairs if name in HOISTED}


@dataclass
class Catalogue:
    """The schema as last read, and the settings of roles (a time limit among them)."""

    tables: dict[str, dict[str, Column]] = field(default_factory=dict)
    functions: dict[str, list[Function]] = field(default_factory=dict)
    role_settings: dict[str, dict[str, str]] = field(default_factory=dict)

    async def read(self, connection: AsyncConnection[Any]) -> None:
        """Read it again. A hosted project waits for `notify pgrst`; here an unknown name is reason enough."""
        tables: dict[str, dict[str, Column]] = {}
        functions: dict[str, list[Function]] = {}
        cursor = connection.cursor(row_factory=dict_row)
        for row in await (await cursor.execute(TABLES, (EXPOSED,))).fetchall():
            columns = tables.setdefault(row.pop("table_name"), {})
            columns[row["name"]] = Column(**row)
        for row in await (await cursor.execute(FUNCTIONS, (EXPOSED,))).fetchall():
            row |= {part: tuple(row[part]) for part in ("names", "types", "config")}
            functions.setdefault(row["name"], []).append(Function(**row))
        rows = await (await cursor.execute(SETTINGS)).fetchall()
        self.role_settings = {
            row["name"]: dict(item.split("=", 1) for item in row["config"] if not item.startswith("role="))
            for row in rows
        }
        self.tables, self.functions = tables, functions
