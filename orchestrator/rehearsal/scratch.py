"""The scratch database of a rehearsal: a copy of what the audience is and what is owed to it, gone when it is over.

Everything is read in one transaction of the real database, which is never written to, in the same way on SQLite and on
PostgreSQL; the copy is always a SQLite file of its own, on which the real code runs unchanged. Each table says what of
it is needed; a table that nobody thought of is copied whole.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import Connection, Table, text
from sqlalchemy.types import JSON

from orchestrator.clock import to_micros
from orchestrator.store import Store
from orchestrator.store.dialect import BUCKETS, bucket_sql
from orchestrator.store.tables import metadata

LOOK_BACK = timedelta(days=92)
"""How far back the ledger is copied: further than any cap reaches. What is live is copied however old it is."""
PAGE = 10_000

LEFT_OUT = frozenset({"transition", "alert", "inbox_item", "link", "opt_in", "worker", "erased"})
"""Histories, and what only other processes work on: nothing that decides about a message reads them."""
_UNASKED = ("uq_receipt", "ix_transition_message", "ix_transition_act")
"""Indexes that only providers' callbacks, the story of one message and the list of acts need: here they cost time."""
_WHOSE = {"users": "id", "user_alias": "old_user_id"}
"""The column that names the user, where it is not ``user_id``."""
_SETTLED = {
    "state": "CASE state WHEN 'claimed' THEN 'planned' WHEN 'sending' THEN 'accepted' ELSE state END",
    "worker_id": "NULL",
}
"""What is with a worker at the moment: taken as not begun yet, or as accepted."""


@dataclass(frozen=True, slots=True)
class Extent:
    """What of the real database is needed: as of ``now``, of a stable ``share`` of the users.

    ``events``: names that campaigns and segments mention; ``campaigns``: those whose whole past they ask for.
    """

    now: datetime
    share: float = 1.0
    events: Collection[str] = ()
    campaigns: Collection[str] = ()


@contextmanager
def scratch() -> Iterator[Store]:
    """An empty database that nobody else sees, removed at the end whatever happens."""
    folder = Path(tempfile.mkdtemp(prefix="rehearsal-"))
    try:
        store = Store(str(folder / "scratch.db"), private=True)
        try:
            metadata.create_all(store.writer_engine)
            with store.write() as connection:
                for name in _UNASKED:
                    connection.exec_driver_sql(f"DROP INDEX {name}")
            yield store
        finally:
            store.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _raw(store: Store) -> Iterator[sqlite3.Connection]:
    """SQLite's own connection, into which rows go twice as fast."""
    with store.write() as connection:
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        yield driver


def copy(real: Store, into: Store, extent: Extent, progress: Callable[[int], None] = lambda _: None) -> None:
    """Fill ``into`` from ``real``, of which only one reading transaction is asked."""
    with real.read() as connection, _raw(into) as raw:
        if real.dialect == "postgresql":
            connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
        for table in metadata.sorted_tables:
            if table.name not in LEFT_OUT:
                _copy(connection, raw, table, extent, progress)
    analyse(into)


def analyse(store: Store) -> None:
    """Let SQLite look at how many rows there are of what: its plans are made for what it saw last."""
    with _raw(store) as raw:
        raw.execute("PRAGMA analysis_limit=2000")
        raw.execute("ANALYZE")


def _copy(
    connection: Connection, raw: sqlite3.Connection, table: Table, extent: Extent, progress: Callable[[int], None]
) -> None:
    names = ", ".join(column.name for column in table.columns)
    marks = ", ".join("?" for _ in table.columns)
    found = connection.execution_options(stream_results=True, yield_per=PAGE).execute(
        text(f"SELECT {_columns(table)} FROM {table.name} WHERE {condition(table, extent, connection.dialect.name)}"),
        _values(extent),
    )
    for page in found.partitions(PAGE):
        raw.executemany(f"INSERT INTO {table.name} ({names}) VALUES ({marks})", [tuple(row) for row in page])
        progress(len(page))


def _columns(table: Table) -> str:
    special = _SETTLED if table.name == "message" else {}
    return ", ".join(
        f"CAST({column.name} AS TEXT)" if isinstance(column.type, JSON) else special.get(column.name, column.name)
        for column in table.columns
    )


def _values(extent: Extent) -> dict[str, object]:
    return {
        "since": to_micros(extent.now - LOOK_BACK),
        "bucket": round(extent.share * BUCKETS),
        **{f"event{n}": name for n, name in enumerate(sorted(extent.events))},
        **{f"campaign{n}": name for n, name in enumerate(sorted(extent.campaigns))},
    }


def condition(table: Table, extent: Extent, dialect: str) -> str:
    """Which rows of a table are needed, as SQL over :func:`_values`."""
    parts = [_SPECIAL[table.name](extent)] if table.name in _SPECIAL else []
    if "run_id" in table.columns:
        parts.append(f"{table.name}.run_id IN (SELECT run.id FROM run WHERE {_runs(extent)})")
    whose = _WHOSE.get(table.name, "user_id")
    if extent.share < 1 and whose in table.columns:
        drawn = bucket_sql(dialect, "sampled.external_id")
        parts.append(f"""({table.name}.{whose} IS NULL OR EXISTS (SELECT 1 FROM users AS sampled
            WHERE sampled.id = {table.name}.{whose} AND {drawn} < :bucket))""")
    return " AND ".join(parts) or "1 = 1"


def _runs(extent: Extent) -> str:
    named = _among("run.campaign", "campaign", len(extent.campaigns))
    return f"(run.state IN ('planning', 'active') OR run.created_at >= :since OR {named})"


def _among(column: str, name: str, count: int) -> str:
    return f"{column} IN ({', '.join(f':{name}{n}' for n in range(count))})" if count else "1 = 0"


def _events(extent: Extent) -> str:
    return f"({_among('event.name', 'event', len(extent.events))} OR event.message_id IS NOT NULL)"


_HELD = """receipt.message_id IN (SELECT message.id FROM message
    WHERE message.state IN ('planned', 'claimed', 'sending', 'unknown'))"""
_VERSIONED = ("campaign", "run", "lane")
_SPECIAL: Mapping[str, Callable[[Extent], str]] = {
    "event": _events,
    "run": _runs,
    "receipt": lambda _: _HELD,
    "attempt": lambda _: "attempt.outcome <> 'accepted'",  # failures count against addresses
    "version": lambda _: f"version.hash IN ({' UNION '.join(f'SELECT version FROM {name}' for name in _VERSIONED)})",
}


__all__ = ["LEFT_OUT", "LOOK_BACK", "Extent", "analyse", "condition", "copy", "scratch"]
