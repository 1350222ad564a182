"""The planner's SQL: the policy in its set form, for one chunk of users.

First a member row for everybody whom the segment selected, then a message per step for whom it is owed, then the reason
for those who got none. The facts are :mod:`orchestrator.policy.predicates`, the same that the gate asks.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from functools import cache

from sqlalchemy import (
    Connection,
    Insert,
    TextClause,
    bindparam,
    case,
    insert,
    literal,
    null,
    or_,
    select,
    text,
)

from orchestrator.audience.segment import clause
from orchestrator.campaign.spec import Campaign, Step
from orchestrator.campaign.version import Bundle
from orchestrator.clock import span_micros, to_micros
from orchestrator.experiment.assign import arm_sql, held_out_sql
from orchestrator.ledger.ids import RUN_SHIFT, STEP_BITS, USER_BITS, ids_of_run
from orchestrator.ledger.lanes import lanes_of
from orchestrator.ledger.runs import Run
from orchestrator.plan import best_members
from orchestrator.plan.audience import audience
from orchestrator.plan.awaken import wake_planned
from orchestrator.plan.places import COUNTRY
from orchestrator.plan.rules import delay, seen_since, wait_of
from orchestrator.policy import predicates
from orchestrator.policy.carriers import Carriers, carried_sql, choice_sql, parted, without
from orchestrator.store.dialect import among, among_sql, within_sql
from orchestrator.store.tables import member, users

Range = tuple[int, int]
"""Users after the first id, up to and including the second."""
EVERYBODY: Range = (0, 1 << USER_BITS)
TOGETHER = 32
"""Users with neighbouring ids who are due at the same moment: what a worker claims together lies together on disk."""

_COLUMNS = ("run_id", "user_id", "arm", "held_out", "decision", "reason", "zone_key", "country", "anchor")
_ANCHOR = """(SELECT slot.due_at FROM slot WHERE slot.run_id = :run AND slot.step = 0 AND slot.arm = ''
    AND slot.zone_key = users.zone_key AND slot.country = {place})"""


def members_statement(
    bundle: Bundle,
    dialect: str,
    place: str = COUNTRY,
    day: date | None = None,
    only: Sequence[TextClause] = (),
) -> Insert:
    """The statement of :func:`member_rows`: made once a run, for its segment is read and checked in the making.

    ``place``: SQL for where a user is, of :mod:`orchestrator.plan.places`; ``day``: the run's local date, which has to
    be known where the schedule is relative to a date of each user's own; ``only``: what else has to hold of a user.
    """
    campaign = bundle.campaign
    arms = [(arm.name, arm.weight) for arm in campaign.arms]
    excluded = or_(literal(value=False), *(clause(name, bundle.segments, dialect) for name in campaign.exclude))
    chosen = select(
        text(":run"),
        users.c.id,
        text(arm_sql(dialect, "campaign", "users.external_id", arms)),
        text(held_out_sql(dialect, "campaign", "users.external_id", campaign.holdout)),
        case((excluded, literal("skipped")), else_=literal("planned")),
        case((excluded, literal("excluded")), else_=null()),
        users.c.zone_key,
        text(place),
        text(_ANCHOR.format(place=place)),
    ).where(
        users.c.id > bindparam("low"),
        users.c.id <= bindparam("high"),
        audience(bundle, [] if day is None else [day], dialect),
        *only,
    )
    return insert(member).from_select(_COLUMNS, chosen, include_defaults=False)


def member_rows(connection: Connection, statement: Insert, item: Run, span: Range, **more: object) -> int:
    """A row for every user of the chunk whom the segment selects; how many. ``more``: what its ``only`` asks for."""
    values = more | {"campaign": item.campaign, "as_of": item.as_of, "run": item.id, "low": span[0], "high": span[1]}
    done = connection.execute(statement, values, execution_options={"preserve_rowcount": True})  # psycopg: -1 else
    return done.rowcount


def _spread(alias: str) -> str:
    """A member's stable place within the spread: Knuth's multiplicative hash, 16 bits of it, for neighbours alike."""
    return f"{alias}.due_at + ((m.user_id / {TOGETHER} + 1) * 40503 % 65536) * {alias}.spread / 65536"


_FIRST_DUE = _spread("s")
_LATER_DUE = f"""CASE WHEN f.due_at IS NULL OR {_spread("f")} + :after < s.due_at THEN s.due_at
                      ELSE {_spread("f")} + :after END"""
_FIRST_HOUR, _EARLIER_HOUR = (
    f"CASE WHEN {hour}.due_at IS NULL THEN {_spread(slot)} ELSE {_spread(hour)} END"
    for slot, hour in (("s", "h"), ("f", "g"))
)
_LATER_HOUR = f"CASE WHEN h.due_at IS NULL THEN s.due_at ELSE {_spread('h')} END"
_AFTER = f"({_EARLIER_HOUR} + :after)"
_LATER_BEST = f"CASE WHEN f.due_at IS NULL OR {_AFTER} < {_LATER_HOUR} THEN {_LATER_HOUR} ELSE {_AFTER} END"
_HOUR_PASSED = f"(f.due_at IS NOT NULL AND {_AFTER} > {_spread('h')})"
_WAIT_END, _BEST_WAIT_END = (
    f"CASE WHEN {end} < s.deadline THEN {end} ELSE s.deadline END"
    for before in (f"{_spread('f')} + :after", _AFTER)
    for end in [f"(CASE WHEN f.due_at IS NULL THEN s.due_at ELSE {before} END + :within)"]
)
"""Where a step waits for something to happen: it is due when the wait is over, and brought forward if it does."""
_MESSAGE = f"((:run * {1 << RUN_SHIFT}) + m.user_id * {1 << STEP_BITS} + :step)"


def _named(dialect: str, user: str, *, some: bool) -> str:
    """One more condition where a chunk's users are named one by one."""
    return f"AND {user} IN {among_sql(dialect, 'some')}" if some else ""


