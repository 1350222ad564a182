"""The scratch ledger of a rehearsal, counted: when what leaves, what does not and why, how busy the accounts are."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, text

from orchestrator.campaign.occasions import labelled
from orchestrator.clock import from_micros, to_micros
from orchestrator.rehearsal.channels import Terms
from orchestrator.rehearsal.values import LONG, Cell, Load, Neighbour, RunOutline, Sms, Why

_TICK = timedelta(microseconds=1)
_HOUR, _MINUTE, _DAY = 3_600_000_000, 60_000_000, 86_400_000_000
CAPPED = ("capped", "backoff", "quota")
"""Reasons (before a colon) by which a limit per person keeps a message back."""
_CAPPED = " OR ".join(f"message.reason = '{head}' OR message.reason LIKE '{head}:%'" for head in CAPPED)


def is_capped(reason: str) -> bool:
    """Whether a limit per person is the reason."""
    return reason.partition(":")[0] in CAPPED


_OURS = "(SELECT id FROM run WHERE campaign = :campaign AND (finished_at IS NULL OR finished_at >= :since))"


@dataclass(frozen=True, slots=True)
class Span:
    """Which campaign, and from when on."""

    campaign: str
    since: datetime

    @property
    def values(self) -> dict[str, object]:
        """As bind parameters."""
        return {"campaign": self.campaign, "since": to_micros(self.since)}


_CELLS = text(f"""
    SELECT message.sent_at / {_HOUR} AS hour, member.zone_key, lane.channel, count(*) AS n FROM message
    JOIN lane ON lane.id = message.lane_id
    JOIN member ON member.run_id = message.run_id AND member.user_id = message.user_id
    WHERE message.run_id IN {_OURS} AND message.sent_at >= :since GROUP BY 1, 2, 3 ORDER BY 1, 2, 3""")


def cells(connection: Connection, span: Span) -> tuple[Cell, ...]:
    """What leaves, by hour, zone and channel."""
    rows = connection.execute(_CELLS, span.values)
    return tuple(Cell(from_micros(row.hour * _HOUR), row.zone_key, row.channel, row.n) for row in rows)


_ENDS = text(f"""
    SELECT state, step, coalesce(reason, '') AS reason, count(*) AS n FROM message
    WHERE run_id IN {_OURS} AND state IN ('skipped', 'expired', 'failed', 'undelivered', 'unknown')
      AND state_at >= :since GROUP BY 1, 2, 3""")
_HOLDS = text(f"""
    SELECT message.step, coalesce(transition.reason, '') AS reason, count(DISTINCT message.id) AS n FROM transition
    JOIN message ON message.id = transition.message_id
    WHERE message.run_id IN {_OURS} AND transition.new = 'planned' AND transition.old = 'claimed' GROUP BY 1, 2""")


def whys(connection: Connection, span: Span) -> tuple[Why, ...]:
    """Messages that were held for a while, and those that never left, with the reason; most first."""
    ends = [Why(row.state, row.step, row.reason, row.n) for row in connection.execute(_ENDS, span.values)]
    holds = [Why("held", row.step, row.reason, row.n) for row in connection.execute(_HOLDS, span.values)]
    return tuple(sorted([*ends, *holds], key=lambda why: (-why.messages, why.became, why.step, why.reason)))


_BEGUN = """CASE WHEN attempt.started_at - message.due_at <= :grain AND message.due_at >= :since THEN message.due_at
    ELSE attempt.started_at END"""
"""When a request would have begun: what waited for no longer than a grain waited for the rehearsal alone."""
_WAITED = "(attempt.started_at - message.due_at)"
_MINUTES = text(f"""
    SELECT attempt.account, {_BEGUN} / {_MINUTE} AS minute, count(*) AS n, sum(message.run_id IN {_OURS}) AS ours,
           sum(message.due_at >= :since AND {_WAITED} > :long) AS waited,
           max(CASE WHEN message.due_at >= :since AND {_WAITED} > :grain THEN {_WAITED} ELSE 0 END) AS longest
    FROM attempt JOIN message ON message.id = attempt.message_id
    WHERE attempt.started_at >= :since GROUP BY 1, 2 ORDER BY 1, 2""")


def loads(
    connection: Connection, span: Span, terms: Iterable[Terms], share: float, grain: timedelta
) -> tuple[Load, ...]:
    """How busy each account is, minute by minute, with everything that goes through it.

    ``share``: of a sample the rates were made smaller with it.
    """
    asked = {**span.values, "grain": grain // _TICK, "long": LONG // _TICK}
    minutes: dict[str, list[Row[Any]]] = defaultdict(list)
    for row in connection.execute(_MINUTES, asked):
        minutes[row.account].append(row)
    return tuple(_load(one, minutes[one.name], share) for one in terms if minutes[one.name])


def _load(one: Terms, minutes: Sequence[Row[Any]], share: float) -> Load:
    limit = one.rate.per_second * 60 * share
    most = max(1, math.ceil(limit + one.rate.burst))  # which the limiter keeps; a grain may blur two minutes into one
    hours: dict[int, int] = {}
    for row in minutes:
        hours[row.minute // 60] = max(hours.get(row.minute // 60, 0), min(row.n, most))
    busiest = max(minutes, key=lambda row: row.n)
    return Load(
        account=one.name,
        channel=one.channel,
        limit=limit,
        sent=sum(row.n for row in minutes),
        ours=sum(row.ours for row in minutes),
        busiest=min(busiest.n, most),
        busiest_at=from_micros(busiest.minute * _MINUTE),
        hours=tuple((from_micros(hour * _HOUR), count) for hour, count in sorted(hours.items())),
        waited=sum(row.waited for row in minutes),
        longest=timedelta(microseconds=max(row.longest for row in minutes)),
    )


_SPENT = text("SELECT coalesce(sum(sms), 0), coalesce(sum(sms_parts), 0) FROM spend WHERE campaign = :campaign")
_SMS_DAYS = text(f"""
    SELECT message.sent_at / {_DAY} AS day, count(*) AS n FROM message JOIN lane ON lane.id = message.lane_id
    WHERE message.run_id IN {_OURS} AND message.sent_at >= :since AND lane.channel = 'sms' GROUP BY 1 ORDER BY 1""")


def spent(connection: Connection, campaign: str) -> tuple[int, int]:
    """SMS and parts that a campaign's runs have come to so far."""
    messages, parts = connection.execute(_SPENT, {"campaign": campaign}).one()
    return messages, parts


