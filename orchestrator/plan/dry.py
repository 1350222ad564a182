"""A dry run: the real planner, into temporary tables that shadow the ledger's and vanish with the connection."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, MetaData, text

from orchestrator.campaign.occasions import label
from orchestrator.campaign.spec import Arm, Campaign, Step, Trigger
from orchestrator.campaign.version import Bundle
from orchestrator.clock import from_micros, to_micros
from orchestrator.ledger.ids import RunId
from orchestrator.ledger.runs import Occasion, Run
from orchestrator.ledger.spend import Spent, spent
from orchestrator.ledger.states import RunState
from orchestrator.plan.chunks import MAX_CHUNK, chunk_end
from orchestrator.plan.dry_caps import at_caps
from orchestrator.plan.dry_dates import OwnDates, own_dates
from orchestrator.plan.due import closes_at
from orchestrator.plan.fired import Triggered, replay, triggered
from orchestrator.plan.planner import Planner
from orchestrator.policy.caps import UNCAPPED, Caps
from orchestrator.policy.predicates import OWN_ID
from orchestrator.store import tables
from orchestrator.store.dialect import forget_prepared
from orchestrator.timing.zones import candidates

SHADOWED = (tables.run, tables.slot, tables.slot_hour, tables.member, tables.lane, tables.message, tables.transition)


PartsOf = Callable[[Connection, Bundle, Arm, Step, Sequence[int]], list[int]]
"""Renders some users' SMS and says how many parts each has; rendering is not this room's business."""

SAMPLE = 200
"""Users of an arm whose SMS are rendered to know what one comes to."""


@dataclass(frozen=True, slots=True)
class SmsCost:
    """What the SMS of a run come to at the most: a later step goes only to who has not come back.

    ``left``: what the budget still has, as (messages, parts); None where there is no such limit.
    """

    messages: int
    parts: int
    left: tuple[int | None, int | None]
    approved: tuple[str, ...] = ()
    """The codes of the approved templates they are sent with."""

    @property
    def enough(self) -> bool:
        """Whether the budget pays for all of it."""
        wanted = (self.messages, self.parts)
        return all(room is None or need <= room for need, room in zip(wanted, self.left, strict=True))


@dataclass(frozen=True, slots=True)
class DryRun:
    """How many, why not, when. ``hours``: first messages that leave, by hour of the members' own day.

    ``local_date`` is what the run is called.
    """

    campaign: str
    local_date: str
    audience: int
    stopped: str | None
    decisions: dict[str, int]
    arms: dict[str, dict[str, int]]
    channels: dict[str, int]
    hours: dict[int, int]
    sms: SmsCost | None = None
    places: tuple[tuple[str, str, str, int], ...] = ()
    """Members who are owed something, by arm, zone key and place (``DE``, ``US-FL``); the holdout left out."""
    caps: dict[str, int] = field(default_factory=dict)
    """Members who are at a cap now, by rule: they would wait for room, or get nothing if there is none in time."""
    own_dates: OwnDates | None = None
    """Where the schedule goes by a date of each user's own."""
    triggered: Triggered | None = None
    """Of a triggered campaign, whose numbers are those of the last day: how often its trigger would have fired."""


