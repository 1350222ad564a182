"""The append-only history: holds, exits and operators' actions, so that ``explain`` can tell the story."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import datetime

from sqlalchemy import Connection, insert

from orchestrator.store.tables import transition


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


_NAMES = tuple(field.name for field in fields(Transition))


def record(connection: Connection, lines: Iterable[Transition]) -> None:
    """Append lines of history."""
    rows = [{name: getattr(line, name) for name in _NAMES} for line in lines]  # asdict copies deeply: slow
    if rows:
        connection.execute(insert(transition), rows)
