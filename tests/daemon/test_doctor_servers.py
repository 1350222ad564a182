"""``doctor`` on what several processes share: a real PostgreSQL, a real Valkey."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import text
from typing_extensions import override

from orchestrator.channel.base import Health
from orchestrator.clock import SystemClock
from orchestrator.daemon import servers
from orchestrator.daemon.checkup import look_around
from orchestrator.daemon.line import Line
from orchestrator.daemon.restoring import guard_of
from orchestrator.daemon.servers import look_at_redis
from orchestrator.ledger import lease
from orchestrator.ledger.leader import lead
from orchestrator.limits.shared import connect
from orchestrator.settings import Settings
from orchestrator.store import Store
from orchestrator.store.blocks import BLOCK, keep_blocks
from orchestrator.store.tables import run
from tests.valkey import Valkey, valkey_server

pytestmark = pytest.mark.on("postgresql")


class Fast(SystemClock):
    """A machine whose clock is three seconds ahead."""

    @override
    def machine(self) -> datetime:
        return super().machine() + timedelta(seconds=3)


def seen(store: Store, what: str, clock: SystemClock | None = None) -> list[Line]:
    return [line for line in look_around(Settings(database=store.url), clock or SystemClock()) if line.what == what]


def test_the_server_and_what_it_would_forget(store: Store) -> None:
    """The server of these tests does not wait for its disk."""
    answers, *others = seen(store, "database")
    assert (answers.health, answers.found.startswith("PostgreSQL 1")) == (Health.FINE, True)
    assert [(line.health, line.found) for line in others if line.found.startswith("fsync")] == [
        (Health.BROKEN, "fsync is off")
    ]
    assert all(line.hint for line in others)


def test_a_release_that_is_too_old(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "OLDEST", 99)
    line = seen(store, "database")[0]
    assert (line.health, line.hint) == (Health.BROKEN, "upgrade it to 99 at least")


def test_a_server_that_is_away(tmp_path: Path) -> None:
    found = Settings(database=f"postgresql://nobody:s3cret-canary@/none?host={tmp_path}")
    [line] = [line for line in look_around(found, SystemClock()) if line.what == "database"]
    assert (line.health, line.found) == (Health.BROKEN, "cannot be read: OperationalError")
    assert "PostgreSQL runs" in line.hint
    assert "canary" not in str(line)


def test_clocks_that_are_apart(store: Store) -> None:
    assert [line.health for line in seen(store, "clock")] == [Health.FINE]
    [line] = seen(store, "clock", Fast())
    assert line.health is Health.BROKEN
    assert line.found.startswith(("3.0 s", "2.9 s"))


def test_room_for_connections(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    [line] = seen(store, "connections")
    assert line.health is Health.FINE
    assert "a process takes up to 15" in line.found
    monkeypatch.setattr(servers, "SPARE", 1000)
    [line] = seen(store, "connections")
    assert (line.health, "max_connections" in line.hint) == (Health.WARNING, True)


def test_something_between(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not [line for line in seen(store, "database") if "between" in line.found]
    monkeypatch.setattr(servers, "_PORT", text("SELECT 6432"))
    assert [line.found for line in seen(store, "database") if "between" in line.found] == [
        "port 5432 leads to a server on port 6432: something is between"
    ]


def test_partitions_are_made_ahead(store: Store) -> None:
    assert [line.health for line in seen(store, "partitions")] == [Health.FINE]
    first = 100 * BLOCK
    with store.write() as connection:
        now = datetime.now(UTC)
        row = {"campaign": "lunch", "version": "v", "local_date": now.date(), "state": "done", "as_of": now}
        connection.execute(run.insert().values(id=first, **row, created_at=now, closes_at=now))
    [line] = seen(store, "partitions")
    assert (line.health, line.found) == (Health.WARNING, f"no partition for the runs from {first} on")
    keep_blocks(store)
    assert [line.health for line in seen(store, "partitions")] == [Health.FINE]


def test_who_leads_and_who_sends(store: Store) -> None:
    assert [(line.health, line.found) for line in seen(store, "processes")] == [(Health.WARNING, "none is running")]
    now = datetime.now(UTC)
    with store.write() as connection:
        lead(connection, "scheduler", "one", now)
    found = [(line.health, line.found) for line in seen(store, "processes")]
    assert found == [(Health.BROKEN, "nobody is sweeper"), (Health.BROKEN, "no worker: nothing is sent")]
    with store.write() as connection:
        lead(connection, "sweeper", "other", now)
        lease.register(connection, host="h", pid=1, machine=now, lease=timedelta(seconds=60))
    found = [(line.health, line.found) for line in seen(store, "processes")]
    assert found == [(Health.FINE, "1 workers, a scheduler and a sweeper")]


def test_a_schema_of_another_release(store: Store) -> None:
    assert [line.health for line in seen(store, "schema")] == [Health.FINE]
    for version, health, word in (
        ("0001_old", Health.WARNING, "db upgrade"),
        ("9999_new", Health.FINE, "this program"),
    ):
        with store.write() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = :version"), {"version": version})
        [line] = seen(store, "schema")
        assert (line.health, word in line.hint) == (health, True)


@pytest.fixture
def server() -> Iterator[Valkey]:
    with valkey_server() as made:
        yield made


def redis_lines(server: Valkey) -> list[tuple[Health, str]]:
    return [(line.health, line.found) for line in look_at_redis(server.address)]


def test_redis(server: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    [(health, said)] = redis_lines(server)
    assert (health, said.startswith("Valkey "), "of all processes together" in said) == (Health.FINE, True, True)
    monkeypatch.setattr(servers, "SLOW", timedelta(0))
    assert [health for health, _ in redis_lines(server)] == [Health.WARNING]
    server.stop()
    assert redis_lines(server) == [(Health.BROKEN, "no answer")]
    server.start()


@pytest.mark.parametrize(("policy", "warned"), [("noeviction", True), ("allkeys-lru", False)])
def test_redis_with_its_memory_full(server: Valkey, policy: str, warned: bool) -> None:
    client = connect(server.address)
    used: int = client.info("memory")["used_memory"]
    client.config_set("maxmemory-policy", policy)
    client.config_set("maxmemory", int(used * 1.05))
    found = [said for health, said in redis_lines(server) if health is Health.WARNING and "memory" in said]
    assert bool(found) is warned
    client.close()


def test_the_guard_of_restored_databases(store: Store, valkey: str) -> None:
    """PostgreSQL has one where there is Redis; a run that the database does not know makes it an older one."""
    clock, name = SystemClock(), "doctor-guard"
    with_redis = Settings(database=store.url, redis=SecretStr(valkey), redis_name=name)

    def said(found: Settings) -> list[tuple[Health, str]]:
        lines = [line for line in look_around(found, clock) if line.what == "restore guard"]
        assert all(line.hint for line in lines if line.health is not Health.FINE)
        return [(line.health, line.found[:12]) for line in lines]

    assert said(Settings(database=store.url)) == [(Health.WARNING, "none: whatev")]
    assert said(with_redis) == [(Health.FINE, "this databas")]
    guard = guard_of(with_redis, clock, store)
    assert guard is not None
    guard.marked("lunch", "2026-12-07", clock.now())
    assert said(with_redis) == [(Health.BROKEN, "1 of the run")]
    guard.close()
    away = Settings(database=store.url, redis=SecretStr("unix:///nowhere"), redis_name=name)
    assert said(away) == []  # the line of redis says so
