"""The query language of PostgREST, the part that the product uses: filters, trees, order and column lists to SQL.

It knows nothing of requests, roles and tables: a name that does not exist is PostgreSQL's own error.
"""

import re
from dataclasses import dataclass

from tests.supastub.literals import array, identifier, literal
from tests.supastub.missing import NotInRig

COMPARISONS = {
    "eq": "=",
    "neq": "<>",
    "gt": ">",
    "gte": ">=",
    "lt": "<",
    "lte": "<=",
    "like": "like",
    "ilike": "ilike",
    "match": "~",
    "imatch": "~*",
}
IS = {"null": "null", "not_null": "not null", "true": "true", "false": "false", "unknown": "unknown"}
OTHER_OPERATORS = frozenset(
    ("isdistinct", "fts", "plfts", "phfts", "wfts", "cs", "cd", "ov", "sl", "sr", "nxr", "nxl", "adj"),
)


class BadQuery(Exception):
    """The text is not in the language: PGRST100."""

    def __init__(self, kind: str, text: str, details: str) -> None:
        super().__init__(text)
        self.message = f'"failed to parse {kind} ({text})" (line 1, column 1)'
        self.details = details


def split(text: str) -> list[str]:
    """Return the parts between commas that stand outside quotes and brackets."""
    parts, depth, quoted, escaped, part = [], 0, False, False, ""
    for letter in text:
        if escaped:
            escaped = False
        elif quoted and letter == "\\":
            escaped = True
        elif letter == '"':
            quoted = not quoted
        elif not quoted and letter in "({":
            depth += 1
        elif not quoted and letter in ")}":
            depth -= 1
        if letter == "," and depth == 0 and not quoted:
            parts.append(part)
            part = ""
        else:
            part += letter
    return [*parts, part] if part or parts else []


def unquoted(text: str) -> str:
    """Return a value without its double quotes and their escapes."""
    return re.sub(r"\\(.)", r"\1", text[1:-1]) if len(text) > 1 and text[0] == text[-1] == '"' else text


def column(table: str, name: str) -> str:
    """Return a column, or a place inside a JSON column such as `config->model->>name`."""
    parts = [part.strip() for part in re.split(r"(->>|->)", name)]
    sql = f"{table}.{identifier(unquoted(parts[0]))}"
    if len(parts) > 1:
        sql = f"to_jsonb({sql})"
    for arrow, key in zip(parts[1::2], parts[2::2], strict=True):
        sql = f"({sql}{arrow}{key if re.fullmatch(r'-?[0-9]+', key) else literal(unquoted(key))})"
    return sql


def condition(table: str, name: str, text: str) -> str:
    """Return the SQL of one filter, such as name = 'status', text = 'not.in.(queued,running)'."""
    negated = text.startswith("not.")
    matched = re.match(r"^([a-z_]+)(\(\w+\))?\.(.*)$", text[4:] if negated else text, re.DOTALL)
    if not matched:
        raise BadQuery("filter", text, "unexpected filter")
    operator, modifier, value = matched.groups()
    if modifier or operator in OTHER_OPERATORS:
        raise NotInRig(f"the filter {operator}{modifier or ''}")
    left = column(table, name)
    if operator == "is":
        if value.lower() not in IS:
            raise BadQuery("filter", text, "unexpected value after is.")
        sql = f"{left} is {IS[value.lower()]}"
    elif operator == "in":
        sql = f"{left} = any({literal(array(unquoted(item) for item in split(value[1:-1])))})"
    elif operator in COMPARISONS:
        value = value.replace("*", "%") if operator in ("like", "ilike") else value
        sql = f"{left} {COMPARISONS[operator]} {literal(value)}"
    else:
        raise BadQuery("filter", text, f'unexpected operator "{operator}"')
    return f"not ({sql})" if negated else sql


def tree(table: str, operator: str, text: str) -> str:
    """Return the SQL of a tree, such as operator = 'or', text = '(a.eq.1,and(b.lt.2,c.is.null))'."""
    if not (text.startswith("(") and text.endswith(")")):
        raise BadQuery("logic tree", text, 'expecting "("')
    parts = []
    for part in split(text[1:-1]):
        inner = re.match(r"^(not\.)?(and|or)(\(.*\))$", part, re.DOTALL)
        if inner:
            parts.append(("not " if inner[1] else "") + "(" + tree(table, inner[2], inner[3]) + ")")
            continue
        leaf = re.match(r'^("(?:[^"\\]|\\.)*"|[^.]+?)\.(.*)$', part, re.DOTALL)
        if not leaf:
            raise BadQuery("logic tree", text, "unexpected end of input")
        negated, rest = ("not.", leaf[2][4:]) if leaf[2].startswith("not.") else ("", leaf[2])
        name, _, value = rest.partition(".")
        parts.append(condition(table, leaf[1], f"{negated}{name}.{unquoted(value)}"))
    return f" {operator} ".join(parts)


def order(table: str, text: str) -> str:
    """Return the SQL of an order, such as 'created_at.desc.nullslast,id'."""
    parts = []
    for part in split(text):
        matched = re.match(r"^(.+?)(?:\.(asc|desc))?(?:\.nulls(first|last))?$", part.strip())
        if not matched or "(" in part:
            raise BadQuery("order", text, "unexpected end of input")
        name, direction, nulls = matched.groups()
        parts.append(
            " ".join([column(table, name), direction or "asc", *([f"nulls {nulls}"] if nulls else [])])
        )
    return "order by " + ", ".join(parts)


@dataclass(frozen=True)
class Wanted:
    """One item of a column list: `alias:name->path::cast`."""

    name: str
    alias: str = ""
    cast: str = ""

    @property
    def base(self) -> str:
        """The column of the table that it needs."""
        return unquoted(re.split(r"->", self.name)[0].strip())

    def sql(self, table: str) -> str:
        """Return what stands in the select list."""
        if self.name == "*":
            return f"{table}.*"
        value = column(table, self.name)
        value = f"cast({value} as {self.cast})" if self.cast else value
        return f"{value} as {identifier(self.alias or unquoted(re.split(r'->>|->', self.name)[-1]))}"


def columns(text: str) -> list[Wanted]:
    """Return the items of a column list; '' is all."""
    wanted = []
    for part in split(text or "*"):
        item = part.strip()
        if "(" in item:
            raise NotInRig(f"embedding and aggregates in select ({item})")
        matched = re.match(r'^(?:("[^"]*"|[\w ]+?):(?!:))?(.+?)(?:::([\w ]+))?$', item)
        if not matched:
            raise BadQuery("select parameter", text, "unexpected end of input")
        wanted.append(Wanted(matched[2], unquoted(matched[1] or ""), matched[3] or ""))
    return wanted