def _with(values: dict[str, object], some: Sequence[int] | None) -> dict[str, object]:
    return values if some is None else {**values, "some": among(some)}


@cache
def _messages_sql(
    dialect: str, carriers: Carriers, *, first: bool, best: bool = False, some: bool = False, waits: bool = False
) -> TextClause:
    """The statement of :func:`step_messages`; ``:lane0``, ``:lane1``, … are the carriers' lanes in their order.

    ``best``: the campaign asks for best hours; ``some``: the members are named; ``waits``: the step, for something.
    """
    due, lane, people = _FIRST_DUE if first else _LATER_DUE, ":lane0", ""
    if len(carriers) > 1:
        lanes = {one.name: f"CAST(:lane{n} AS BIGINT)" for n, one in enumerate(carriers)}
        lane = choice_sql(dialect, carriers, lanes, "a", "m.country", "users.external_id")
        people = "JOIN users ON users.id = m.user_id" if parted(carriers) else ""
    timed = hours = ""
    if best:
        due, people = _FIRST_HOUR if first else _LATER_BEST, "JOIN users ON users.id = m.user_id"
        passed = best_members.timed(dialect) if first else best_members.timed(dialect, late=_HOUR_PASSED)
        timed, hours = f", {passed}", best_members.joins(dialect, first=first)
    address = predicates.best_address("m.user_id", carried_sql(carriers, "choice", "m.country"))
    end = reason = ""
    if waits:
        end, reason, timed = _BEST_WAIT_END if best else _WAIT_END, ", CAST(:waiting AS TEXT)", ", NULL" * best
    return text(f"""
        INSERT INTO message (id, run_id, user_id, step, lane_id, address_id, arm, held_out, state, due_at, deadline,
                             state_at{", timed" if best else ""}{", reason" if waits else ""})
        SELECT {_MESSAGE}, m.run_id, m.user_id, :step, {lane}, a.id, m.arm, m.held_out, 'planned', {end or due},
               s.deadline, :now{timed}{reason}
        FROM member m
        JOIN slot s ON s.run_id = m.run_id AND s.step = :step AND s.arm = m.arm AND s.zone_key = m.zone_key
                   AND s.country = m.country
        LEFT JOIN slot f ON f.run_id = m.run_id AND f.step = 1 AND f.arm = m.arm AND f.zone_key = m.zone_key
                   AND f.country = m.country
        JOIN address a ON a.id = {address} {people} {hours}
        WHERE m.run_id = :run AND m.user_id > :low AND m.user_id <= :high AND m.decision = 'planned'
          {_named(dialect, "m.user_id", some=some)} AND s.due_at IS NOT NULL AND {due} < s.deadline
          AND {predicates.consented("m.user_id")} AND NOT {predicates.user_suppressed("m.user_id")}
        ON CONFLICT DO NOTHING""")


def step_messages(  # one value each
    connection: Connection,
    item: Run,
    campaign: Campaign,
    step: Step,
    span: Range,
    now: datetime,
    carriers: Carriers,
    some: Sequence[int] | None = None,
) -> None:
    """A message of this step for every member of the chunk to whom it is owed, in the lane of the account that fits.

    ``some``, here and below: of these users of the chunk alone.
    """
    lanes = lanes_of(connection, item.id, step.index)
    there = without(carriers, {one.name for one in carriers} - lanes.keys())
    asks = {"first": step.index == 1, "best": campaign.at_best_hours, "some": some is not None}
    wait = wait_of(campaign, step)
    asks |= {"waits": wait is not None}
    sql = _messages_sql(connection.dialect.name, there, **asks)
    values = _with({**_values(item, campaign, step, span, now), "step": step.index}, some)
    values |= {f"lane{n}": lanes[one.name] for n, one in enumerate(there)}
    if step.index > 1:
        values["after"] = span_micros(delay(campaign, step))
    if campaign.at_best_hours:
        values |= {"campaign": item.campaign, "day": item.occasion.key}
        values |= {"first_channel": campaign.steps[0].channel} if step.index > 1 else {}
    if wait is not None:
        values |= {"waiting": wait.cue.waiting, "within": span_micros(wait.within)}
    connection.execute(sql, values)
    if wait is not None:
        wake_planned(connection, item.id, step.index, wait, span, now, some)


