"""The gate's verdicts, one fact at a time."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orchestrator.ledger.states import CampaignState, RunState, State
from orchestrator.policy.decide import Standing
from orchestrator.policy.gate import RETRY_PREVIOUS, Facts, Leave, Readdress, Terms, judge
from orchestrator.policy.resolver import Hold, Opening, Send
from orchestrator.timing.instants import InstantSet

NOW = datetime(2026, 12, 7, 10, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
CLOSES = NOW + 30 * MINUTE
OPEN = Opening(InstantSet(((NOW - 30 * MINUTE, CLOSES),)))
FINE = Standing(consented=True, suppressed=False, reachable=True)
TERMS = Terms("push", "promotions", "app_open", NOW - 600 * MINUTE, True, 25 * MINUTE, NOW - timedelta(days=270))
FACTS = Facts(
    id=1,
    zone_key="Europe/Berlin",
    country="DE",
    campaign_state=CampaignState.RUNNING,
    run_state=RunState.ACTIVE,
    standing=FINE,
    same_address=True,
    next_address=7,
    came_back=False,
    reopened=False,
    receipt=False,
    previous=None,
    previous_sent_at=None,
    held_out=False,
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
        ({"reopened": True}, out(State.SKIPPED, "reopened")),
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
