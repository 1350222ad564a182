"""The gate: asked once more for every claimed message, in the transaction that marks it.

Judges each message on its own, by the facts of :mod:`orchestrator.policy.facts`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from orchestrator.ledger.states import CampaignState, RunState, State
from orchestrator.policy.cues import Wait
from orchestrator.policy.decide import OBJECTIONS, Standing
from orchestrator.policy.facts import Facts, Terms
from orchestrator.policy.resolver import Drop, Hold, Opening, Send, resolve

RETRY_PREVIOUS = timedelta(minutes=1)
"""How long a later step waits for the one before it to be settled."""


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


Rule = Callable[[Facts, Terms, Opening, datetime], Verdict | None]
"""One rule of the gate: what it says of a message, None when it has no objection."""


def judge(facts: Facts, terms: Terms, door: Opening, now: datetime) -> Verdict:
    """What happens to one claimed message now: send it, hold it, use another address, or let it leave."""
    for _, rule in RULES:
        if (said := rule(facts, terms, door, now)) is not None:
            return said
    raise AssertionError("the window has the last word")


def consult(facts: Facts, terms: Terms, door: Opening, now: datetime) -> list[tuple[str, Verdict | None]]:
    """What every rule by itself says of a message, in their order: the first that objects is :func:`judge`'s answer.

    Rules of later steps are told where there are any, with what they ask about: ``not:opened``.
    """
    told = {name: f"{name}:{word}" for name, word in _words(terms).items()}
    told |= {NEEDLESS: NEEDLESS} if terms.needless else {}
    unasked = {*CONDITIONS} - told.keys() - ({CONVERTED} if terms.conversion is not None else set())
    return [(told.get(name, name), rule(facts, terms, door, now)) for name, rule in RULES if name not in unasked]


def _words(terms: Terms) -> dict[str, str]:
    asked = {NOT: terms.unless, IS: terms.needs, WAIT_FOR: terms.wait.cue if terms.wait else None}
    return {name: cue.word for name, cue in asked.items() if cue is not None}


NEEDLESS = "needless"
NOT, IS, WAIT_FOR, CONVERTED, _ = CONDITIONS = ("not", "is", "wait_for", "converted", NEEDLESS)
"""Rules that not every message has, under the words of the campaign file where it has one."""


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


def _needless(facts: Facts, _terms: Terms, _door: Opening, _now: datetime) -> Verdict | None:
    return Leave(State.SKIPPED, NEEDLESS) if facts.needless else None


def _came_back(facts: Facts, _terms: Terms, _door: Opening, _now: datetime) -> Verdict | None:
    return Leave(State.SKIPPED, "came_back") if facts.came_back else None


def _converted(facts: Facts, _terms: Terms, _door: Opening, _now: datetime) -> Verdict | None:
    return Leave(State.SKIPPED, "converted") if facts.converted else None


def _unless(facts: Facts, terms: Terms, _door: Opening, _now: datetime) -> Verdict | None:
    return Leave(State.SKIPPED, terms.unless.reason) if terms.unless is not None and facts.unless else None


def _step_before(facts: Facts, terms: Terms, _door: Opening, now: datetime) -> Verdict | None:
    if facts.previous in {State.PLANNED, State.CLAIMED, State.SENDING}:
        wait = now + RETRY_PREVIOUS
        return Hold(wait, "step_before") if wait < facts.deadline else None
    if facts.previous_sent_at is None or facts.previous_sent_at + terms.after <= now:
        return None
    return Hold(facts.previous_sent_at + terms.after, "step_before")


def _needs(facts: Facts, terms: Terms, _door: Opening, now: datetime) -> Verdict | None:
    if terms.needs is None or facts.needs:
        return None
    if facts.due_at is not None and facts.due_at > now:  # not claimed yet: somebody only asks
        return Hold(facts.due_at, terms.needs.waiting)
    return Leave(State.SKIPPED, terms.needs.missing)


def _awaited(facts: Facts, terms: Terms, _door: Opening, now: datetime) -> Verdict | None:
    """Until it happens, from the step before as it was sent; where nothing was sent, as it was planned."""
    wait, sent, happened = terms.wait, facts.previous_sent_at, facts.awaited_at
    if wait is None:
        return None
    assert facts.due_at is not None
    end = min(facts.due_at if sent is None else sent + wait.within, facts.deadline)
    if happened is not None and happened <= end:
        return _rested(happened + wait.after, wait, facts, now)
    return Hold(end, wait.cue.waiting) if end > now else Leave(State.SKIPPED, wait.cue.missing)


def _rested(at: datetime, wait: Wait, facts: Facts, now: datetime) -> Verdict | None:
    if at >= facts.deadline:
        return Leave(State.SKIPPED, "too_late_for_step")
    return Hold(at, wait.cue.resting) if at > now else None


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
    (NEEDLESS, _needless),
    ("came_back", _came_back),
    (CONVERTED, _converted),
    (NOT, _unless),
    ("step_before", _step_before),
    (IS, _needs),
    (WAIT_FOR, _awaited),
    ("late", _deadline),
    ("window", _window),
)
"""All rules of the gate under the reasons that they give, most binding first; the last one always answers."""
