"""``doctor`` on connections: how long answers took says how many messages they let through."""

from __future__ import annotations

from datetime import timedelta

from orchestrator.channel.base import Health
from orchestrator.clock import AcceleratedClock, Clock, ManualClock
from orchestrator.daemon.capacity import ENOUGH, SEEN, look_at_connections
from orchestrator.daemon.line import Line
from orchestrator.ledger import lease
from orchestrator.ledger.ids import lane_id, message_id
from orchestrator.settings import AccountSettings, Settings
from orchestrator.store import Store
from orchestrator.store.tables import attempt, lane
from tests import world

NOW = world.OPENING


def settings(rate: float, connections: int = 32) -> Settings:
    fcm = AccountSettings(channel="push", provider="log", rate=rate, connections=connections)
    return Settings(accounts={"fcm": fcm, "idle": fcm})


def answered(store: Store, run: int, took: timedelta, n: int = ENOUGH) -> None:
    """So many messages of a run, each answered after a while; and one that never was."""
    row = {"run_id": run, "step": 1, "channel": "push", "account": "fcm", "priority": 1}
    with store.write() as connection:
        connection.execute(lane.insert().values(id=lane_id(run, 1), **row))
        for user in range(1, n + 2):
            end = None if user > n else NOW + took
            one = {"message_id": message_id(run, user, 1), "n": 1, "worker_id": 1, "account": "fcm"}
            connection.execute(attempt.insert().values(**one, started_at=NOW, ended_at=end, outcome="accepted"))


def said(store: Store, found: Settings, clock: Clock | None = None) -> list[Line]:
    return list(look_at_connections(store, found, clock or ManualClock(NOW)))


def test_connections_that_keep_an_account_below_its_rate_are_named(store: Store) -> None:
    answered(store, 1, timedelta(milliseconds=100))
    assert said(store, settings(rate=320)) == []
    [line] = said(store, settings(rate=500))
    assert (line.what, line.health, line.hint) == (
        "account fcm",
        Health.WARNING,
        "raise accounts.fcm.connections to 50",
    )
    assert line.found == (
        "answers take 100 ms on average: 32 connections let 320 messages a second through, and its rate is 500"
    )
    [line] = said(store, settings(rate=20_000))
    assert line.hint == "raise accounts.fcm.connections to 1,000, and start more workers"


def test_what_few_answers_say_is_chance(store: Store) -> None:
    answered(store, 1, timedelta(seconds=10), ENOUGH - 1)
    assert said(store, settings(rate=500)) == []


def test_the_latest_runs_count(store: Store) -> None:
    answered(store, 1, timedelta(seconds=10), 400)
    for run in (2, 3):
        answered(store, run, timedelta(milliseconds=10), SEEN // 2)
    assert said(store, settings(rate=500)) == []


def test_live_workers_add_up(store: Store) -> None:
    answered(store, 1, timedelta(milliseconds=100))
    with store.write() as connection:
        _, other = [
            lease.register(connection, host="h", pid=1, machine=NOW, lease=timedelta(minutes=1)) for _ in range(2)
        ]
    assert said(store, settings(rate=500)) == []
    [line] = said(store, settings(rate=1000))
    assert "let 640 messages a second through in 2 workers" in line.found
    with store.write() as connection:
        lease.end(connection, other, NOW)
    assert len(said(store, settings(rate=500))) == 1


def test_a_clock_that_runs_faster_makes_answers_no_slower(store: Store) -> None:
    answered(store, 1, timedelta(seconds=6))
    assert said(store, settings(rate=300), AcceleratedClock(NOW, 60.0, NOW)) == []
