"""What accounts that are being warmed up have sent, counted in the transaction that marks it: shared by all processes.

By the quarter of an hour, so that a rolling day is a hundred small rows to add up. A quarter counts until the whole of
it is a day old: the sum is never less than what left within the last 24 hours. The row of the year 1970 is the lock.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, text

from orchestrator.clock import EPOCH, from_micros, span_micros, to_micros

QUARTER = timedelta(minutes=15)
DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Warmed:
    """``first``: the quarter of the first message ever counted; ``recent``: what still counts, oldest first."""

    first: datetime | None
    recent: tuple[tuple[datetime, int], ...] = ()

    @property
    def messages(self) -> int:
        """How many left within the last 24 hours, at the most."""
        return sum(count for _, count in self.recent)


_ADD = text("""
    INSERT INTO warmed (account, since, messages) VALUES (:account, :since, :n)
    ON CONFLICT (account, since) DO UPDATE SET messages = warmed.messages + excluded.messages""")
_FIRST = text("SELECT min(since) FROM warmed WHERE account = :account AND since > 0")
_RECENT = text("SELECT since, messages FROM warmed WHERE account = :account AND since > :since ORDER BY since")


def hold_warmed(connection: Connection, account: str) -> None:
    """Let nobody else count for this account before this transaction has ended."""
    connection.execute(_ADD, {"account": account, "since": 0, "n": 0})


def warmed_of(connection: Connection, account: str, now: datetime) -> Warmed:
    """What an account has sent since its warm-up began."""
    first = connection.execute(_FIRST, {"account": account}).scalar()
    since = max(to_micros(now) - span_micros(DAY + QUARTER), 0)
    rows = connection.execute(_RECENT, {"account": account, "since": since})
    recent = tuple((from_micros(row.since), row.messages) for row in rows)
    return Warmed(None if first is None else from_micros(first), recent)


def count_warmed(connection: Connection, account: str, messages: int, now: datetime) -> None:
    """Book messages that are marked in this transaction."""
    if messages:
        since = EPOCH + (now - EPOCH) // QUARTER * QUARTER
        connection.execute(_ADD, {"account": account, "since": to_micros(since), "n": messages})


__all__ = ["DAY", "QUARTER", "Warmed", "count_warmed", "hold_warmed", "warmed_of"]