def dry_run(
    connection: Connection,
    planner: Planner,
    bundle: Bundle,
    occasion: Occasion,
    now: datetime,
    parts_of: PartsOf | None = None,
    caps: Caps = UNCAPPED,
) -> DryRun:
    """Plan a run as if launched now, and count. ``connection`` may be read-only; nothing of it stays."""
    forget_prepared(connection)
    shadow = MetaData()
    for table in SHADOWED:
        copy = table.to_metadata(shadow)
        copy._prefixes = ["TEMPORARY"]  # noqa: SLF001  # to_metadata takes no prefixes
    shadow.create_all(connection, checkfirst=False)
    own = sorted({step.channel for step in bundle.campaign.steps} & set(OWN_ID))
    planner = replace(planner, scratch=True)
    try:
        if own:
            _shadow_addresses(connection, own)
        item = _scratch_run(connection, bundle, occasion, now)
        if (trigger := bundle.campaign.schedule.trigger) is not None:
            return _dry_triggered(connection, planner, bundle, item, trigger, parts_of, caps)
        begun = planner.begin(connection, item, bundle)
        statement = planner.statement(bundle, connection.dialect.name, occasion.day)
        while begun and (high := chunk_end(connection, item.planned_through, MAX_CHUNK)) is not None:
            item = planner.chunk(connection, statement, item, bundle, high)
        counted = _count(connection, bundle.campaign, item, begun=begun)
        counted = replace(counted, own_dates=own_dates(connection, bundle, occasion.day, now))
        return _held_to(connection, counted, bundle, parts_of, caps, now) if begun else counted
    finally:
        if own:
            _show_addresses(connection)
        shadow.drop_all(connection, checkfirst=False)


def _held_to(  # one value each
    connection: Connection, counted: DryRun, bundle: Bundle, parts_of: PartsOf | None, caps: Caps, now: datetime
) -> DryRun:
    """What caps hold back, and what the SMS come to."""
    counted = replace(counted, caps=at_caps(connection, bundle.campaign, caps, _real(connection), now))
    return replace(counted, sms=_sms_cost(connection, bundle, parts_of)) if parts_of else counted


def _dry_triggered(  # one value each
    connection: Connection,
    planner: Planner,
    bundle: Bundle,
    item: Run,
    trigger: Trigger,
    parts_of: PartsOf | None,
    caps: Caps,
) -> DryRun:
    """What would have become of those whose wait was over in the last day, had it been launched before."""
    said, day = triggered(connection, trigger, item.as_of)
    item = replay(connection, planner, item, bundle, day)
    most = bundle.campaign.max_audience
    begun = most is None or item.audience <= most
    counted = replace(_count(connection, bundle.campaign, item, begun=begun), triggered=said)
    return _held_to(connection, counted, bundle, parts_of, caps, item.as_of) if begun else counted


def _real(connection: Connection) -> str:
    """The schema of the tables that are shadowed."""
    if connection.dialect.name == "sqlite":
        return "main"
    return str(connection.execute(text("SELECT current_schema()")).scalar_one())


def _shadow_addresses(connection: Connection, channels: Sequence[str]) -> None:
    """A view before the addresses: with those that planning gives members on the app's own channels."""
    schema = _real(connection)
    names = [column.name for column in tables.address.columns]
    real = f"SELECT {', '.join(names)} FROM {schema}.address"
    given = [_given(names, schema, channel, n) for n, channel in enumerate(channels)]
    connection.execute(text(f"CREATE TEMPORARY VIEW address AS {' UNION ALL '.join([real, *given])}"))


def _given(names: Sequence[str], schema: str, channel: str, n: int) -> str:
    own = {"user_id": "users.id", "channel": f"'{channel}'", "kind": "'user'", "value": "users.external_id"}
    own |= {"last_seen_at": "users.created_at", "valid_from": "users.created_at"}
    own["id"] = f"-(users.id * {len(OWN_ID)} + {n})"  # below all real ones
    return f"""SELECT {", ".join(own.get(name, "NULL") for name in names)} FROM users
        WHERE NOT EXISTS (SELECT 1 FROM {schema}.address AS had WHERE had.user_id = users.id
                          AND had.channel = '{channel}')"""


def _show_addresses(connection: Connection) -> None:
    schema = "temp" if connection.dialect.name == "sqlite" else "pg_temp"
    connection.execute(text(f"DROP VIEW IF EXISTS {schema}.address"))


def _scratch_run(connection: Connection, bundle: Bundle, occasion: Occasion, now: datetime) -> Run:
    values = {"campaign": bundle.campaign.name, "day": occasion.day.isoformat(), "now": to_micros(now)}
    connection.execute(
        text("""INSERT INTO run (id, campaign, version, local_date, state, as_of, closes_at, created_at)
                VALUES (1, :campaign, '', :day, 'planning', :now, :now, :now)"""),
        values,
    )
    name, over = bundle.campaign.name, closes_at(bundle.campaign, occasion)
    return Run(RunId(1), name, "", occasion.day, RunState.PLANNING, now, over, 0, 0, fires_at=occasion.at)


