"""One row per member with what became of it: the subquery that every count of a report is taken from.

A member's outcome is that of its steps, by the precedence in ``DECISIONS``: what reached the person comes first, what
is still to come goes before what did not work, so that only a final word is called one.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Subquery, and_, case, func, literal, or_, select, type_coerce

from orchestrator.ledger.ids import RUN_SHIFT, STEP_BITS
from orchestrator.ledger.states import State
from orchestrator.report.touches import CLICKED, OPENED, seen_by_person
from orchestrator.report.values import Launched
from orchestrator.store.tables import member, message, run

PENDING = "pending"

DECISIONS = (
    State.DELIVERED.value,
    State.ACCEPTED.value,
    State.UNDELIVERED.value,
    State.UNKNOWN.value,
    State.HELD_OUT.value,
    PENDING,
    State.FAILED.value,
    State.EXPIRED.value,
    State.SKIPPED.value,
)
"""The final decisions, in their order of precedence."""

RANK = {state: DECISIONS.index(state if state in DECISIONS else PENDING) for state in State}
REASONED = frozenset({State.UNDELIVERED, State.UNKNOWN, State.FAILED, State.EXPIRED, State.SKIPPED})
"""Decisions whose reason is worth telling apart; that of an accepted message is of an earlier hold."""

_STEPS = 1 << STEP_BITS


def runs_of(launched: Launched) -> Any:
    """The ids of the runs that a report is about, as a subquery: of those whose members are still there."""
    runs = select(run.c.id).where(run.c.campaign == launched.name, run.c.forgotten_at.is_(None))
    if launched.since is not None:
        runs = runs.where(or_(run.c.finished_at.is_(None), run.c.finished_at >= launched.since))
    return runs if launched.run is None else runs.where(run.c.id == launched.run)


def flag(condition: ColumnElement[bool]) -> ColumnElement[int]:
    """1 or 0, which can be summed on every database."""
    return case((condition, 1), else_=0)


def is_sent() -> ColumnElement[bool]:
    """At least one request was begun."""
    return message.c.sent_at.is_not(None)


def is_accepted() -> ColumnElement[bool]:
    """The provider took it. What the state says goes first: it spares the look-up."""
    return or_(_says_accepted(), is_opened())


def is_delivered() -> ColumnElement[bool]:
    """A receipt, or the person's opening it, proves that it arrived."""
    return or_(_says_delivered(), is_opened())


def _says_accepted() -> ColumnElement[bool]:
    return message.c.state.in_([State.ACCEPTED, State.DELIVERED, State.UNDELIVERED])


def _says_delivered() -> ColumnElement[bool]:
    return message.c.state == State.DELIVERED


def is_opened() -> ColumnElement[bool]:
    """A person opened it, or clicked in it. The short cut spares the look-up for what never left."""
    return and_(is_sent(), seen_by_person((OPENED, CLICKED)))


def is_clicked() -> ColumnElement[bool]:
    """A person clicked a link in it."""
    return and_(is_sent(), seen_by_person((CLICKED,)))


def reached() -> dict[str, ColumnElement[bool]]:
    """How far a message came, by stage."""
    return {
        "sent": is_sent(),
        "accepted": is_accepted(),
        "delivered": is_delivered(),
        "opened": is_opened(),
        "clicked": is_clicked(),
    }


def _outcomes(launched: Launched) -> Subquery:
    rank = case({state.value: place for state, place in RANK.items()}, value=message.c.state)
    said = {"took": _says_accepted(), "arrived": _says_delivered()}
    seen = {"sent": is_sent(), "opened": is_opened(), "clicked": is_clicked()}
    columns = [func.max(flag(condition)).label(name) for name, condition in (said | seen).items()]
    best = func.min(rank * _STEPS + message.c.step).label("best")
    mine = message.c.run_id.in_(runs_of(launched))
    grouped = select(message.c.run_id, message.c.user_id, best, *columns).where(mine)
    return grouped.group_by(message.c.run_id, message.c.user_id).subquery("outcome")


def _reached(outcome: Subquery) -> dict[str, ColumnElement[bool]]:
    """:func:`reached` of any of a member's messages; that one was opened is looked up once."""
    opened = outcome.c.opened == 1
    return {
        "sent": outcome.c.sent == 1,
        "accepted": or_(outcome.c.took == 1, opened),
        "delivered": or_(outcome.c.arrived == 1, opened),
        "opened": opened,
        "clicked": outcome.c.clicked == 1,
    }


def members(launched: Launched) -> Subquery:
    """One row per member of the runs that the report is about.

    ``final`` indexes ``DECISIONS``; ``anchor``, ``reopened_at`` and ``converted_at`` are microseconds; ``planned`` and
    ``sent`` … ``clicked`` are 1 or 0.
    """
    outcome, best = _outcomes(launched), message.alias("best")
    id_of_best = (
        outcome.c.run_id * literal(1 << RUN_SHIFT, BigInteger) + outcome.c.user_id * _STEPS + outcome.c.best % _STEPS
    )
    skipped, pending = DECISIONS.index(State.SKIPPED), DECISIONS.index(PENDING)
    final = case(
        (outcome.c.best.is_not(None), outcome.c.best // _STEPS),
        (member.c.decision == "skipped", skipped),
        else_=pending,
    )
    why = case((outcome.c.best.is_not(None), best.c.reason), (member.c.decision == "skipped", member.c.reason))
    told = final.in_([DECISIONS.index(state) for state in REASONED])
    instants = [
        type_coerce(member.c[name], BigInteger).label(name) for name in ("anchor", "reopened_at", "converted_at")
    ]
    flags = [flag(condition).label(name) for name, condition in _reached(outcome).items()]
    joined = member.outerjoin(
        outcome, and_(outcome.c.run_id == member.c.run_id, outcome.c.user_id == member.c.user_id)
    ).outerjoin(best, best.c.id == id_of_best)
    return (
        select(
            *(member.c[name] for name in ("run_id", "user_id", "arm", "held_out", "zone_key", "conversion_value")),
            *instants,
            *flags,
            flag(member.c.decision == "planned").label("planned"),
            final.label("final"),
            func.coalesce(case((told, why)), "").label("reason"),
        )
        .select_from(joined)
        .where(member.c.run_id.in_(runs_of(launched)))
        .subquery("facts")
    )


def first_exposures(launched: Launched) -> Subquery:
    """The members of each user's first run in which they were planned: the unit of analysis."""
    facts = members(launched)
    order = func.row_number().over(partition_by=facts.c.user_id, order_by=facts.c.run_id).label("turn")
    ranked = select(facts, order).where(facts.c.planned == 1).subquery("ranked")
    return select(ranked).where(ranked.c.turn == 1).subquery("exposed")
