"""What SQLite and PostgreSQL say differently: the one file that knows."""

from __future__ import annotations

import hashlib
from typing import Any

from sqlalchemy import Boolean, ColumnElement, Float, Text, literal
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

BUCKETS = 1 << 32


def bucket(text: str) -> int:
    """A stable number in [0, 2^32) of a text: the first eight hex digits of its md5 (not for secrets)."""
    return int.from_bytes(hashlib.md5(text.encode(), usedforsecurity=False).digest()[:4], "big")


def register_functions(connection: Any) -> None:
    """Teach a SQLite connection what PostgreSQL has built in."""
    connection.create_function("bucket", 1, bucket, deterministic=True)


def bucket_sql(dialect: str, text: str) -> str:
    """SQL for :func:`bucket` of a SQL expression that yields text."""
    if dialect == "postgresql":
        return f"('x' || substr(md5({text}), 1, 8))::bit(32)::bigint"
    return f"bucket({text})"


def json_text_sql(dialect: str, column: str, key: str) -> str:
    """SQL for the value under a top-level ``key`` of a JSON column, as text; ``key`` is a bind parameter's name."""
    if dialect == "postgresql":
        return f"({column} ->> :{key})"
    return f"json_extract({column}, '$.\"' || :{key} || '\"')"


def skip_locked_sql(dialect: str) -> str:
    """How a queue's SELECT steps over rows that another worker is taking; SQLite has one writer and needs nothing."""
    return "FOR UPDATE SKIP LOCKED" if dialect == "postgresql" else ""


class _JsonValue(FunctionElement[Any]):
    """The value under a top-level key of a JSON column if it is of one kind, else NULL; ``key`` has no quote in it."""

    inherit_cache = True

    def __init__(self, column: ColumnElement[Any], key: str) -> None:
        super().__init__(column, literal(f'$."{key}"', Text()), literal(key, Text()))


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


class bytewise(FunctionElement[str]):  # noqa: N801
    """A text ordered by code points: PostgreSQL would use the database's language."""

    type = Text()
    inherit_cache = True


_JSON_SQL: dict[tuple[str, type[FunctionElement[Any]]], str] = {
    ("sqlite", json_number): (
        "CASE WHEN json_type({column}, {path}) IN ('integer', 'real') THEN json_extract({column}, {path}) END"
    ),
    ("sqlite", json_string): "CASE WHEN json_type({column}, {path}) = 'text' THEN json_extract({column}, {path}) END",
    ("sqlite", json_boolean): "CASE json_type({column}, {path}) WHEN 'true' THEN 1 WHEN 'false' THEN 0 END",
    ("sqlite", json_present): "coalesce(json_type({column}, {path}) <> 'null', 0)",
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
def _json_value(element: _JsonValue, compiler: SQLCompiler, **given: Any) -> str:
    column, path, key = element.clauses
    sql = _JSON_SQL[compiler.dialect.name, type(element)]
    name, value = ("path", path) if "{path}" in sql else ("key", key)
    return f"({sql})".format(column=compiler.process(column, **given), **{name: compiler.process(value, **given)})


@compiles(bytewise)
def _bytewise(element: bytewise, compiler: SQLCompiler, **given: Any) -> str:
    collation = '"C"' if compiler.dialect.name == "postgresql" else "BINARY"
    return f"({compiler.process(element.clauses, **given)} COLLATE {collation})"
