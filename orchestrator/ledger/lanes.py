"""Lanes: the queues of a run, one for each step and account, and for each version whose messages it still has.

A run that takes on an edited version leaves what has begun where it is: in lanes that keep the version it was planned
under. ``version`` "" is the run's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from orchestrator.clock import to_micros
from orchestrator.ledger.ids import RUN_SHIFT, LaneId, lane_id

VERSION = "coalesce(nullif(lane.version, ''), run.version)"
"""SQL for the version of a lane's messages, where ``lane`` and its ``run`` are joined."""


@dataclass(frozen=True, slots=True)
class LaneTerms:
    """What all lanes of one step of a run have in common."""

    run_id: int
    step: int
    channel: str
    rate: float | None
    priority: int
    topic: str = ""
    tags: str = ""
    """The campaign's, as ``,one,two,``: what frequency caps count by."""
    campaign_rate: float | None = None
    version: str = ""
    """An earlier one of the run's; "": its own."""


_LANES = text("""
    SELECT id, account FROM lane WHERE run_id = :run AND step = :step AND version = :version ORDER BY id""")
_WAYS = text("SELECT count(*) FROM lane WHERE run_id = :run AND step = :step")
_ADD = text("""
    INSERT INTO lane (id, run_id, step, channel, account, rate, priority, topic, tags, campaign_rate, version)
    VALUES (:id, :run, :step, :channel, :account, :rate, :priority, :topic, :tags, :campaign_rate, :version)
    ON CONFLICT DO NOTHING""")
_TERMS = text("""
    SELECT run_id, step, channel, rate, priority, topic, tags, campaign_rate, version FROM lane WHERE id = :lane""")


def lanes_of(connection: Connection, run_id: int, step: int, version: str = "") -> dict[str, LaneId]:
    """The lanes of a step, by account, in the order in which they were made."""
    found = connection.execute(_LANES, {"run": run_id, "step": step, "version": version})
    return {row.account: LaneId(row.id) for row in found}


def ensure_lanes(connection: Connection, terms: LaneTerms, accounts: Sequence[str]) -> dict[str, LaneId]:
    """The step's lanes, with one for each of these accounts; its first lane has the id that a single one ever had.

    An account is missing from the answer when another process made a lane at the same moment: ask again later.
    """
    known = lanes_of(connection, terms.run_id, terms.step, terms.version)
    new = [name for name in accounts if name not in known]
    if not new:
        return known
    common = {"run": terms.run_id, "step": terms.step, "channel": terms.channel, "rate": terms.rate}
    common |= {"priority": terms.priority, "topic": terms.topic, "tags": terms.tags}
    common |= {"campaign_rate": terms.campaign_rate, "version": terms.version}
    ways = {"run": terms.run_id, "step": terms.step}
    first = connection.execute(_WAYS, ways).scalar_one()  # lanes are never deleted, so their number is the next way
    rows = [
        {**common, "id": lane_id(terms.run_id, terms.step, way), "account": name} for way, name in enumerate(new, first)
    ]
    connection.execute(_ADD, rows)
    return lanes_of(connection, terms.run_id, terms.step, terms.version)


_OLDEST = text("SELECT min(id) FROM run WHERE state IN ('planning', 'active')")


def live_ids(connection: Connection) -> dict[str, int]:
    """What :func:`orchestrator.store.dialect.from_sql` asks for: where the messages of runs that are not over begin."""
    if connection.dialect.name != "postgresql":
        return {}
    return {"first_id": (connection.execute(_OLDEST).scalar() or 0) << RUN_SHIFT}


_FIRST_SINCE = text("SELECT min(id) FROM run WHERE closes_at >= :since")


def ids_since(connection: Connection, since: datetime) -> dict[str, int]:
    """The same of messages that left at or after ``since``: no run sends once it is closed."""
    if connection.dialect.name != "postgresql":
        return {}
    return {"first_id": (connection.execute(_FIRST_SINCE, {"since": to_micros(since)}).scalar() or 0) << RUN_SHIFT}


_AWAY = text("UPDATE lane SET version = :old WHERE run_id = :run AND version = ''")
_BACK = text("UPDATE lane SET version = '' WHERE run_id = :run AND version = :new")


def turn_lanes(connection: Connection, run_id: int, old: str, new: str) -> None:
    """Let a run's lanes keep its version ``old`` as the run goes on to ``new``; one that it had before comes back."""
    connection.execute(_AWAY, {"run": run_id, "old": old})
    connection.execute(_BACK, {"run": run_id, "new": new})


def terms_of_lane(connection: Connection, lane: int) -> LaneTerms:
    """What a lane has in common with the others of its step."""
    return LaneTerms(*connection.execute(_TERMS, {"lane": lane}).one())
