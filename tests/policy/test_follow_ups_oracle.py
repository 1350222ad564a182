"""Conditions of later steps against an oracle in memory: random campaigns, random histories, planner, tick and gate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, select, update

from orchestrator.campaign.spec import Campaign, Step
from orchestrator.clock import ManualClock
from orchestrator.ledger.ids import message_id
from orchestrator.ledger.states import State
from orchestrator.plan import awaken as ticks
from orchestrator.plan.due import due_runs
from orchestrator.plan.rules import delay, rule_for, terms_of
from orchestrator.policy import cues, facts
from orchestrator.policy.facts import read_facts
from orchestrator.policy.gate import RETRY_PREVIOUS, Leave, Verdict, judge
from orchestrator.policy.resolver import Hold, Send, opening
from orchestrator.store import Store
from orchestrator.store.tables import event, message, receipt, users
from tests import world
from tests.dispatch.journey import LUNCH, MINUTE, ROUTING, ada, bundle
from tests.nightly import size

DEADLINE = LUNCH + timedelta(hours=10)
CHANNELS = ("push", "sms", "email", "push")
WORDS = ("reopened", "delivered", "opened", "clicked", "converted", "cart_updated")
EVENTS = ("app_open", "order_paid", "cart_updated", "message_opened", "link_clicked")
TOUCHES = EVENTS[3:]
GOAL = {"event": "app_open", "within": "24h", "conversion": {"event": "order_paid", "within": "72h"}}
NEVER_SENT = (State.PLANNED, State.SKIPPED, State.HELD_OUT)


@dataclass(frozen=True)
class Deed:
    """Something that happened. ``step``: of the message that was touched; ``people``: whether a person did it."""

    name: str
    at: datetime
    step: int
    confidence: object

    @property
    def people(self) -> bool:
        return self.confidence in {None, "human", 7}  # what is no word is not believed


@dataclass(frozen=True)
class Sent:
    """What became of an earlier step."""

    state: State
    at: datetime | None
    state_at: datetime


@dataclass(frozen=True)
class History:
    """Ada's: what she and machines did, and what became of her messages by step."""

    deeds: list[Deed]
    sent: dict[int, Sent]


def minutes(chance: Random, low: int, high: int) -> datetime:
    return LUNCH + chance.randint(low, high) * MINUTE


def a_condition(chance: Random, words: Sequence[str], *, exits: bool, last: bool) -> dict[str, Any]:
    known = [word for word in words if not (exits and word == "converted")]
    when: dict[str, Any] = {"after": f"{chance.choice((5, 20, 40))}m"}
    if chance.random() < 0.4:
        when["not"] = chance.choice(words)
    others = [word for word in known if word != when.get("not")]
    match chance.randrange(3) if others else 2:
        case 0:
            when["is"] = chance.choice(others)
        case 1:
            when |= {"wait_for": chance.choice(others), "within": f"{chance.choice((20, 90, 900 if last else 5))}m"}
            if chance.random() < 0.5:
                del when["after"]
        case _:
            pass
    return when


def a_history(chance: Random, there: list[int], now: datetime) -> History:
    deeds = [
        Deed(
            chance.choice(EVENTS),
            minutes(chance, -30, 200),
            chance.choice(there),
            chance.choice((None, "human", "suspect", "machine", 7)),
        )
        for _ in range(chance.randrange(8))
    ]
    sent, judged = {}, chance.choice(there)
    for step in there:
        if step >= judged:
            break
        state = chance.choice((State.PLANNED, State.SKIPPED, State.FAILED, *[State.ACCEPTED, State.DELIVERED] * 4))
        at = minutes(chance, 0, 60)
        if at <= now or state in NEVER_SENT:
            sent[step] = Sent(state, None if state in NEVER_SENT else at, min(at + chance.randrange(9) * MINUTE, now))
    return History([deed for deed in deeds if deed.at <= now], sent)


# --- the oracle -----------------------------------------------------------------------------------------------------


