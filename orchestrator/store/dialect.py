"""What SQLite and PostgreSQL say differently: with :mod:`.functions`, the one place that knows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from struct import Struct
from typing import Any

import orjson
from sqlalchemy import Connection, TextClause, text

try:  # OpenSSL's takes twice as long to begin, and planning asks for two of every user
    from _md5 import md5 as _md5  # type: ignore[import-not-found,unused-ignore]
except ImportError:
    from hashlib import md5 as _md5

BUCKETS = 1 << 32
_first_of = Struct(">I").unpack_from
_NAMED = re.compile(r"(?<![:\w]):(\w+)")


def bucket(text: str) -> int:
    """A stable number in [0, 2^32) of a text: the first eight hex digits of its md5 (not for secrets)."""
    number: int = _first_of(_md5(text.encode(), usedforsecurity=False).digest())[0]
    return number


def register_functions(connection: Any) -> None:
    """Teach a SQLite connection what PostgreSQL has built in."""
    connection.create_function("bucket", 1, bucket, deterministic=True)


def bucket_sql(dialect: str, text: str) -> str:
    """SQL for :func:`bucket` of a SQL expression that yields text."""
    if dialect == "postgresql":
        return f"('x' || substr(md5({text}), 1, 8))::bit(32)::bigint"
    return f"bucket({text})"


PREPARED = {"prepared": True}
"""Execution options of what is said for each batch: PostgreSQL reads it once for each connection.

It goes on to mean the tables that it meant then, whatever later hides them (:func:`forget_prepared`).
"""


def prepared(sql: str) -> TextClause:
    """A statement that is said for each batch."""
    return text(sql).execution_options(**PREPARED)


def forget_prepared(connection: Connection) -> None:
    """Let what is said from here on be read anew: temporary tables are to stand before others of their names."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("DEALLOCATE ALL")


@cache
def driver_sql(dialect: str, sql: str) -> str:
    """Our SQL with its ``:name`` parameters as the driver wants them: for ``exec_driver_sql`` with many rows of dicts.

    What SQLAlchemy adds per row costs more than the row; values go through as the driver takes them.
    """
    return _NAMED.sub(r"%(\1)s", sql) if dialect == "postgresql" else sql


def among_sql(dialect: str, name: str) -> str:
    """``IN`` this: the ids in the JSON array bound to ``name``. One text however many they are: it stays prepared."""
    if dialect == "postgresql":
        return f"(SELECT CAST(value AS bigint) FROM json_array_elements_text(CAST(:{name} AS json)))"
    return f"(SELECT value FROM json_each(:{name}))"


def one_of_sql(dialect: str, name: str) -> str:
    """What stands after an id that is to be one of those bound to ``name``: PostgreSQL opens their partitions alone."""
    if dialect == "postgresql":
        return f"= ANY(CAST(string_to_array(btrim(:{name}, '[]'), ',') AS bigint[]))"
    return f"IN (SELECT value FROM json_each(:{name}))"


def named_sql(dialect: str, one: str, name: str) -> str:
    """``AND`` this column is one of the ids bound to ``name``, for a join that says so already.

    For PostgreSQL, which opens their partitions alone, and knows how many rows to expect: told their range, it reads
    everything in between, which is the whole run for a batch in the order in which it is due.
    """
    return f" AND {one} {one_of_sql(dialect, name)}" if dialect == "postgresql" else ""


def held_by_sql(dialect: str, state: str, of: str = "") -> str:
    """A message that a statement names is ``:worker``'s, in this state: asked of it, never what it is looked for by.

    What workers hold is all of their batch, and other rows by the second, so what PostgreSQL has counted of it is
    wrong: it takes that for next to nothing, and would read all that all workers hold. In a ``CASE`` it counts nothing.
    ``of``: the table's name and a dot.
    """
    if dialect == "postgresql":
        return f"CASE WHEN {of}state = '{state}' THEN {of}worker_id = :worker END"
    return f"+{of}worker_id = :worker AND {of}state = '{state}'"


def within_sql(dialect: str, *ids: str) -> str:
    """``AND`` these columns of message ids lie from ``:first_id`` up to, not including, ``:past_id``.

    For PostgreSQL, which then opens their partitions alone; SQLite has none, and would take it as a reason to go by id.
    """
    if dialect != "postgresql":
        return ""
    return "".join(f" AND {one} >= :first_id AND {one} < :past_id" for one in ids)


def from_sql(dialect: str, *ids: str) -> str:
    """``AND`` these columns of message ids are not below ``:first_id``: as :func:`within_sql`."""
    return "".join(f" AND {one} >= :first_id" for one in ids) if dialect == "postgresql" else ""


def of_row_sql(dialect: str, one: str, run: str) -> str:
    """``AND`` this column of message ids is of the run in that column: as :func:`within_sql`."""
    return f" AND {one} >= {run} << 40 AND {one} < ({run} + 1) << 40" if dialect == "postgresql" else ""


def of_run_sql(dialect: str, run: str) -> str:
    """``AND`` this column is the run bound to ``:run``: as :func:`within_sql`."""
    return f" AND {run} = :run" if dialect == "postgresql" else ""


def among(ids: Iterable[int]) -> str:
    """The value to bind for :func:`among_sql` and :func:`one_of_sql`."""
    return f"[{','.join(map(str, ids))}]"


