"""The append-only history: holds, exits and operators' actions, so that ``explain`` can tell the story."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from orchestrator.clock import to_micros
from orchestrator.store.dialect import driver_sql


@dataclass(frozen=True, slots=True)
class Transition:
    """One line of history. ``actor`` is a worker (``worker 7``), ``sweeper``, ``operator`` or a provider."""

    at: datetime
    new: str
    actor: str
    old: str | None = None
    reason: str | None = None
    campaign: str | None = None
    run_id: int | None = None
    message_id: int | None = None


_RECORD = """
    INSERT INTO transition (at, new, actor, old, reason, campaign, run_id, message_id)
    VALUES (:at, :new, :actor, :old, :reason, :campaign, :run_id, :message_id)"""


def record(connection: Connection, lines: Iterable[Transition]) -> None:
    """Append lines of history."""
    rows = [_row(line) for line in lines]
    if rows:
        connection.exec_driver_sql(driver_sql(connection.dialect.name, _RECORD), rows)


def _row(line: Transition) -> dict[str, object]:
    """As the driver takes it: states are plain texts there."""
    return {
        "at": to_micros(line.at),
        "new": str(line.new),
        "actor": line.actor,
        "old": None if line.old is None else str(line.old),
        "reason": line.reason,
        "campaign": line.campaign,
        "run_id": line.run_id,
        "message_id": line.message_id,
    }