def first(word: str, history: History, step: int) -> datetime | None:
    """When it first happened, read plainly from the history."""
    name = {"reopened": "app_open", "converted": "order_paid"}.get(word, word)
    touched = [deed for deed in history.deeds if deed.name in TOUCHES and deed.step < step and deed.people]
    match word:
        case "clicked":
            found = [deed.at for deed in touched if deed.name == "link_clicked"]
        case "opened":
            found = [deed.at for deed in touched]
        case "delivered":
            arrived = [one.state_at for n, one in history.sent.items() if n < step and one.state is State.DELIVERED]
            found = [deed.at for deed in touched] + arrived
        case _:
            found = [deed.at for deed in history.deeds if deed.name == name and deed.at >= LUNCH]
    return min(found, default=None)


def happened(word: str | None, history: History, step: int) -> bool:
    return word is not None and first(word, history, step) is not None


def named(word: str, *, missing: bool = False) -> str:
    event_name = word not in WORDS[:5]
    return (("did_not:" if event_name else "not_") if missing else ("did:" if event_name else "")) + word


def after_the_tick(campaign: Campaign, step: Step, history: History, now: datetime) -> tuple[str, datetime, str | None]:
    """State, due time and reason of a later step that nobody has claimed, once the tick has passed."""
    assert step.when is not None
    due = LUNCH + delay(campaign, step)
    if step.when.wait_for is None:
        return "planned", due, None
    end, at = min(due + step.when.within, DEADLINE), first(step.when.wait_for, history, step.index)
    if at is not None and at <= end:
        return "planned", at + step.when.after, None
    if now >= DEADLINE:
        return "skipped", end, named(step.when.wait_for, missing=True)
    return "planned", end, f"waiting:{step.when.wait_for}"


def verdict(  # noqa: PLR0911  # one value each; read from the top
    campaign: Campaign, step: Step, history: History, there: list[int], due: datetime, now: datetime
) -> Verdict:
    """What the gate has to say."""
    when = step.when
    assert when is not None
    if campaign.exit_on_conversion and happened("converted", history, step.index):
        return Leave(State.SKIPPED, "converted")
    if happened(when.unless, history, step.index):
        return Leave(State.SKIPPED, named(str(when.unless)))
    before = [n for n in there if n < step.index]
    last = history.sent.get(before[-1]) if before else Sent(State.SKIPPED, None, now)
    if (last is None or last.state is State.PLANNED) and now + RETRY_PREVIOUS < DEADLINE:
        return Hold(now + RETRY_PREVIOUS, "step_before")
    sent_at = last.at if last is not None else None
    if sent_at is not None and when.wait_for is None and sent_at + when.after > now:
        return Hold(sent_at + when.after, "step_before")
    if when.needs is not None and not happened(when.needs, history, step.index):
        return (
            Hold(due, f"waiting:{when.needs}") if due > now else Leave(State.SKIPPED, named(when.needs, missing=True))
        )
    if when.wait_for is not None and (said := waited(step, history, sent_at, due, now)) is not None:
        return said
    return Leave(State.EXPIRED, "late") if now >= DEADLINE else Send(DEADLINE)


def waited(step: Step, history: History, sent_at: datetime | None, due: datetime, now: datetime) -> Verdict | None:
    assert step.when is not None
    word, at = str(step.when.wait_for), first(str(step.when.wait_for), history, step.index)
    end = min(due if sent_at is None else sent_at + step.when.within, DEADLINE)
    if at is None or at > end:
        return Hold(end, f"waiting:{word}") if end > now else Leave(State.SKIPPED, named(word, missing=True))
    if at + step.when.after >= DEADLINE:
        return Leave(State.SKIPPED, "too_late_for_step")
    return Hold(at + step.when.after, f"after:{word}") if at + step.when.after > now else None


# --- both -----------------------------------------------------------------------------------------------------------