def rows_sql(dialect: str, name: str, **columns: str) -> str:
    """A table in parentheses: the rows that are bound to ``name`` as a JSON array of arrays (:func:`rows`).

    ``columns``: PostgreSQL's type of each, in their order. One statement however many they are: SQLite's driver lets
    go of the interpreter in each step of a statement, and must wait for it again after each. ``jsonb``: of ``json``
    PostgreSQL would read a row's text again for each of its columns.
    """
    if dialect == "postgresql":
        found = (f"CAST(value ->> {place} AS {kind}) AS {one}" for place, (one, kind) in enumerate(columns.items()))
        return f"(SELECT {', '.join(found)} FROM jsonb_array_elements(CAST(:{name} AS jsonb)))"
    found = (f"value ->> {place} AS {one}" for place, one in enumerate(columns))
    return f"(SELECT {', '.join(found)} FROM json_each(:{name}))"


def rows(values: Sequence[Sequence[str | int | None]]) -> str:
    """The value to bind for :func:`rows_sql`."""
    return orjson.dumps(values).decode()


def json_column_sql(dialect: str, column: str) -> str:
    """A JSON column as :func:`read_all` gives its value."""
    return column if dialect == "postgresql" else f"json({column})"


@cache
def _all_sql(dialect: str, columns: tuple[str, ...], rest: str) -> TextClause:
    if dialect == "postgresql":
        return prepared(f"SELECT {', '.join(columns)} {rest}")
    return text(f"SELECT json_group_array(json_array({', '.join(columns)})) {rest}")


def read_all(
    connection: Connection, columns: tuple[str, ...], rest: str, values: Mapping[str, object]
) -> Sequence[Sequence[Any]]:
    """All rows of a SELECT of ``columns``, in no order; from SQLite in one step of its statement (:func:`rows_sql`).

    For what is said for each batch (:func:`prepared`). No column may be a REAL, whose last digits JSON would lose;
    SQLite's truth values are 0 and 1.
    """
    dialect = connection.dialect.name
    found = connection.execute(_all_sql(dialect, columns, rest), dict(values))
    return found.all() if dialect == "postgresql" else _loaded(found.scalar_one())


def _loaded(told: str) -> list[list[Any]]:
    try:
        read: list[list[Any]] = orjson.loads(told)
    except orjson.JSONDecodeError:  # half of a character in somebody's attributes
        read = json.loads(told)
    return read


def json_text_sql(dialect: str, column: str, key: str) -> str:
    """SQL for the text under a top-level key of a JSON column; ``key`` has no quote in it."""
    if dialect == "postgresql":
        return f"({column} ->> '{key}')"
    return f"CAST(json_extract({column}, '$.\"{key}\"') AS TEXT)"


def index_names_sql(dialect: str) -> str:
    """SQL for the names of all indexes there are."""
    if dialect == "postgresql":
        return "SELECT indexname FROM pg_indexes WHERE schemaname = current_schema()"
    return "SELECT name FROM sqlite_master WHERE type = 'index'"


def skip_locked_sql(dialect: str) -> str:
    """How a queue's SELECT steps over rows that another worker is taking; SQLite has one writer and needs nothing."""
    return "FOR UPDATE SKIP LOCKED" if dialect == "postgresql" else ""


def one_at_a_time_sql(dialect: str) -> str:
    """Let one transaction at a time go on from here, until it ends; SQLite's lock file has seen to that."""
    return "SELECT pg_advisory_xact_lock(7236839110)" if dialect == "postgresql" else "SELECT 1"


def keep_rows_sql(dialect: str) -> str:
    """How a SELECT keeps its rows as they are until the transaction ends; SQLite has one writer."""
    return "FOR SHARE" if dialect == "postgresql" else ""


def lock_rows_sql(dialect: str) -> str:
    """How a SELECT keeps other writers from its rows until the transaction ends; SQLite has one writer."""
    return "FOR UPDATE" if dialect == "postgresql" else ""


def chunk_sql(dialect: str, patience: int) -> str:
    """Begin a transaction about some thousand users of many: what PostgreSQL is told for its length.

    To look things up by user, as :func:`by_user`. And to end it if its process says nothing for ``patience`` seconds:
    frozen, it has rows in hand that others need.
    """
    if dialect != "postgresql":
        return "SELECT 1"
    return _for_this_transaction({**_BY_USER, _IDLE: f"{patience}s"})


def by_user(connection: Connection, patience: int) -> None:
    """For the length of a transaction about some hundred users: let PostgreSQL look things up by user.

    By its usual costs of a page it reads all consents, members and events that there are, up to some ten thousand. And
    all consents whatever their number, to hash them, while it takes a hundred messages for fifty thousand: what joins
    them has figures for its partitions alone. So there is next to no memory for that. And as :func:`patience_sql`:
    users may be locked in it before the lease is looked at.
    """
    if connection.dialect.name == "postgresql":
        told = {**_BY_USER, "work_mem": "64kB", _IDLE: f"{patience}s"}
        connection.exec_driver_sql(_for_this_transaction(told))


def patience_sql(dialect: str) -> str:
    """A further column: from here on PostgreSQL ends a transaction whose process says nothing for ``:patience``.

    Frozen, it has rows in hand that others need. For this transaction alone, so that PgBouncer is not in the way.
    """
    return f", set_config('{_IDLE}', :patience, true)" if dialect == "postgresql" else ""


_IDLE = "idle_in_transaction_session_timeout"
_BY_USER = {"random_page_cost": "1.1"}


def _for_this_transaction(told: Mapping[str, str]) -> str:
    return "SELECT " + ", ".join(f"set_config('{name}', '{value}', true)" for name, value in told.items())
