"""What the gate asks the database: the facts of a whole batch of one lane's messages with one statement.

Only what the lane's terms ask for is read: a campaign without conditions pays for none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import NamedTuple

from sqlalchemy import Connection, TextClause, text

from orchestrator.clock import from_micros, span_micros, to_micros
from orchestrator.ledger.ids import RUN_SHIFT, ids_of_run
from orchestrator.ledger.states import CampaignState, RunState, State
from orchestrator.policy import cues, predicates
from orchestrator.policy.allowed import OnlyTo, allowed
from orchestrator.policy.carriers import Carriers, carried_sql
from orchestrator.policy.cues import Cue, Wait
from orchestrator.policy.decide import Standing
from orchestrator.store.dialect import among, of_run_sql, one_of_sql, read_all, within_sql


@dataclass(frozen=True, slots=True)
class Terms:
    """What the gate holds a lane's messages against: the same for all of them."""

    channel: str
    topic: str
    goal: str
    came_back_since: datetime | None
    """Drop who did the goal event since then; None: do not."""
    after: timedelta
    """How long after the step before."""
    seen_since: datetime
    """Addresses not seen since then are stale."""
    only_to: OnlyTo = None
    """Send to these users and addresses alone; None: to everybody."""
    carriers: Carriers = ()
    """The accounts that may carry the step; none known: any address will do."""
    conversion: str | None = None
    """Drop who did this event since the run opened for them."""
    unless: Cue | None = None
    """Drop whoever this has happened to."""
    needs: Cue | None = None
    """Drop whoever this has not happened to by the time that the message is due."""
    wait: Wait | None = None
    """What to wait for after the step before."""
    steps_before: int = 1
    waited: timedelta | None = None
    """Of a triggered campaign: how long it waits after a member's event. Coming back counts from the end of that."""
    needless: tuple[str, ...] = ()
    """Of a triggered campaign: drop who has done one of these since that event."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the database says of a claimed message at the gate, and of all others in a batch that are like it."""

    zone_key: str
    country: str
    campaign_state: CampaignState
    run_state: RunState
    standing: Standing
    same_address: bool
    """The planned address may still be used."""
    next_address: int | None
    """Another one, where that is gone."""
    came_back: bool
    receipt: bool
    previous: State | None
    previous_sent_at: datetime | None
    held_out: bool
    due_at: datetime | None
    """None where no rule asks for it."""
    deadline: datetime
    listed: bool = True
    """On the allow-list, if there is one."""
    converted: bool = False
    unless: bool = False
    """What ``Terms.unless`` speaks of has happened; false where nothing is asked."""
    needs: bool = False
    awaited_at: datetime | None = None
    """When what is waited for first happened."""
    anchor: datetime | None = None
    """When the run opened for them."""
    needless: bool = False
    """One of ``Terms.needless`` has happened."""


class _Asks(NamedTuple):
    """Which facts a lane's terms need: the others cost nothing. ``unless``, ``needs``, ``awaited``: a cue's kind."""

    came_back: bool
    named: bool
    converted: bool
    before: bool
    far: bool
    unless: str
    needs: str
    awaited: str
    triggered: bool
    needless: int


def _asks(terms: Terms) -> _Asks:
    return _Asks(
        came_back=terms.came_back_since is not None,
        named=terms.only_to is not None,
        converted=terms.conversion is not None,
        before=terms.steps_before > 0,
        far=terms.steps_before > 1,
        unless=terms.unless.kind if terms.unless else "",
        needs=terms.needs.kind if terms.needs else "",
        awaited=terms.wait.cue.kind if terms.wait else "",
        triggered=terms.waited is not None,
        needless=len(terms.needless),
    )


def _events(terms: Terms) -> dict[str, str]:
    """What the cues of the terms are called in the event table, by bind parameter."""
    asked = {"unless": terms.unless, "needs": terms.needs, "awaited": terms.wait.cue if terms.wait else None}
    named = {name: cue.event for name, cue in asked.items() if cue is not None and cue.event}
    named |= {f"needless{n}": event for n, event in enumerate(terms.needless)}
    return named if terms.conversion is None else {**named, "conversion": terms.conversion}


