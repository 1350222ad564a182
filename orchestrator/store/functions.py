"""SQL functions of our own, as SQLAlchemy writes them for either database."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Boolean, ColumnElement, Float, Text, literal
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from orchestrator.store.dialect import bucket_sql


class _JsonValue(FunctionElement[Any]):
    """The value under a top-level key of a JSON column if it is of one kind, else NULL; ``key`` has no quote in it."""

    inherit_cache = True

    def __init__(self, column: ColumnElement[Any], key: str) -> None:
        path, name = f'$."{key}"', key  # written out, not bound: an index over the expression has it written out too
        super().__init__(
            column, literal(path, Text(), literal_execute=True), literal(name, Text(), literal_execute=True)
        )


class json_number(_JsonValue):  # noqa: N801  # SQL functions are written small
    """A JSON number."""

    type = Float()
    inherit_cache = True


class json_string(_JsonValue):  # noqa: N801
    """A JSON string, ordered by code points."""

    type = Text()
    inherit_cache = True


class json_boolean(_JsonValue):  # noqa: N801
    """A JSON true or false."""

    type = Boolean()
    inherit_cache = True


class json_present(_JsonValue):  # noqa: N801
    """Whether there is anything but a JSON null."""

    type = Boolean()
    inherit_cache = True


class json_instant(_JsonValue):  # noqa: N801
    """A JSON string that is a date or an instant of UTC, as ``2026-12-01T11:02:03``: texts in the order of time."""

    type = Text()
    inherit_cache = True


class json_date(_JsonValue):  # noqa: N801
    """A JSON string that is a date, or begins with one (an instant of any offset): that date, ``2026-12-01``."""

    type = Text()
    inherit_cache = True


class instant_text(FunctionElement[str]):  # noqa: N801
    """Microseconds since 1970 as :class:`json_instant` writes them."""

    type = Text()
    inherit_cache = True


class bucket_of(FunctionElement[int]):  # noqa: N801
    """:func:`bucket` of a SQL expression that yields text."""

    type = BigInteger()
    inherit_cache = True


class bytewise(FunctionElement[str]):  # noqa: N801
    """A text ordered by code points: PostgreSQL would use the database's language."""

    type = Text()
    inherit_cache = True


_DIGIT = "[0-9]"
_DATE_GLOB = f"{_DIGIT * 4}-{_DIGIT * 2}-{_DIGIT * 2}"
_TIME_GLOB = f"{_DIGIT * 2}:{_DIGIT * 2}:{_DIGIT * 2}"
_JSON_SQL: dict[tuple[str, type[FunctionElement[Any]]], str] = {
    ("sqlite", json_number): (
        "CASE WHEN json_type({column}, {path}) IN ('integer', 'real') THEN json_extract({column}, {path}) END"
    ),
    ("sqlite", json_string): "CASE WHEN json_type({column}, {path}) = 'text' THEN json_extract({column}, {path}) END",
    ("sqlite", json_boolean): "CASE json_type({column}, {path}) WHEN 'true' THEN 1 WHEN 'false' THEN 0 END",
    ("sqlite", json_present): "coalesce(json_type({column}, {path}) <> 'null', 0)",
    ("sqlite", json_instant): (
        f"CASE WHEN json_extract({{column}}, {{path}}) GLOB '{_DATE_GLOB}' "
        "THEN json_extract({column}, {path}) || 'T00:00:00' "
        f"WHEN json_extract({{column}}, {{path}}) GLOB '{_DATE_GLOB}T{_TIME_GLOB}*Z' "
        "THEN substr(json_extract({column}, {path}), 1, 19) END"
    ),
    ("sqlite", json_date): (
        "CASE WHEN json_type({column}, {path}) = 'text' "
        f"AND (json_extract({{column}}, {{path}}) GLOB '{_DATE_GLOB}' "
        f"OR json_extract({{column}}, {{path}}) GLOB '{_DATE_GLOB}[T ]{_DIGIT * 2}:*') "
        "THEN substr(json_extract({column}, {path}), 1, 10) END"
    ),
    ("postgresql", json_date): (
        "(CASE WHEN jsonb_typeof({column} -> {key}) = 'string' "
        "AND {column} ->> {key} ~ '^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}([T ][0-9]{{2}}:|$)' "
        'THEN substr({column} ->> {key}, 1, 10) END COLLATE "C")'
    ),
    ("postgresql", json_instant): (
        "(CASE WHEN {column} ->> {key} ~ '^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}$' THEN ({column} ->> {key}) || 'T00:00:00' "
        "WHEN {column} ->> {key} ~ '^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}T[0-9]{{2}}:[0-9]{{2}}:[0-9]{{2}}.*Z$' "
        'THEN substr({column} ->> {key}, 1, 19) END COLLATE "C")'
    ),
    ("postgresql", json_number): (
        "CASE WHEN jsonb_typeof({column} -> {key}) = 'number' THEN ({column} ->> {key})::double precision END"
    ),
    ("postgresql", json_string): (
        "(CASE WHEN jsonb_typeof({column} -> {key}) = 'string' THEN {column} ->> {key} END COLLATE \"C\")"
    ),
    ("postgresql", json_boolean): (
        "CASE WHEN jsonb_typeof({column} -> {key}) = 'boolean' THEN ({column} ->> {key})::boolean END"
    ),
    ("postgresql", json_present): "coalesce(jsonb_typeof({column} -> {key}) <> 'null', false)",
}


@compiles(json_number)
@compiles(json_string)
@compiles(json_boolean)
@compiles(json_present)
@compiles(json_instant)
@compiles(json_date)
def _json_value(element: _JsonValue, compiler: SQLCompiler, **given: Any) -> str:
    column, path, key = element.clauses
    sql = _JSON_SQL[compiler.dialect.name, type(element)]
    name, value = ("path", path) if "{path}" in sql else ("key", key)
    return f"({sql})".format(column=compiler.process(column, **given), **{name: compiler.process(value, **given)})


@compiles(bytewise)
def _bytewise(element: bytewise, compiler: SQLCompiler, **given: Any) -> str:
    collation = '"C"' if compiler.dialect.name == "postgresql" else "BINARY"
    return f"({compiler.process(element.clauses, **given)} COLLATE {collation})"


@compiles(bucket_of)
def _bucket_of(element: bucket_of, compiler: SQLCompiler, **given: Any) -> str:
    return bucket_sql(compiler.dialect.name, compiler.process(element.clauses, **given))


@compiles(instant_text)
def _instant_text(element: instant_text, compiler: SQLCompiler, **given: Any) -> str:
    micros = compiler.process(element.clauses, **given)
    if compiler.dialect.name == "postgresql":
        seconds = f"to_timestamp(({micros}) / 1000000) AT TIME ZONE 'UTC'"
        return f'(to_char({seconds}, \'YYYY-MM-DD"T"HH24:MI:SS\') COLLATE "C")'
    return f"strftime('%Y-%m-%dT%H:%M:%S', ({micros}) / 1000000, 'unixepoch')"


def json_string_sql(dialect: str, column: str, key: str) -> str:
    """:class:`json_string` as SQL text; ``key`` has no quote in it."""
    path, name = f"'$.\"{key}\"'", f"'{key}'"
    return f"({_JSON_SQL[dialect, json_string].format(column=column, path=path, key=name)})"
