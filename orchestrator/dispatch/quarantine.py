"""What has been set aside: messages that killed their workers, addresses of a storm."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, bindparam, text

from orchestrator.clock import from_micros, to_micros


@dataclass(frozen=True, slots=True)
class Poisoned:
    """A message that was in a worker's hands when it died, three times: it is ``failed`` and never tried again."""

    message_id: int
    campaign: str
    user: str
    account: str
    at: datetime


@dataclass(frozen=True, slots=True)
class SetAside:
    """Addresses of a channel that a provider called dead in a storm: used again after ``until``, the last of them."""

    channel: str
    addresses: int
    until: datetime


_RECENT = text("SELECT id FROM run WHERE created_at > :since")
_POISONED = text("""
    SELECT message.id, run.campaign, users.external_id, lane.account, message.state_at
    FROM message JOIN run ON run.id = message.run_id JOIN lane ON lane.id = message.lane_id
    JOIN users ON users.id = message.user_id
    WHERE message.run_id IN :runs AND message.state = 'failed' AND message.reason = 'poison'
    ORDER BY message.id""").bindparams(bindparam("runs", expanding=True))
_ASIDE = text("""
    SELECT channel, count(*) AS n, max(quarantined_until) AS until FROM address
    WHERE quarantined_until > :now GROUP BY channel ORDER BY channel""")


def poisoned_messages(connection: Connection, since: datetime) -> list[Poisoned]:
    """Those of runs that were made after ``since``; every message of these runs is looked at."""
    runs = list(connection.execute(_RECENT, {"since": to_micros(since)}).scalars())
    rows = connection.execute(_POISONED, {"runs": runs}).all() if runs else []
    return [Poisoned(row.id, row.campaign, row.external_id, row.account, from_micros(row.state_at)) for row in rows]


def addresses_set_aside(connection: Connection, now: datetime) -> list[SetAside]:
    """How many addresses wait, by channel; which they are `users show` says of each user."""
    rows = connection.execute(_ASIDE, {"now": to_micros(now)}).all()
    return [SetAside(row.channel, row.n, from_micros(row.until)) for row in rows]