def differences(store: Store, seed: int, words: Sequence[str] = WORDS) -> list[object]:
    """What planner, tick and gate say otherwise than the oracle, of one random campaign and history."""
    chance = Random(seed)
    world.wipe(store)
    exits = chance.random() < 0.5
    conditions = [a_condition(chance, words, exits=exits, last=n == len(CHANNELS)) for n in range(2, len(CHANNELS) + 1)]
    what = bundle(*conditions, channels=CHANNELS, goal=GOAL, exit_on_conversion=exits)
    user = ada(store, mail=chance.random() < 0.7, phone=chance.choice(("+491511", None)))
    world.person(store, "bob")
    clock = ManualClock(world.OPENING)
    world.launch(store, what, clock.now())
    with store.write() as connection:
        [(item, found)] = due_runs(connection, clock.now())
    world.planner(clock, ROUTING).plan(store, item, found)
    clock.instant = minutes(chance, 0, 180) if chance.random() < 0.9 else DEADLINE + MINUTE
    with store.read() as connection:
        mine = select(message).where(message.c.user_id == user).order_by(message.c.step)
        there = [row.step for row in connection.execute(mine)]
    history = a_history(chance, there, clock.now())
    apply(store, history, item.id, user, clock.now())
    ticks.awaken(store, clock)
    with store.read() as connection:
        rows = {row.step: row for row in connection.execute(mine)}
    wrong: list[object] = []
    for step in what.campaign.steps[1:]:
        if step.index in rows and step.index not in history.sent:
            row = rows[step.index]
            expected = after_the_tick(what.campaign, step, history, clock.now())
            if (row.state, row.due_at, row.reason) != expected:
                wrong.append((step.index, (row.state, row.due_at, row.reason), expected))
                continue
            terms = terms_of(what.campaign, step, item.as_of, clock.now())
            with store.read() as connection:
                known = read_facts(connection, [row.id], terms, clock.now())[row.id]
            rule = rule_for(what.campaign, what.campaign.arms[0], step, item.occasion)
            door = opening(rule, known.zone_key, known.country, world.planner(clock).quiet)
            said = judge(known, terms, door, clock.now())
            wanted = verdict(what.campaign, step, history, there, row.due_at, clock.now())
            if said != wanted:
                wrong.append((step.index, step.when, said, wanted))
    return wrong


def apply(store: Store, history: History, run: int, user: int, now: datetime) -> None:
    """Write a history where the real thing is written."""
    with store.write() as connection:
        bob = connection.execute(select(users.c.id).where(users.c.external_id == "bob")).scalar_one()
        for step, one in history.sent.items():
            values: dict[str, Any] = {"state": one.state, "sent_at": one.at, "state_at": one.state_at}
            values |= {"reason": None if one.state is not State.PLANNED else "released"}
            where = (message.c.run_id == run, message.c.user_id == user, message.c.step == step)
            connection.execute(update(message).where(*where).values(**values))
            if one.state is State.DELIVERED:
                own = message_id(run, user, step)
                row = {"provider": "fcm", "provider_id": str(own), "status": "ok", "message_id": own}
                connection.execute(insert(receipt).values(state=one.state, received_at=now, **row))
        for n, deed in enumerate(history.deeds):
            touched = deed.name in TOUCHES
            number = message_id(run, user, deed.step) if touched else None
            said = {} if deed.confidence is None else {"confidence": deed.confidence}
            facts_of = {"name": deed.name, "at": deed.at, "received_at": now, "properties": said}
            connection.execute(insert(event).values(user_id=user, source_id=f"{n}", message_id=number, **facts_of))
            connection.execute(insert(event).values(user_id=bob, source_id=f"bob {n}", **facts_of))  # not hers


@settings(max_examples=size(40, 2_000), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**40))
def test_planner_tick_and_gate_agree_with_the_oracle(shared_store: Store, seed: int) -> None:
    assert differences(shared_store, seed) == []


NAIVE = {
    "machines open too": ("opened", "= 'human'", "<> ''"),
    "whenever it was": ("cart_updated", "sign.at >= member.anchor", "sign.at >= 0"),
    "the step before alone": ("clicked", ">= m.id - m.step", ">= m.id - 1"),
    "the message itself too": ("opened", "< m.id", "<= m.id"),
    "accepted is delivered": ("delivered", "= 'delivered'", "IN ('delivered', 'accepted')"),
}


@pytest.mark.on("sqlite")
@pytest.mark.parametrize("naive", NAIVE)
def test_a_naive_reading_is_caught(shared_store: Store, monkeypatch: pytest.MonkeyPatch, naive: str) -> None:
    true, (word, right, wrong) = cues._found, NAIVE[naive]
    monkeypatch.setattr(cues, "_found", lambda *asked: ((at, sql.replace(right, wrong)) for at, sql in true(*asked)))
    caches = (facts._columns, ticks._wake_sql)
    try:
        for cache in caches:
            cache.cache_clear()
        assert any(differences(shared_store, seed, [word]) for seed in range(300))
    finally:
        for cache in caches:
            cache.cache_clear()
