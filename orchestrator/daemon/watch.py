"""Looking for what operators have to hear of: facts of the database, so that no crash loses an alert.

Storms, budgets and failed plans are written down where they happen; the rest is found here. A key holds the day or the
hour, so that what goes on is told again, and not every twenty seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, select, text

from orchestrator.campaign.occasions import labelled, named
from orchestrator.clock import Clock, span_micros, to_micros
from orchestrator.ledger.alerts import raise_alert
from orchestrator.ledger.restored import REASON as RESTORED
from orchestrator.ledger.runs import read_run
from orchestrator.ledger.waiting import unknown, waiting
from orchestrator.store import Store
from orchestrator.store.tables import run, stop

LOOK_BACK = timedelta(days=7)
AT_LEAST = 100
"""Messages a run must have sent before a share of them means anything."""
SLOWLY = 15
"""Ticks between looks at guardrails: they read every message of a run."""


@dataclass(frozen=True, slots=True)
class Limits:
    """From when on operators hear of it."""

    unknown: int
    stuck_after: timedelta
    unsubscribes: float
    complaints: float


def watch(store: Store, clock: Clock, limits: Limits, *, guardrails: bool) -> None:
    """One look at everything."""
    with store.write() as connection:
        _stopped_accounts(connection, clock.now())
        _stopped_runs(connection, clock.now())
        _in_doubt(connection, limits.unknown, clock.now())
        _stuck(connection, limits.stuck_after, clock)
    if guardrails:
        _guardrails(store, limits, clock.now())


def _stopped_accounts(connection: Connection, now: datetime) -> None:
    rows = connection.execute(select(stop.c.account, stop.c.reason, stop.c.since).where(stop.c.reason != RESTORED))
    for row in rows.all():
        facts = {"account": row.account, "reason": row.reason}
        raise_alert(connection, f"{row.account}:{to_micros(row.since)}", "account_stopped", now, facts)


def _stopped_runs(connection: Connection, now: datetime) -> None:
    recent = (run.c.state == "stopped", run.c.reason == "max_audience", run.c.finished_at > now - LOOK_BACK)
    columns = (run.c.id, run.c.campaign, run.c.version, run.c.local_date, run.c.fires_at)
    for row in connection.execute(select(*columns).where(*recent)).all():
        facts = {"campaign": row.campaign, "date": labelled(connection, *row[2:])}
        raise_alert(connection, str(row.id), "max_audience", now, facts)


def _in_doubt(connection: Connection, most: int, now: datetime) -> None:
    for channel, n in unknown(connection).items():
        if n > most:
            facts: dict[str, str | int | float] = {"channel": channel, "messages": n}
            raise_alert(connection, f"{channel}:{now:%Y-%m-%d}", "unknown", now, facts)


def _stuck(connection: Connection, after: timedelta, clock: Clock) -> None:
    now = clock.now()
    for row in waiting(connection, now - clock.business_span(after)):
        if row.oldest is None:
            continue
        minutes = (now - row.oldest) // timedelta(minutes=1)
        facts: dict[str, str | int | float] = {"account": row.account, "channel": row.channel, "minutes": minutes}
        raise_alert(connection, f"{row.account}:{now:%Y-%m-%dT%H}", "queue_stuck", now, facts)


# A refusal is laid to a run when it comes within a week after the run's message left on that channel, as in reports.
_RECENT = text("SELECT id, campaign FROM run WHERE state IN ('active', 'done') AND created_at > :since")
_SENT = text("SELECT count(*) FROM message WHERE run_id = :run AND id >= :low AND id < :high AND sent_at IS NOT NULL")
_REFUSED = text("""
    SELECT count(DISTINCT CASE WHEN s.reason = 'complaint' THEN message.user_id END) AS complaints,
           count(DISTINCT CASE WHEN s.reason <> 'complaint' THEN message.user_id END) AS unsubscribes
    FROM suppression s LEFT JOIN address a ON a.channel = s.channel AND a.value = s.address
    JOIN message ON message.user_id = coalesce(s.user_id, a.user_id) AND message.run_id = :run
         AND message.sent_at <= s.valid_from AND message.sent_at > s.valid_from - :week
    JOIN lane ON lane.id = message.lane_id AND lane.channel = s.channel
    WHERE s.valid_from > :since AND s.reason IN ('stop', 'unsubscribe', 'complaint')""")


def _guardrails(store: Store, limits: Limits, now: datetime) -> None:
    since = to_micros(now - LOOK_BACK)
    with store.read() as connection:
        found = [
            (one, shares)
            for one in connection.execute(_RECENT, {"since": since}).all()
            if (shares := _shares(connection, one.id, since)) is not None
        ]
    with store.write() as connection:
        for one, (unsubscribes, complaints) in found:
            for kind, share, most in (
                ("unsubscribes", unsubscribes, limits.unsubscribes),
                ("complaints", complaints, limits.complaints),
            ):
                if share > most:
                    called = named(connection, read_run(connection, one.id))
                    facts = {"campaign": one.campaign, "date": called, "percent": round(share * 100, 2)}
                    raise_alert(connection, str(one.id), kind, now, facts)


def _shares(connection: Connection, run_id: int, since: int) -> tuple[float, float] | None:
    """Shares of unsubscribes and complaints among a run's messages; None when it sent too few."""
    values = {"run": run_id, "low": run_id << 40, "high": (run_id + 1) << 40}
    sent = connection.execute(_SENT, values).scalar_one()
    if sent < AT_LEAST:
        return None
    refused = connection.execute(_REFUSED, {"run": run_id, "since": since, "week": span_micros(LOOK_BACK)}).one()
    return refused.unsubscribes / sent, refused.complaints / sent
