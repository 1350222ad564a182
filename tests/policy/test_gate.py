"""The gate's verdicts, one fact at a time."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orchestrator.ledger.states import CampaignState, RunState, State
from orchestrator.policy.cues import Cue, Wait
from orchestrator.policy.decide import Standing
from orchestrator.policy.facts import Facts, Terms
from orchestrator.policy.gate import RETRY_PREVIOUS, Leave, Readdress, consult, judge
from orchestrator.policy.resolver import Hold, Opening, Send
from orchestrator.timing.instants import InstantSet

NOW = datetime(2026, 12, 7, 10, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
CLOSES = NOW + 30 * MINUTE
OPEN = Opening(InstantSet(((NOW - 30 * MINUTE, CLOSES),)))
FINE = Standing(consented=True, suppressed=False, reachable=True)
BACK, ORDER, OPENED = Cue("reopened", "app_open"), Cue("order_paid", "order_paid"), Cue("opened")
TERMS = Terms(
    "push",
    "promotions",
    "app_open",
    NOW - 600 * MINUTE,
    25 * MINUTE,
    NOW - timedelta(days=270),
    conversion="order_paid",
    unless=BACK,
)
FACTS = Facts(
    zone_key="Europe/Berlin",
    country="DE",
    campaign_state=CampaignState.RUNNING,
    run_state=RunState.ACTIVE,
    standing=FINE,
    same_address=True,
    next_address=7,
    came_back=False,
    receipt=False,
    previous=None,
    previous_sent_at=None,
    held_out=False,
    due_at=NOW - MINUTE,
    deadline=CLOSES,
)


def verdict(now: datetime = NOW, **changes: Any) -> object:
    return judge(replace(FACTS, **changes), TERMS, OPEN, now)


def out(state: State, reason: str) -> Leave:
    return Leave(state, reason)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, Send(CLOSES)),
        ({"held_out": True}, out(State.HELD_OUT, "holdout")),
        ({"receipt": True}, out(State.ACCEPTED, "receipt")),
        ({"campaign_state": CampaignState.STOPPED}, out(State.SKIPPED, "stopped")),
        ({"run_state": RunState.STOPPED}, out(State.SKIPPED, "stopped")),
        ({"campaign_state": CampaignState.PAUSED}, Hold(NOW, "paused")),
        ({"standing": replace(FINE, suppressed=True)}, out(State.SKIPPED, "suppressed")),
        ({"standing": replace(FINE, consented=False)}, out(State.SKIPPED, "no_consent")),
        ({"standing": replace(FINE, reachable=False), "next_address": None}, out(State.SKIPPED, "no_address")),
        ({"same_address": False}, Readdress(7)),
        ({"came_back": True}, out(State.SKIPPED, "came_back")),
        ({"unless": True}, out(State.SKIPPED, "reopened")),
        ({"converted": True}, out(State.SKIPPED, "converted")),
        ({"previous": State.PLANNED}, Hold(NOW + RETRY_PREVIOUS, "step_before")),
        ({"previous": State.SENDING}, Hold(NOW + RETRY_PREVIOUS, "step_before")),
        ({"previous": State.ACCEPTED, "previous_sent_at": NOW - 24 * MINUTE}, Hold(NOW + MINUTE, "step_before")),
        ({"previous": State.ACCEPTED, "previous_sent_at": NOW - 25 * MINUTE}, Send(CLOSES)),
        ({"previous": State.SKIPPED}, Send(CLOSES)),
    ],
)
def test_each_fact_has_its_verdict(changes: dict[str, Any], expected: object) -> None:
    assert verdict(**changes) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"receipt": True, "campaign_state": CampaignState.STOPPED}, out(State.ACCEPTED, "receipt")),
        ({"campaign_state": CampaignState.PAUSED, "came_back": True}, Hold(NOW, "paused")),
        ({"held_out": True, "came_back": True}, out(State.SKIPPED, "came_back")),  # held out pass every gate alike
        ({"held_out": True, "standing": replace(FINE, consented=False)}, out(State.SKIPPED, "no_consent")),
        ({"came_back": True, "same_address": False}, Readdress(7)),
    ],
)
def test_what_binds_more_comes_first(changes: dict[str, Any], expected: object) -> None:
    assert verdict(**changes) == expected


def test_the_window_is_asked_last() -> None:
    assert verdict(CLOSES) == out(State.EXPIRED, "late")
    assert verdict(CLOSES, deadline=CLOSES + MINUTE) == out(State.SKIPPED, "late")
    assert verdict(NOW - 40 * MINUTE) == Hold(NOW - 30 * MINUTE, "window")
    assert verdict(NOW - 40 * MINUTE, held_out=True) == Hold(NOW - 30 * MINUTE, "window")


def test_a_step_before_that_never_settles_does_not_outlast_the_deadline() -> None:
    assert verdict(CLOSES - RETRY_PREVIOUS, previous=State.PLANNED) == Send(CLOSES)


def asked(terms: Terms, now: datetime = NOW, **changes: Any) -> object:
    return judge(replace(FACTS, previous=State.ACCEPTED, **changes), terms, OPEN, now)


@pytest.mark.parametrize(
    ("cue", "reason", "missing"),
    [
        (OPENED, "opened", "not_opened"),
        (ORDER, "did:order_paid", "did_not:order_paid"),
        (BACK, "reopened", "not_reopened"),
    ],
)
def test_what_has_or_has_not_happened(cue: Cue, reason: str, missing: str) -> None:
    sent = {"previous_sent_at": NOW - 25 * MINUTE}
    unless, needs = replace(TERMS, unless=cue), replace(TERMS, unless=None, needs=cue)
    assert asked(unless, **sent) == Send(CLOSES)
    assert asked(unless, unless=True, **sent) == out(State.SKIPPED, reason)
    assert asked(needs, needs=True, **sent) == Send(CLOSES)
    assert asked(needs, **sent) == out(State.SKIPPED, missing)
    early = {"previous_sent_at": NOW - 24 * MINUTE}
    assert asked(needs, **early) == Hold(NOW + MINUTE, "step_before")  # it may still happen
    assert asked(unless, unless=True, **early) == out(State.SKIPPED, reason)  # it cannot unhappen


WAITS = replace(TERMS, after=timedelta(0), unless=None, wait=Wait(OPENED, 20 * MINUTE, 5 * MINUTE))


@pytest.mark.parametrize(
    ("happened", "sent", "expected"),
    [
        (None, 15, Hold(NOW + 5 * MINUTE, "waiting:opened")),
        (None, 20, out(State.SKIPPED, "not_opened")),
        (10, 15, Send(CLOSES)),
        (5, 15, Send(CLOSES)),
        (4, 15, Hold(NOW + MINUTE, "after:opened")),
        (10, 30, Send(CLOSES)),  # just in time: ten minutes ago, twenty after the step before
        (9, 30, out(State.SKIPPED, "not_opened")),
        (30, 15, Send(CLOSES)),  # it had happened before the step before was sent
    ],
)
def test_a_wait_goes_from_the_step_before_as_it_was_sent(happened: int | None, sent: int, expected: object) -> None:
    at = None if happened is None else NOW - happened * MINUTE
    assert asked(WAITS, awaited_at=at, previous_sent_at=NOW - sent * MINUTE) == expected


def test_where_nothing_was_sent_a_wait_is_over_when_it_was_planned_to_be() -> None:
    assert verdict_of(WAITS, previous=None) == out(State.SKIPPED, "not_opened")
    assert verdict_of(WAITS, previous=None, due_at=NOW + MINUTE) == Hold(NOW + MINUTE, "waiting:opened")
    assert verdict_of(WAITS, previous=None, awaited_at=NOW - 9 * MINUTE, due_at=NOW - 4 * MINUTE) == Send(CLOSES)
    assert verdict_of(WAITS, previous=State.PLANNED) == Hold(NOW + RETRY_PREVIOUS, "step_before")


def test_a_wait_ends_with_the_deadline() -> None:
    soon = {"deadline": NOW + 2 * MINUTE, "previous_sent_at": NOW - MINUTE}
    assert asked(WAITS, **soon) == Hold(NOW + 2 * MINUTE, "waiting:opened")
    assert asked(WAITS, NOW + 2 * MINUTE, **soon) == out(State.SKIPPED, "not_opened")
    assert asked(WAITS, awaited_at=NOW, **soon) == out(State.SKIPPED, "too_late_for_step")


def verdict_of(terms: Terms, **changes: Any) -> object:
    return judge(replace(FACTS, **changes), terms, OPEN, NOW)


def test_rules_that_a_message_does_not_have_are_not_told() -> None:
    def names(terms: Terms) -> set[str]:
        return {name for name, _ in consult(FACTS, terms, OPEN, NOW)}

    bare = replace(TERMS, unless=None, conversion=None)
    assert names(TERMS) - names(bare) == {"not:reopened", "converted"}
    assert names(replace(bare, needs=ORDER)) - names(bare) == {"is:order_paid"}
    assert names(WAITS) - names(bare) == {"wait_for:opened", "converted"}
