"""Triggered campaigns in a rehearsal: the past is played again, and what comes of it is what came of it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from orchestrator.plan.fired import fired
from orchestrator.rehearsal.values import Rehearsed
from orchestrator.rehearsal.words import caution
from orchestrator.store import Store
from tests import world
from tests.plan.carts import CART, NOON, ORDER, campaign, happened
from tests.rehearsal.theatre import decisions, order, played, reasons, town

DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
PEOPLE = 30


@pytest.fixture
def real(tmp_path: Path) -> Iterator[Store]:
    store = world.fresh(tmp_path / "real.db")
    yield store
    store.close()


def past(store: Store, until: datetime) -> None:
    """A week in which everybody leaves a cart behind once or twice, and a third of them order soon."""
    for n in range(PEOPLE):
        for again in range(1 + n % 2):
            at = until - timedelta(days=1 + (n + 3 * again) % 6, minutes=17 * n)
            happened(store, f"u{n}", CART, at)
            if n % 3 == 0:
                happened(store, f"u{n}", ORDER, at + 20 * MINUTE)


def said(found: Rehearsed, locale: str = "en") -> list[str]:
    return [caution(one, locale) for one in found.cautions]


def test_as_many_join_as_would_have_joined(real: Store) -> None:
    what = campaign({"again_after": "24h"}, window={"expires_after": "12h"})
    past(town(real, PEOPLE), NOON)
    found = played(real, order(what, span=7 * DAY), NOON)
    trigger = what.campaign.schedule.trigger
    assert trigger is not None
    with real.read() as connection:
        wanted = len(fired(connection, trigger, NOON - 7 * DAY, NOON))
    assert sum(decisions(found).values()) == wanted > PEOPLE / 2
    assert found.sent > 0
    assert not reasons(found, "expired")


def test_it_says_where_its_events_come_from(real: Store) -> None:
    past(town(real, PEOPLE), NOON)
    found = played(real, order(campaign()), NOON)
    events = PEOPLE + PEOPLE // 2 + PEOPLE // 3 + PEOPLE // 6
    names = f"{CART}, {ORDER}"
    assert f"past played again: {events} events of {names} of the last 7 days" in " ".join(said(found))
    assert f"最近 7 天的 {events} 个事件" in " ".join(said(found, "zh"))


def test_without_a_past_it_says_that_nothing_would_trigger_it(real: Store) -> None:
    town(real, 3)
    assert any("Nothing would trigger the campaign" in line for line in said(played(real, order(campaign()), NOON)))


def test_whoever_orders_before_the_message_leaves_gets_none(real: Store) -> None:
    what = campaign({"again_after": "24h"}, window={"local": "18:00-20:00", "late": "skip", "spread": "0%"})
    town(real, 3)  # Shanghai, Berlin, Vancouver
    happened(real, "u1", CART, NOON - 7 * DAY + MINUTE)  # noon in Berlin
    happened(real, "u1", ORDER, NOON - 7 * DAY + 3 * timedelta(hours=1))
    found = played(real, order(what), NOON)
    assert sum(decisions(found).values()) == 1
    assert reasons(found) == {"needless": 1}
    assert found.sent == 0