def _cues(dialect: str, asks: _Asks) -> tuple[str, str, str, str]:
    """The columns about what has happened since the run opened: converted, unless, needs, awaited_at."""
    return (
        cues.happened(dialect, cues.AN_EVENT, "conversion") if asks.converted else "FALSE",
        cues.happened(dialect, asks.unless, "unless") if asks.unless else "FALSE",
        cues.happened(dialect, asks.needs, "needs") if asks.needs else "FALSE",
        cues.first_at(dialect, asks.awaited, "awaited") if asks.awaited else "NULL",
    )


def _before(dialect: str, asks: _Asks) -> str:
    """The message of the step before, if any; ``far``: the last there is, for a step without an address has none."""
    if not asks.before:
        return ""
    which = "m.id - 1 AND m.step > 1"
    if asks.far:
        which = f"""(SELECT max(earlier.id) FROM message AS earlier
            WHERE earlier.id >= m.id - m.step AND earlier.id < m.id {within_sql(dialect, "earlier.id")})"""
    return f"LEFT JOIN message previous ON previous.id = {which} {within_sql(dialect, 'previous.id')}"


_TRIGGERING = """LEFT JOIN enrolled ON enrolled.run_id = m.run_id AND enrolled.user_id = m.user_id
    LEFT JOIN event AS triggering ON triggering.id = enrolled.event_id"""
"""The event that made somebody a member, where one did."""


def _needless(count: int) -> str:
    """Whether one of so many events has happened since the triggering one."""
    names = ", ".join(f":needless{n}" for n in range(count))
    done = f"""EXISTS (SELECT 1 FROM event AS other WHERE other.user_id = m.user_id AND other.name IN ({names})
        AND other.at >= triggering.at)"""
    return done if count else "FALSE"


@cache
def _columns(dialect: str, asks: _Asks) -> tuple[str, ...]:
    """What :class:`_Row` names, after the message's id and whether its address may still be used."""
    since = "triggering.at + :waited" if asks.triggered else ":since"
    return (
        "m.id",
        f"""({predicates.address_current("a")} AND a.user_id = m.user_id
             AND NOT {predicates.address_suppressed("a.value")})""",
        *("member.zone_key", "member.country", "campaign.state", "run.state"),
        predicates.consented("m.user_id"),
        predicates.user_suppressed("m.user_id"),
        predicates.address_suppressed("a.value"),
        predicates.did_since("m.user_id", since) if asks.came_back else "FALSE",
        *_cues(dialect, asks),
        _needless(asks.needless),
        "member.anchor",
        "EXISTS (SELECT 1 FROM receipt WHERE receipt.message_id = m.id AND receipt.state IS NOT NULL)",
        *(("previous.state", "previous.sent_at") if asks.before else ("NULL", "NULL")),
        "m.held_out",
        "m.due_at" if asks.needs or asks.awaited else "NULL",
        "m.deadline",
        *(("users.external_id", "a.value") if asks.named else ()),
    )


@cache
def _rest(dialect: str, asks: _Asks) -> str:
    return f"""
        FROM message m JOIN member ON member.run_id = m.run_id AND member.user_id = m.user_id
        JOIN run ON run.id = m.run_id JOIN campaign ON campaign.name = run.campaign
        JOIN address a ON a.id = m.address_id {"JOIN users ON users.id = m.user_id" if asks.named else ""}
        {_before(dialect, asks)} {_TRIGGERING if asks.triggered else ""}
        WHERE m.id {one_of_sql(dialect, "ids")} {of_run_sql(dialect, "member.run_id")}"""


def read_facts(connection: Connection, ids: Sequence[int], terms: Terms, now: datetime) -> dict[int, Facts]:
    """The facts of a batch of one lane's messages; those of whom the same is to be said share one value."""
    if not ids:
        return {}
    since, run = terms.came_back_since, ids[0] >> RUN_SHIFT
    values = {"ids": among(ids), "run": run, **ids_of_run(run), **_events(terms)}
    values |= {"channel": terms.channel, "topic": terms.topic, "goal": terms.goal}
    values |= {"now": to_micros(now), "seen_since": to_micros(terms.seen_since)}
    if terms.waited is not None:
        values["waited"] = span_micros(terms.waited)
    elif since is not None:
        values["since"] = to_micros(since)
    dialect, asks = connection.dialect.name, _asks(terms)
    rows = read_all(connection, _columns(dialect, asks), _rest(dialect, asks), values)
    others = _others(connection, [row[0] for row in rows if not row[1]], terms, values)
    uncarried = _uncarried(connection, [number for number, other in others.items() if other is None], terms, values)
    shared: dict[tuple[object, ...], Facts] = {}
    found: dict[int, Facts] = {}
    for number, usable, *rest in rows:
        other, carried = others.get(number), number not in uncarried
        reachable = bool(usable) or other is not None
        if (facts := shared.get(key := (reachable, other, carried, *rest))) is None:
            facts = shared[key] = _facts(_Row(*rest), other, terms.only_to, reachable=reachable, carried=carried)
        found[number] = facts
    return found


