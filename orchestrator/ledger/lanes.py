"""Lanes: the queues of a run, one for each step and account."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

from orchestrator.ledger.ids import LaneId, lane_id


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


_LANES = text("SELECT id, account FROM lane WHERE run_id = :run AND step = :step ORDER BY id")
_ADD = text("""
    INSERT INTO lane (id, run_id, step, channel, account, rate, priority, topic, tags, campaign_rate)
    VALUES (:id, :run, :step, :channel, :account, :rate, :priority, :topic, :tags, :campaign_rate)
    ON CONFLICT DO NOTHING""")
_TERMS = text("SELECT run_id, step, channel, rate, priority, topic, tags, campaign_rate FROM lane WHERE id = :lane")


def lanes_of(connection: Connection, run_id: int, step: int) -> dict[str, LaneId]:
    """The lanes of a step, by account, in the order in which they were made."""
    found = connection.execute(_LANES, {"run": run_id, "step": step})
    return {row.account: LaneId(row.id) for row in found}


def ensure_lanes(connection: Connection, terms: LaneTerms, accounts: Sequence[str]) -> dict[str, LaneId]:
    """The step's lanes, with one for each of these accounts; its first lane has the id that a single one ever had.

    An account is missing from the answer when another process made a lane at the same moment: ask again later.
    """
    known = lanes_of(connection, terms.run_id, terms.step)
    new = [name for name in accounts if name not in known]
    if not new:
        return known
    common = {"run": terms.run_id, "step": terms.step, "channel": terms.channel, "rate": terms.rate}
    common |= {"priority": terms.priority, "topic": terms.topic, "tags": terms.tags}
    common["campaign_rate"] = terms.campaign_rate
    first = len(known)  # lanes are never deleted, so their number is the next way
    rows = [
        {**common, "id": lane_id(terms.run_id, terms.step, way), "account": name} for way, name in enumerate(new, first)
    ]
    connection.execute(_ADD, rows)
    return lanes_of(connection, terms.run_id, terms.step)


def terms_of_lane(connection: Connection, lane: int) -> LaneTerms:
    """What a lane has in common with the others of its step."""
    return LaneTerms(*connection.execute(_TERMS, {"lane": lane}).one())
