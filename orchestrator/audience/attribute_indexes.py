"""Indexes over declared attributes: made from the very expressions that segments compile to, on both databases."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection

from orchestrator.audience.attributes import Declarations
from orchestrator.store.dialect import index_names_sql
from orchestrator.store.engine import Store
from orchestrator.store.functions import json_number, json_string
from orchestrator.store.tables import users

PREFIX = "ax_users_"
SMALL = 20_000
"""Users; with no more than that an import makes missing indexes by the way: it takes a few milliseconds."""
_EXPRESSIONS = {
    "text": json_string,
    "date": json_string,
    "instant": json_string,
    "int": json_number,
    "float": json_number,
}


@dataclass(frozen=True, slots=True)
class Synced:
    """Attributes whose index was made, those that had one, and the names of indexes that were dropped."""

    made: tuple[str, ...]
    kept: tuple[str, ...]
    dropped: tuple[str, ...]


def sync_indexes(store: Store, declared: Declarations) -> Synced:
    """Make the database's attribute indexes those that are declared. On SQLite nobody writes meanwhile."""
    with store.read() as connection:
        there = _there(connection)
        wanted = _wanted(connection, declared)
    made = {name: sql for name, (index, sql) in wanted.items() if index not in there}
    dropped = sorted(there - {index for index, _ in wanted.values()})
    for sql in (*(f"DROP INDEX IF EXISTS {name}" for name in dropped), *made.values()):
        with store.write() as connection:
            connection.exec_driver_sql(sql)
    return Synced(tuple(made), tuple(sorted(wanted.keys() - made.keys())), tuple(dropped))


def sync_if_small(store: Store, declared: Declarations) -> None:
    """The same before an import, unless there are many users: then ``orchestrator attributes sync`` does it."""
    with store.read() as connection:
        last = connection.exec_driver_sql("SELECT max(id) FROM users").scalar() or 0
    if last <= SMALL and declared:
        sync_indexes(store, declared)


def _there(connection: Connection) -> set[str]:
    names = connection.exec_driver_sql(index_names_sql(connection.dialect.name)).scalars()
    return {name for name in names if name.startswith(PREFIX)}


def _wanted(connection: Connection, declared: Declarations) -> Mapping[str, tuple[str, str]]:
    """By attribute: its index's name, which stands for the expression, and the statement that makes it."""
    found = {}
    for name, one in declared.items():
        if one.index and one.type in _EXPRESSIONS:
            element = _EXPRESSIONS[one.type](users.c.attributes, name)
            sql = str(element.compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True}))
            sql = sql.replace("users.attributes", "attributes")
            index = PREFIX + hashlib.sha256(sql.encode()).hexdigest()[:12]
            found[name] = (index, f"CREATE INDEX IF NOT EXISTS {index} ON users ({sql})")
    return found
