"""The gate: asked once more for every claimed message, in the transaction that marks it.

Reads the facts of a whole batch with one statement, then judges each message on its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache

from sqlalchemy import Connection, TextClause, text

from orchestrator.clock import from_micros, to_micros
from orchestrator.ledger.states import CampaignState, RunState, State
from orchestrator.policy import predicates
from orchestrator.policy.allowed import OnlyTo, allowed
from orchestrator.policy.carriers import Carriers, carried_sql
from orchestrator.policy.decide import OBJECTIONS, Standing
from orchestrator.policy.resolver import Drop, Hold, Opening, Send, resolve
from orchestrator.store.dialect import among, among_sql

RETRY_PREVIOUS = timedelta(minutes=1)
"""How long a later step waits for the one before it to be settled."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What the gate holds a lane's messages against: the same for all of them."""

    channel: str
    topic: str
    goal: str
    came_back_since: datetime | None
    """Drop who did the goal event since then; None: do not."""
    not_reopened: bool
    """Drop who did the goal event since the run opened for them."""
    after: timedelta
    """How long after the step before."""
    seen_since: datetime
    """Addresses not seen since then are stale."""
    only_to: OnlyTo = None
    """Send to these users and addresses alone; None: to everybody."""
    carriers: Carriers = ()
    """The accounts that may carry the step; none known: any address will do."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the database says of one claimed message at the gate."""

    id: int
    zone_key: str
    country: str
    campaign_state: CampaignState
    run_state: RunState
    standing: Standing
    same_address: bool
    """The planned address may still be used."""
    next_address: int | None
    came_back: bool
    reopened: bool
    receipt: bool
    previous: State | None
    previous_sent_at: datetime | None
    held_out: bool
    deadline: datetime
    listed: bool = True
    """On the allow-list, if there is one."""


@dataclass(frozen=True, slots=True)
class Readdress:
    """The planned address is gone; use this one."""

    address_id: int


@dataclass(frozen=True, slots=True)
class Leave:
    """Out of the queue for good."""

    state: State
    reason: str


Verdict = Send | Hold | Readdress | Leave


@cache
def _sql(dialect: str, carriers: Carriers, *, came_back: bool, not_reopened: bool, named: bool) -> TextClause:
    back = predicates.did_since("m.user_id", ":since") if came_back else "FALSE"
    reopened = predicates.did_since("m.user_id", "member.anchor") if not_reopened else "FALSE"
    names = ", users.external_id AS user_name, a.value AS address" if named else ""
    people = "JOIN users ON users.id = m.user_id" if named else ""
    unused = predicates.not_used_by_another("m.id", "m.run_id", "m.step")
    carried = carried_sql(carriers, "choice", "member.country")
    return text(f"""
        SELECT m.id, member.zone_key, member.country, campaign.state AS campaign_state, run.state AS run_state,
               {predicates.consented("m.user_id")} AS consented,
               {predicates.user_suppressed("m.user_id")} AS user_suppressed,
               {predicates.address_suppressed("a.value")} AS address_suppressed, m.address_id,
               CASE WHEN {predicates.address_current("a")} AND a.user_id = m.user_id
                         AND NOT {predicates.address_suppressed("a.value")} THEN m.address_id
                    ELSE {predicates.best_address("m.user_id", f"{unused} {carried}")} END AS best_address,
               {back} AS came_back, {reopened} AS reopened,
               EXISTS (SELECT 1 FROM receipt WHERE receipt.message_id = m.id AND receipt.state IS NOT NULL) AS receipt,
               previous.state AS previous, previous.sent_at AS previous_sent_at, m.held_out, m.deadline{names}
        FROM message m JOIN member ON member.run_id = m.run_id AND member.user_id = m.user_id
        JOIN run ON run.id = m.run_id JOIN campaign ON campaign.name = run.campaign
        JOIN address a ON a.id = m.address_id {people}
        LEFT JOIN message previous ON previous.id = m.id - 1 AND m.step > 1
        WHERE m.id IN {among_sql(dialect, "ids")}""")


def read_facts(connection: Connection, ids: Sequence[int], terms: Terms, now: datetime) -> dict[int, Facts]:
    """The facts of a batch of one lane's messages."""
    since, listed = terms.came_back_since, terms.only_to
    values = {"ids": among(ids), "channel": terms.channel, "topic": terms.topic, "goal": terms.goal}
    times = {"now": to_micros(now), "seen_since": to_micros(terms.seen_since)}
    if since is not None:
        times["since"] = to_micros(since)
    asks = {"came_back": since is not None, "not_reopened": terms.not_reopened, "named": listed is not None}
    sql = _sql(connection.dialect.name, terms.carriers, **asks)
    rows = connection.execute(sql, {**values, **times}).all()
    uncarried = _uncarried(connection, [row.id for row in rows if row.best_address is None], terms, {**values, **times})
    facts = {}
    for row in rows:
        sent = row.previous_sent_at
        carried = row.id not in uncarried
        reachable = row.best_address is not None or not carried
        suppressed = bool(row.user_suppressed) or (bool(row.address_suppressed) and not reachable)
        facts[row.id] = Facts(
            id=row.id,
            zone_key=row.zone_key,
            country=row.country,
            campaign_state=CampaignState(row.campaign_state),
            run_state=RunState(row.run_state),
            standing=Standing(bool(row.consented), suppressed, reachable, carried=carried),
            same_address=row.best_address == row.address_id,
            next_address=row.best_address,
            came_back=bool(row.came_back),
            reopened=bool(row.reopened),
            receipt=bool(row.receipt),
            previous=None if row.previous is None else State(row.previous),
            previous_sent_at=None if sent is None else from_micros(sent),
            held_out=bool(row.held_out),
            deadline=from_micros(row.deadline),
            listed=listed is None or allowed(listed, row.user_name, row.address),
        )
    return facts