_DECISIONS = text("""
    SELECT CASE WHEN decision = 'planned' AND held_out THEN 'held_out' WHEN decision = 'planned' THEN 'planned'
                ELSE 'skipped: ' || coalesce(reason, '') END AS decision, arm, count(*) AS n
    FROM member GROUP BY 1, 2""")
_CHANNELS = text("""
    SELECT lane.channel, count(*) FROM message JOIN lane ON lane.id = message.lane_id WHERE NOT message.held_out
    GROUP BY lane.channel""")
_HOURS = text("""
    SELECT member.zone_key, message.due_at / 900000000 AS quarter, count(*) AS n FROM message
    JOIN member ON member.run_id = message.run_id AND member.user_id = message.user_id
    WHERE message.step = 1 AND NOT message.held_out GROUP BY 1, 2""")  # by quarters: zones differ by no less


def _count(connection: Connection, campaign: Campaign, item: Run, *, begun: bool) -> DryRun:
    decisions: Counter[str] = Counter()
    arms: dict[str, dict[str, int]] = {}
    for row in connection.execute(_DECISIONS):
        decisions[row.decision] += row.n
        arms.setdefault(row.arm, {})[row.decision] = row.n
    hours: Counter[int] = Counter()
    for row in connection.execute(_HOURS):
        zone = ZoneInfo(candidates(row.zone_key)[0])
        hours[from_micros(row.quarter * 900_000_000).astimezone(zone).hour] += row.n
    channels = {row[0]: row[1] for row in connection.execute(_CHANNELS)}
    stopped = None if begun else "max_audience"
    found = DryRun(
        campaign.name,
        label(campaign.schedule, item.occasion),
        item.audience,
        stopped,
        dict(decisions),
        arms,
        channels,
        dict(sorted(hours.items())),
    )
    return replace(found, places=tuple(tuple(row) for row in connection.execute(_WHERE).all()))


_WHERE = text("""
    SELECT arm, zone_key, country, count(*) FROM member WHERE decision = 'planned' AND NOT held_out
    GROUP BY arm, zone_key, country ORDER BY arm, zone_key, country""")
_OWED = text("SELECT count(*) FROM message WHERE step = :step AND arm = :arm AND NOT held_out")
_SOME = text("""
    SELECT user_id FROM message WHERE step = :step AND arm = :arm AND NOT held_out
    ORDER BY user_id * 40503 % 65536, user_id LIMIT :n""")


def _sms_cost(connection: Connection, bundle: Bundle, parts_of: PartsOf) -> SmsCost | None:
    """What the planned SMS come to; None when the campaign has none."""
    steps = [step for step in bundle.campaign.steps if step.channel == "sms"]
    if not steps:
        return None
    messages = parts = 0
    for step in steps:
        for arm in bundle.campaign.arms:
            asked = {"step": step.index, "arm": arm.name}
            owed = connection.execute(_OWED, asked).scalar_one()
            some = list(connection.execute(_SOME, {**asked, "n": SAMPLE}).scalars())
            found = parts_of(connection, bundle, arm, step, some)
            messages += round(owed * sum(1 for each in found if each) / len(found)) if found else 0
            parts += round(owed * sum(found) / len(found)) if found else 0
    return SmsCost(messages, parts, _left(connection, bundle))


def _left(connection: Connection, bundle: Bundle) -> tuple[int | None, int | None]:
    budget = bundle.campaign.budget
    if budget is None:
        return None, None
    gone = Spent() if budget.each_run else spent(connection, bundle.campaign.name)
    pairs = ((budget.sms, gone.sms), (budget.sms_parts, gone.sms_parts))
    sms, sms_parts = (None if most is None else max(most - used, 0) for most, used in pairs)
    return sms, sms_parts