def sms(connection: Connection, span: Span, before: tuple[int, int], price: float | None) -> Sms | None:
    """What the campaign's SMS come to; None when it sends none."""
    messages, parts = (now - was for now, was in zip(spent(connection, span.campaign), before, strict=True))
    if not messages:
        return None
    each = parts / messages
    days = tuple(
        (from_micros(row.day * _DAY).date().isoformat(), row.n, round(row.n * each))
        for row in connection.execute(_SMS_DAYS, span.values)
    )
    return Sms(messages, parts, days, None if price is None else parts * price)


def outlines(connection: Connection, span: Span) -> tuple[RunOutline, ...]:
    """The campaign's runs that the rehearsal touches."""
    sent = Counter({row.run_id: row.n for row in connection.execute(_SENT_BY_RUN, span.values)})
    return tuple(
        RunOutline(_called(connection, row), row.state, row.reason, row.audience, row.planned, sent[row.id])
        for row in connection.execute(_RUN_ROWS, span.values)
    )


def _called(connection: Connection, row: Row[Any]) -> str:
    at = None if row.fires_at is None else from_micros(row.fires_at)
    return labelled(connection, row.version, row.local_date, at)


_SENT_BY_RUN = text(f"""
    SELECT run_id, count(*) AS n FROM message WHERE run_id IN {_OURS} AND sent_at >= :since GROUP BY 1""")
_RUN_ROWS = text(f"""
    SELECT id, version, local_date, fires_at, state, coalesce(reason, '') AS reason, audience,
           (SELECT count(*) FROM member WHERE run_id = run.id AND decision = 'planned') AS planned
    FROM run WHERE id IN {_OURS} ORDER BY local_date, fires_at, id""")
_OTHERS = text(f"""
    SELECT run.campaign, sum(message.sent_at >= :since) AS sent,
           sum(message.state = 'skipped' AND ({_CAPPED})) AS capped
    FROM message JOIN run ON run.id = message.run_id
    WHERE run.campaign <> :campaign AND message.state_at >= :since GROUP BY 1 ORDER BY 1""")
_EATEN = text(f"""
    SELECT run.campaign, count(*) AS n FROM message JOIN run ON run.id = message.run_id
    WHERE run.campaign <> :campaign AND message.state_at >= :since AND message.state = 'skipped'
      AND ({_CAPPED}) AND EXISTS (
        SELECT 1 FROM message AS ours WHERE ours.user_id = message.user_id AND ours.sent_at < message.state_at
          AND ours.sent_at >= message.state_at - {7 * _DAY} AND ours.run_id IN {_OURS}) GROUP BY 1""")


def neighbours(connection: Connection, span: Span) -> tuple[Neighbour, ...]:
    """What the other campaigns sent meanwhile, and what caps kept back of theirs."""
    eaten: Mapping[str, int] = {row.campaign: row.n for row in connection.execute(_EATEN, span.values)}
    return tuple(
        Neighbour(row.campaign, row.sent or 0, row.capped or 0, eaten.get(row.campaign, 0))
        for row in connection.execute(_OTHERS, span.values)
    )
