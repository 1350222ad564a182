"""Rates from what really came back: the last ninety days of the real ledger, per channel."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, text

from orchestrator.clock import to_micros
from orchestrator.rehearsal.responses import DEFAULTS, Rates, Responses

BACK = timedelta(days=90)
ENOUGH = 500
"""Messages of a channel (or members held out) from which on their rates are believed."""
_WEEK = 7 * 86_400_000_000

_MESSAGES = text("""
    SELECT lane.channel, count(*) AS sent,
           sum(CASE WHEN message.state IN ('accepted', 'delivered', 'undelivered') THEN 1 ELSE 0 END) AS accepted,
           sum(CASE WHEN message.state = 'delivered' THEN 1 ELSE 0 END) AS delivered,
           sum(CASE WHEN message.reason = 'address_dead' THEN 1 ELSE 0 END) AS dead,
           sum(CASE WHEN message.state = 'failed' AND message.reason <> 'address_dead' THEN 1 ELSE 0 END) AS failed,
           sum(CASE WHEN member.reopened_at >= message.sent_at THEN 1 ELSE 0 END) AS reopened,
           sum(CASE WHEN member.reopened_at >= message.sent_at AND member.converted_at IS NOT NULL
               THEN 1 ELSE 0 END) AS converted
    FROM run JOIN message ON message.run_id = run.id JOIN lane ON lane.id = message.lane_id
    JOIN member ON member.run_id = message.run_id AND member.user_id = message.user_id
    WHERE run.created_at >= :since AND message.sent_at IS NOT NULL AND NOT message.held_out GROUP BY 1""")
_SEEN = text("""
    SELECT lane.channel, event.name, count(DISTINCT event.message_id) AS n FROM event
    JOIN message ON message.id = event.message_id JOIN run ON run.id = message.run_id
    JOIN lane ON lane.id = message.lane_id
    WHERE event.message_id IS NOT NULL AND event.name IN ('message_opened', 'link_clicked')
      AND run.created_at >= :since GROUP BY 1, 2""")
_REFUSED = text(f"""
    SELECT consent.channel, count(*) AS n FROM consent
    WHERE NOT consent.granted AND consent.valid_from >= :since AND EXISTS (
        SELECT 1 FROM message WHERE message.user_id = consent.user_id AND message.sent_at <= consent.valid_from
          AND message.sent_at > consent.valid_from - {_WEEK}) GROUP BY 1""")
_HELD_OUT = text("""
    SELECT count(*) AS members, sum(CASE WHEN member.reopened_at IS NOT NULL THEN 1 ELSE 0 END) AS reopened
    FROM run JOIN member ON member.run_id = run.id
    WHERE run.created_at >= :since AND run.state = 'done' AND member.held_out AND member.decision = 'planned'""")


def history(connection: Connection, now: datetime, seed: int) -> Responses:
    """The response model of a deployment: its own rates where it has enough of them, else the stated defaults."""
    since = {"since": to_micros(now - BACK)}
    held = connection.execute(_HELD_OUT, since).one()
    known = Responses()
    alone = held.reopened / held.members if held.members >= ENOUGH else known.by_themselves
    seen = {(row.channel, row.name): row.n for row in connection.execute(_SEEN, since)}
    refused = {row.channel: row.n for row in connection.execute(_REFUSED, since)}
    rates = dict(DEFAULTS)
    sources = {"": "history" if held.members >= ENOUGH else "assumed"}
    for row in connection.execute(_MESSAGES, since):
        if row.sent >= ENOUGH and row.accepted:
            opened, clicked = (seen.get((row.channel, name), 0) for name in ("message_opened", "link_clicked"))
            rates[row.channel] = _rates(row, opened, clicked, refused.get(row.channel, 0), alone)
            sources[row.channel] = "history"
    return Responses(rates, alone, seed, sources)


def _rates(row: Row[Any], opened: int, clicked: int, refused: int, alone: float) -> Rates:
    """Shares of those accepted. Who came back would partly have done so alone: that part is not the message's."""
    came = row.reopened / row.accepted
    return Rates(
        delivered=row.delivered / row.accepted,
        opened=min(opened / row.accepted, 1.0),
        clicked=min(clicked / row.accepted, 1.0),
        reopened=max((came - alone) / (1 - alone), 0.0) if alone < 1 else 0.0,
        converted=row.converted / row.reopened if row.reopened else 0.0,
        unsubscribed=min(refused / row.accepted, 1.0),
        dead=row.dead / row.sent,
        failed=row.failed / row.sent,
    )
