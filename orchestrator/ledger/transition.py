"""The append-only history: holds, exits and operators' actions, so that ``explain`` can tell the story."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cache

from sqlalchemy import Connection, TextClause

from orchestrator.clock import to_micros
from orchestrator.store.dialect import prepared, rows, rows_sql

NO_RUN = 0
"""Of a line about a campaign's messages whatever their run, or of none: `explain` tells no run's story with it."""


@dataclass(frozen=True, slots=True)
class Transition:
    """One line of history. ``actor`` is a worker (``worker 7``), ``sweeper``, ``operator anna`` or a provider.

    One without a ``message_id`` is an act, and is listed (:mod:`orchestrator.ledger.history`).
    """

    at: datetime
    new: str
    actor: str
    old: str | None = None
    reason: str | None = None
    campaign: str | None = None
    run_id: int | None = None
    message_id: int | None = None


_COLUMNS = {
    "at": "bigint", "new": "text", "actor": "text", "old": "text", "reason": "text", "campaign": "text",
    "run_id": "bigint", "message_id": "bigint",
}  # fmt: skip


@cache
def _record_sql(dialect: str) -> TextClause:
    named = ", ".join(_COLUMNS)
    return prepared(
        f"INSERT INTO transition ({named}) SELECT {named} FROM {rows_sql(dialect, 'rows', **_COLUMNS)} AS one"
    )


def record(connection: Connection, lines: Iterable[Transition]) -> None:
    """Append lines of history."""
    told = [_row(line) for line in lines]
    if told:
        connection.execute(_record_sql(connection.dialect.name), {"rows": rows(told)})


def _row(line: Transition) -> tuple[str | int | None, ...]:
    """In the order of the columns."""
    what = (line.new, line.actor, line.old, line.reason, line.campaign, line.run_id, line.message_id)
    return (to_micros(line.at), *what)