@cache
def _own_addresses_sql(dialect: str, *, some: bool) -> TextClause:
    return text(f"""
    INSERT INTO address (user_id, channel, kind, value, last_seen_at, valid_from)
    SELECT users.id, :channel, 'user', users.external_id, :now, :now FROM member JOIN users ON users.id = member.user_id
    WHERE member.run_id = :run AND member.user_id > :low AND member.user_id <= :high AND member.decision = 'planned'
      {_named(dialect, "member.user_id", some=some)}
      AND NOT EXISTS (SELECT 1 FROM address AS had WHERE had.user_id = users.id AND had.channel = :channel)
      AND NOT EXISTS (SELECT 1 FROM user_alias AS old WHERE old.old_user_id = users.id)
    ON CONFLICT DO NOTHING""")


def own_addresses(  # one value each
    connection: Connection,
    item: Run,
    campaign: Campaign,
    span: Range,
    now: datetime,
    some: Sequence[int] | None = None,
) -> None:
    """On the app's own channels a user's address is their own id: members who never had one get it here."""
    for channel in sorted({step.channel for step in campaign.steps} & set(predicates.OWN_ID)):
        values: dict[str, object] = {"run": item.id, "low": span[0], "high": span[1], "channel": channel}
        values["now"] = to_micros(now)
        sql = _own_addresses_sql(connection.dialect.name, some=some is not None)
        connection.execute(sql, _with(values, some))


def _reason(carriers: Carriers) -> str:
    """Why a member gets no first step, most binding reason first, as :func:`orchestrator.policy.decide.objection`."""
    carried = carried_sql(carriers, "choice", "member.country")
    best = predicates.best_address("member.user_id", carried)
    uncarried = f"WHEN {best} IS NULL THEN 'no_account'" if carried else ""
    return f"""CASE
    WHEN {predicates.user_suppressed("member.user_id")} THEN 'suppressed'
    WHEN {predicates.best_address("member.user_id")} IS NULL
         AND {predicates.only_suppressed_addresses("member.user_id")} THEN 'suppressed'
    WHEN NOT {predicates.consented("member.user_id")} THEN 'no_consent'
    WHEN {predicates.best_address("member.user_id")} IS NULL THEN 'no_address'
    {uncarried}
    ELSE coalesce((SELECT slot.reason FROM slot WHERE slot.run_id = member.run_id AND slot.step = 1
                   AND slot.arm = member.arm AND slot.zone_key = member.zone_key AND slot.country = member.country),
                  'address_taken') END"""


_OWN = f"(member.run_id * {1 << RUN_SHIFT} + member.user_id * {1 << STEP_BITS})"


@cache
def _skip_sql(dialect: str, carriers: Carriers, *, some: bool) -> TextClause:
    # Asked for by itself: joined, PostgreSQL reads all messages of a run that it has not counted for each member.
    of_run = within_sql(dialect, "message.id")
    return text(f"""
    UPDATE member SET reason = {_reason(carriers)}, decision = CASE
        WHEN EXISTS (SELECT 1 FROM message WHERE message.id > {_OWN} + 1 AND message.id <= {_OWN} + 15 {of_run})
        THEN 'planned' ELSE 'skipped' END
    WHERE member.run_id = :run AND member.user_id > :low AND member.user_id <= :high AND member.decision = 'planned'
      {_named(dialect, "member.user_id", some=some)}
      AND (SELECT message.id FROM message WHERE message.id = {_OWN} + 1 {of_run}) IS NULL""")


def skip_the_rest(  # one value each
    connection: Connection,
    item: Run,
    campaign: Campaign,
    span: Range,
    now: datetime,
    carriers: Carriers,
    some: Sequence[int] | None = None,
) -> None:
    """Say why of every member of the chunk who gets no first step; skipped if they get no later one either."""
    sql = _skip_sql(connection.dialect.name, carriers, some=some is not None)
    connection.execute(sql, _with(_values(item, campaign, campaign.steps[0], span, now), some))


def _values(item: Run, campaign: Campaign, step: Step, span: Range, now: datetime) -> dict[str, object]:
    times = {"now": to_micros(now), "seen_since": to_micros(seen_since(step.channel, now))}
    within = {"run": item.id, "low": span[0], "high": span[1], **ids_of_run(item.id)}
    return {**within, "channel": step.channel, "topic": campaign.topic, **times}