class _Row(NamedTuple):
    """What the statement gives besides addresses, in its order."""

    zone_key: str
    country: str
    campaign_state: str
    run_state: str
    consented: bool
    user_suppressed: bool
    address_suppressed: bool
    came_back: bool
    converted: bool
    unless: bool
    needs: bool
    awaited_at: int | None
    needless: bool
    anchor: int | None
    receipt: bool
    previous: str | None
    previous_sent_at: int | None
    held_out: bool
    due_at: int | None
    deadline: int
    user_name: str = ""
    address: str = ""


def _facts(row: _Row, other: int | None, listed: OnlyTo, *, reachable: bool, carried: bool) -> Facts:
    """``reachable``: there is an address, the planned one or an ``other``."""
    suppressed = bool(row.user_suppressed) or (bool(row.address_suppressed) and not reachable and carried)
    return Facts(
        zone_key=row.zone_key,
        country=row.country,
        campaign_state=_CAMPAIGNS[row.campaign_state],
        run_state=_RUNS[row.run_state],
        standing=Standing(bool(row.consented), suppressed, reachable or not carried, carried=carried),
        same_address=reachable and other is None,
        next_address=other,
        came_back=bool(row.came_back),
        receipt=bool(row.receipt),
        previous=None if row.previous is None else _STATES[row.previous],
        previous_sent_at=_instant(row.previous_sent_at),
        held_out=bool(row.held_out),
        due_at=_instant(row.due_at),
        deadline=from_micros(row.deadline),
        converted=bool(row.converted),
        unless=bool(row.unless),
        needs=bool(row.needs),
        awaited_at=_instant(row.awaited_at),
        anchor=_instant(row.anchor),
        needless=bool(row.needless),
        listed=listed is None or allowed(listed, row.user_name, row.address),
    )


_CAMPAIGNS = {state.value: state for state in CampaignState}
_RUNS = {state.value: state for state in RunState}
_STATES = {state.value: state for state in State}


def _instant(micros: int | None) -> datetime | None:
    return None if micros is None else from_micros(micros)


@cache
def _others_sql(dialect: str, carriers: Carriers) -> TextClause:
    unused = predicates.not_used_by_another("m.id", "m.run_id", "m.step", within_sql(dialect, "taken.id"))
    best = predicates.best_address("m.user_id", f"{unused} {carried_sql(carriers, 'choice', 'member.country')}")
    return text(f"""
        SELECT m.id, {best} AS other FROM message m
        JOIN member ON member.run_id = m.run_id AND member.user_id = m.user_id
        WHERE m.id {one_of_sql(dialect, "ids")} {of_run_sql(dialect, "member.run_id")}""")


def _others(
    connection: Connection, ids: Sequence[int], terms: Terms, values: dict[str, object]
) -> dict[int, int | None]:
    """The best address there is for messages whose own may not be used any more: few, so they are asked of apart."""
    if not ids:
        return {}
    names = ("channel", "now", "seen_since", "first_id", "past_id", "run")
    asked = {**{name: values[name] for name in names}, "ids": among(ids)}
    found = connection.execute(_others_sql(connection.dialect.name, terms.carriers), asked)
    return {row.id: row.other for row in found}


@cache
def _uncarried_sql(dialect: str) -> TextClause:
    unused = predicates.not_used_by_another("m.id", "m.run_id", "m.step", within_sql(dialect, "taken.id"))
    best = predicates.best_address("m.user_id", unused)
    return text(f"SELECT m.id FROM message m WHERE m.id {one_of_sql(dialect, 'ids')} AND {best} IS NOT NULL")


def _uncarried(connection: Connection, ids: Sequence[int], terms: Terms, values: dict[str, object]) -> set[int]:
    """Those of the messages without an address whose users have one, only that no account takes it."""
    if not ids or not terms.carriers:
        return set()
    asked = {name: values[name] for name in ("channel", "now", "seen_since", "first_id", "past_id")}
    return set(connection.execute(_uncarried_sql(connection.dialect.name), {**asked, "ids": among(ids)}).scalars())