@cache
def _uncarried_sql(dialect: str) -> TextClause:
    best = predicates.best_address("m.user_id", predicates.not_used_by_another("m.id", "m.run_id", "m.step"))
    return text(f"SELECT m.id FROM message m WHERE m.id IN {among_sql(dialect, 'ids')} AND {best} IS NOT NULL")


def _uncarried(connection: Connection, ids: Sequence[int], terms: Terms, values: dict[str, object]) -> set[int]:
    """Those of the messages without an address whose users have one, only that no account takes it."""
    if not ids or not terms.carriers:
        return set()
    asked = {name: values[name] for name in ("channel", "now", "seen_since")}
    return set(connection.execute(_uncarried_sql(connection.dialect.name), {**asked, "ids": among(ids)}).scalars())


Rule = Callable[[Facts, Terms, Opening, datetime], Verdict | None]
"""One rule of the gate: what it says of a message, None when it has no objection."""


def judge(facts: Facts, terms: Terms, door: Opening, now: datetime) -> Verdict:
    """What happens to one claimed message now: send it, hold it, use another address, or let it leave."""
    for _, rule in RULES:
        if (said := rule(facts, terms, door, now)) is not None:
            return said
    raise AssertionError("the window has the last word")


def consult(facts: Facts, terms: Terms, door: Opening, now: datetime) -> list[tuple[str, Verdict | None]]:
    """What every rule by itself says of a message, in their order: the first that objects is :func:`judge`'s answer."""
    return [(name, rule(facts, terms, door, now)) for name, rule in RULES]


def _receipt(facts: Facts, _terms: Terms, _door: Opening, _now: datetime) -> Verdict | None:
    return Leave(State.ACCEPTED, "receipt") if facts.receipt else None


def _only_to(facts: Facts, _terms: Terms, _door: Opening, _now: datetime) -> Verdict | None:
    return None if facts.listed else Leave(State.SKIPPED, "only_to")


def _stopped(facts: Facts, _terms: Terms, _door: Opening, _now: datetime) -> Verdict | None:
    stopped = facts.campaign_state is CampaignState.STOPPED or facts.run_state is RunState.STOPPED
    return Leave(State.SKIPPED, "stopped") if stopped else None


def _paused(facts: Facts, _terms: Terms, _door: Opening, now: datetime) -> Verdict | None:
    return Hold(now, "paused") if facts.campaign_state is CampaignState.PAUSED else None


def _objection(reason: str, applies: Callable[[Standing], bool]) -> Rule:
    leave = Leave(State.SKIPPED, reason)
    return lambda facts, _terms, _door, _now: leave if applies(facts.standing) else None


def _next_address(facts: Facts, _terms: Terms, _door: Opening, _now: datetime) -> Verdict | None:
    if facts.same_address or facts.next_address is None:
        return None
    return Readdress(facts.next_address)


def _came_back(facts: Facts, _terms: Terms, _door: Opening, _now: datetime) -> Verdict | None:
    return Leave(State.SKIPPED, "came_back") if facts.came_back else None


def _reopened(facts: Facts, _terms: Terms, _door: Opening, _now: datetime) -> Verdict | None:
    return Leave(State.SKIPPED, "reopened") if facts.reopened else None


def _step_before(facts: Facts, terms: Terms, _door: Opening, now: datetime) -> Verdict | None:
    if facts.previous in {State.PLANNED, State.CLAIMED, State.SENDING}:
        wait = now + RETRY_PREVIOUS
        return Hold(wait, "step_before") if wait < facts.deadline else None
    if facts.previous_sent_at is None or facts.previous_sent_at + terms.after <= now:
        return None
    return Hold(facts.previous_sent_at + terms.after, "step_before")


def _deadline(facts: Facts, _terms: Terms, _door: Opening, now: datetime) -> Verdict | None:
    return Leave(State.EXPIRED, "late") if now >= facts.deadline else None


def _window(facts: Facts, _terms: Terms, door: Opening, now: datetime) -> Verdict:
    match resolve(door, now):
        case Drop(reason):
            return Leave(State.SKIPPED, reason)
        case Hold() as hold:
            return hold
        case Send() as send:
            return Leave(State.HELD_OUT, "holdout") if facts.held_out else send


RULES: tuple[tuple[str, Rule], ...] = (
    ("receipt", _receipt),
    ("only_to", _only_to),
    ("stopped", _stopped),
    ("paused", _paused),
    *((reason, _objection(reason, applies)) for reason, applies in OBJECTIONS),
    ("next_address", _next_address),
    ("came_back", _came_back),
    ("reopened", _reopened),
    ("step_before", _step_before),
    ("late", _deadline),
    ("window", _window),
)
"""All rules of the gate under the reasons that they give, most binding first; the last one always answers."""
