"""A dry run: the real planner, into temporary tables that shadow the ledger's and vanish with the connection."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, MetaData, text

from orchestrator.campaign.version import Bundle
from orchestrator.clock import from_micros, to_micros
from orchestrator.ledger.ids import RunId
from orchestrator.ledger.runs import Run
from orchestrator.ledger.states import RunState
from orchestrator.plan.members import members_statement
from orchestrator.plan.planner import MAX_CHUNK, Planner, chunk_end
from orchestrator.store import tables
from orchestrator.timing.schedule import ends_at
from orchestrator.timing.zones import candidates

SHADOWED = (tables.run, tables.slot, tables.member, tables.lane, tables.message, tables.transition)


@dataclass(frozen=True, slots=True)
class DryRun:
    """How many, why not, when. ``hours``: first messages by hour of the members' own day."""

    campaign: str
    local_date: date
    audience: int
    stopped: str | None
    decisions: dict[str, int]
    arms: dict[str, dict[str, int]]
    channels: dict[str, int]
    hours: dict[int, int]


def dry_run(connection: Connection, planner: Planner, bundle: Bundle, day: date, now: datetime) -> DryRun:
    """Plan ``day`` as if launched now, and count. ``connection`` may be read-only; nothing of it stays."""
    shadow = MetaData()
    for table in SHADOWED:
        copy = table.to_metadata(shadow)
        copy._prefixes = ["TEMPORARY"]  # noqa: SLF001  # to_metadata takes no prefixes
    shadow.create_all(connection, checkfirst=False)
    try:
        item = _scratch_run(connection, bundle, day, now)
        begun = planner.begin(connection, item, bundle)
        statement = members_statement(bundle, connection.dialect.name)
        while begun and (high := chunk_end(connection, item.planned_through, MAX_CHUNK)) is not None:
            item = planner.chunk(connection, statement, item, bundle, high)
        return _count(connection, bundle.campaign.name, item, begun=begun)
    finally:
        shadow.drop_all(connection, checkfirst=False)


def _scratch_run(connection: Connection, bundle: Bundle, day: date, now: datetime) -> Run:
    values = {"campaign": bundle.campaign.name, "day": day.isoformat(), "now": to_micros(now)}
    connection.execute(
        text("""INSERT INTO run (id, campaign, version, local_date, state, as_of, closes_at, created_at)
                VALUES (1, :campaign, '', :day, 'planning', :now, :now, :now)"""),
        values,
    )
    return Run(RunId(1), bundle.campaign.name, "", day, RunState.PLANNING, now, ends_at(day), 0, 0)


_DECISIONS = text("""
    SELECT CASE WHEN decision = 'planned' AND held_out THEN 'held_out' WHEN decision = 'planned' THEN 'planned'
                ELSE 'skipped: ' || coalesce(reason, '') END AS decision, arm, count(*) AS n
    FROM member GROUP BY 1, 2""")
_CHANNELS = text("""
    SELECT lane.channel, count(*) FROM message JOIN lane ON lane.id = message.lane_id WHERE NOT message.held_out
    GROUP BY lane.channel""")
_HOURS = text("""
    SELECT member.zone_key, message.due_at / 3600000000 AS hour, count(*) AS n FROM message
    JOIN member ON member.run_id = message.run_id AND member.user_id = message.user_id
    WHERE message.step = 1 GROUP BY 1, 2""")


def _count(connection: Connection, name: str, item: Run, *, begun: bool) -> DryRun:
    decisions: Counter[str] = Counter()
    arms: dict[str, dict[str, int]] = {}
    for row in connection.execute(_DECISIONS):
        decisions[row.decision] += row.n
        arms.setdefault(row.arm, {})[row.decision] = row.n
    hours: Counter[int] = Counter()
    for row in connection.execute(_HOURS):
        zone = ZoneInfo(candidates(row.zone_key)[0])
        hours[from_micros(row.hour * 3_600_000_000).astimezone(zone).hour] += row.n
    channels = {row[0]: row[1] for row in connection.execute(_CHANNELS)}
    stopped = None if begun else "max_audience"
    return DryRun(
        name, item.local_date, item.audience, stopped, dict(decisions), arms, channels, dict(sorted(hours.items()))
    )
