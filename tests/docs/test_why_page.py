"""The how-to of the day after says what the programs say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from orchestrator.clock import ManualClock
from orchestrator.dispatch.door import Door, Ready
from orchestrator.ledger.ids import MessageId
from orchestrator.ledger.settle import Settlement, settle
from orchestrator.ledger.states import State
from orchestrator.policy.caps import CapRule, Caps
from orchestrator.policy.carriers import Routing
from orchestrator.report.consulted import Around, consulted
from orchestrator.report.consulted_words import tell_rules
from orchestrator.report.explain import explain
from orchestrator.report.launched import launched
from orchestrator.report.telling import tell
from orchestrator.store import Store
from orchestrator.store.tables import message
from tests import world
from tests.dispatch.doors import door, through
from tests.docs.pages import page

PAGE = page("howto/why.md")
CAPS = Caps((CapRule(1, timedelta(days=1)),))
PUSH = world.DEFINITION["steps"][:1]
SUNDAY = world.MONDAY - timedelta(days=1)
ROUTING = Routing.plain(world.ACCOUNTS)
AFTER_LUNCH = world.MONDAY + timedelta(hours=11)
FACTS: dict[str, Any] = {"steps": PUSH, "holdout": "0%"}


def shown(command: str) -> list[str]:
    """What the page shows after a command."""
    [found] = re.findall(rf"^```\n\$ {re.escape(command)}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return [line for line in found.splitlines() if line]


@pytest.fixture(scope="module")
def weekend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Ada and Bob had the news on Sunday, at 11:40 and at 11:50; Cem and Dora did not. Then it is Monday lunch."""
    folder = tmp_path_factory.mktemp("why")
    store = world.fresh(folder / "t.db")
    for name in ("ada", "bob", "cem"):
        world.person(store, name)
    world.person(store, "dora", consents=())
    clock = ManualClock(SUNDAY - timedelta(hours=12))
    made = door(store, clock, caps=lambda: CAPS, routing=ROUTING)
    news = {"name": "news", "title": {"en": "News"}, "schedule": {"dates": ["2026-12-06"]}}
    world.plan(store, world.bundle({**FACTS, **news, "window": {"local": "11:40-12:00", "spread": "0%"}}), clock)
    clock.instant = SUNDAY + timedelta(hours=10, minutes=40)
    sent = leave(made, clock, folder)
    ids = {item.composed.message.user_id: item.composed.message.id for item in sent}
    later = clock.now() + timedelta(minutes=10)
    with store.write() as connection:
        connection.execute(update(message).where(message.c.id == ids[2]).values(sent_at=later))
        connection.execute(message.delete().where(message.c.id == ids[3]))
    clock.instant = SUNDAY + timedelta(hours=11)
    world.plan(store, world.bundle({**FACTS, "window": {"local": "10:30-11:45", "spread": "0%"}}), clock)
    world.did(store, "cem", "app_open", world.MONDAY + timedelta(hours=9))
    for minute in (30, 70, 100):
        clock.instant = world.MONDAY + timedelta(hours=9, minutes=minute)
        leave(made, clock, folder)
    yield store
    store.close()


def leave(made: Door, clock: ManualClock, folder: Path) -> list[Ready]:
    """What is due leaves, and the provider takes it."""
    sent, now = through(made, clock, folder), clock.now()
    ids = [MessageId(item.composed.message.id) for item in sent]
    taken = [Settlement(one, 1, "fcm", now, now, "accepted", State.ACCEPTED, provider_id=str(one)) for one in ids]
    with made.store.write() as connection:
        settle(connection, made.holder(), now, taken)
    return sent


@pytest.mark.parametrize("name", ["ada", "bob", "cem", "dora"])
def test_why(weekend: Store, name: str) -> None:
    with weekend.read() as connection:
        story = explain(connection, name, launched(connection, "lunch"), AFTER_LUNCH)
    told = [line for line in tell(story) if line]
    assert told == shown(f"orchestrator explain {name} lunch")


def test_every_rule(weekend: Store) -> None:
    around = Around(world.planner(ManualClock(AFTER_LUNCH)).quiet, CAPS, ROUTING, None, lambda _: None)
    with weekend.read() as connection:
        rules = list(tell_rules(consulted(connection, "bob", "lunch", AFTER_LUNCH, around), "en"))
    assert [line for line in rules if line] == shown("orchestrator explain bob lunch --rules")
