"""What operators hear of: found, told once, delivered until it is taken."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from orchestrator.audience import people
from orchestrator.clock import ManualClock
from orchestrator.daemon.alert_words import WORDS
from orchestrator.daemon.alerting import Herald, places_of
from orchestrator.daemon.watch import Limits, watch
from orchestrator.errors import ConfigError
from orchestrator.ledger.alerts import raise_alert
from orchestrator.ledger.stops import resume_account, stop_account
from orchestrator.settings import AccountSettings, AlertSettings, Settings
from orchestrator.store import Store
from orchestrator.store.tables import alert, message
from tests import world
from tests.channel.test_webhook import listener
from tests.dispatch.doors import door, through

LIMITS = Limits(unknown=2, stuck_after=timedelta(minutes=15), unsubscribes=0.005, complaints=0.001)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(world.OPENING)


def kinds(store: Store) -> list[str]:
    with store.read() as connection:
        return sorted(connection.execute(select(alert.c.kind)).scalars())


def settings(tmp_path: Path, **alerts: Any) -> Settings:
    mail = AccountSettings(channel="email", provider="log", options={"file": str(tmp_path / "mail.jsonl")})
    return Settings(accounts={"mail": mail}, alerts=AlertSettings(**alerts))


def herald(store: Store, clock: ManualClock, chosen: Settings) -> Herald:
    places = places_of(chosen)
    assert places is not None
    return Herald(store, clock, chosen, places)


def test_a_stopped_account_is_told_once_a_stop(store: Store, clock: ManualClock) -> None:
    for _ in range(2):
        with store.write() as connection:
            stop_account(connection, "fcm", "UNAUTHENTICATED", clock.machine(), clock.machine(), "daemon")
        watch(store, clock, LIMITS, guardrails=True)
        watch(store, clock, LIMITS, guardrails=True)
        with store.write() as connection:
            resume_account(connection, "fcm", clock.now(), "operator test")
        clock.advance(timedelta(hours=1))
    assert kinds(store) == ["account_stopped"] * 2


def test_a_run_that_was_too_large_and_messages_in_doubt(store: Store, clock: ManualClock) -> None:
    for n in range(3):
        world.person(store, f"u{n}")
    world.plan(store, world.bundle(max_audience=1), clock)
    watch(store, clock, LIMITS, guardrails=False)
    assert kinds(store) == ["max_audience"]


def test_messages_in_doubt_and_a_queue_that_nobody_takes_from(store: Store, clock: ManualClock) -> None:
    for n in range(4):
        world.person(store, f"u{n}")
    world.plan(store, world.bundle(), clock)
    clock.instant = world.MONDAY + timedelta(hours=10, minutes=15)
    watch(store, clock, LIMITS, guardrails=False)
    assert kinds(store) == ["queue_stuck"]
    with store.write() as connection:
        connection.execute(update(message).values(state="unknown"))
    watch(store, clock, LIMITS, guardrails=False)
    assert kinds(store) == ["queue_stuck", "unknown"]


def test_guardrails_count_who_refused_after_a_message(store: Store, clock: ManualClock, tmp_path: Path) -> None:
    users = [world.person(store, f"u{n}") for n in range(120)]
    world.plan(store, world.bundle(steps=world.DEFINITION["steps"][:1]), clock)
    clock.instant = world.MONDAY + timedelta(hours=10, minutes=15)
    assert len(through(door(store, clock), clock, tmp_path, n=200)) == 120
    clock.advance(timedelta(hours=1))
    with store.write() as connection:
        people.suppress(connection, channel="push", reason="stop", source="t", at=clock.now(), user_id=users[0])
        people.suppress(connection, channel="push", reason="complaint", source="t", at=clock.now(), address="token-u1")
        people.suppress(connection, channel="sms", reason="stop", source="t", at=clock.now(), user_id=users[2])
    watch(store, clock, LIMITS, guardrails=False)
    assert kinds(store) == []
    watch(store, clock, LIMITS, guardrails=True)
    assert kinds(store) == ["complaints", "unsubscribes"]


def test_an_alert_is_posted_and_mailed_once_each(store: Store, clock: ManualClock, tmp_path: Path) -> None:
    with store.write() as connection:
        for _ in range(3):
            raise_alert(connection, "lunch", "budget", clock.now(), {"campaign": "lunch", "run": 1})
    with listener(200) as (url, heard):
        told = herald(store, clock, settings(tmp_path, webhook=url, mailbox="ops@example.com", account="mail"))
        told.deliver()
        told.deliver()
    [request] = heard
    said = json.loads(request["body"])
    assert (said["type"], said["data"]["campaign"]) == ("budget", "lunch")
    assert set(said["data"]["text"]) == {"en", "zh"}
    [mail] = (tmp_path / "mail.jsonl").read_text().splitlines()
    assert "SMS budget is used up" in json.loads(mail)["subject"]


def test_what_is_not_taken_is_tried_again_under_the_same_id(store: Store, clock: ManualClock, tmp_path: Path) -> None:
    with store.write() as connection:
        raise_alert(connection, "lunch", "budget", clock.now(), {"campaign": "lunch", "run": 1})
    mailed = {"mailbox": "ops@example.com", "account": "mail"}
    with listener(503) as (url, refused):
        told = herald(store, clock, settings(tmp_path, webhook=url, **mailed))
        told.deliver()
        told.deliver()
        clock.advance(timedelta(seconds=11))
        told.deliver()
    assert len(refused) == 2
    clock.advance(timedelta(minutes=1))
    with listener(200) as (url, taken):
        herald(store, clock, settings(tmp_path, webhook=url, **mailed)).deliver()
    assert taken[0]["webhook-id"] == refused[0]["webhook-id"] == "budget:lunch"
    assert len((tmp_path / "mail.jsonl").read_text().splitlines()) == 1


@pytest.mark.parametrize(
    ("alerts", "words"),
    [
        ({"webhook": "http://10.0.0.1/x"}, "must be https"),
        ({"webhook_file": "nowhere"}, "cannot read nowhere"),
        ({"mailbox": "a@b.example", "account": "nobody"}, "has to name an account of channel email"),
        ({"webhook": "https://hooks.example/x", "secret_file": "short"}, "signing secret"),
    ],
)
def test_wrong_places_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alerts: dict[str, Any], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "short").write_text("whsec_c2hvcnQ=")
    with pytest.raises(ConfigError, match=words):
        places_of(settings(tmp_path, **alerts))


@pytest.mark.parametrize("alerts", [{}, {"webhook": "x", "webhook_file": "y"}, {"mailbox": "a@b.example"}])
def test_settings_that_lead_nowhere(alerts: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"webhook|mailbox"):
        AlertSettings(**alerts)


def test_every_kind_says_the_same_in_both_languages() -> None:
    import string

    for sentences in WORDS.values():
        fields = [{name for _, name, _, _ in string.Formatter().parse(text) if name} for text in sentences.values()]
        assert set(sentences) == {"en", "zh"}
        assert fields[0] == fields[1] or fields[0] - fields[1] == set() or "restored" in str(sentences)
