"""``quarantine list``: the messages that killed workers, the addresses of a storm; nobody's address in it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select
from typer.testing import CliRunner

from orchestrator.audience.addresses import quarantine_address
from orchestrator.cli.app import app
from orchestrator.clock import ManualClock
from orchestrator.dispatch.quarantine import addresses_set_aside, poisoned_messages
from orchestrator.dispatch.sweep import recover_dead
from orchestrator.ledger import lease
from orchestrator.ledger.claim import claim, due_lanes
from orchestrator.ledger.lease import Holder
from orchestrator.ledger.recover import POISON_AFTER
from orchestrator.store import Store
from orchestrator.store.tables import address
from tests import world

LUNCH = world.MONDAY + timedelta(hours=10, minutes=15)


def poison(store: Store, clock: ManualClock) -> None:
    """One message kills three workers."""
    world.person(store, "ada", push="canary-token")
    world.plan(store, world.bundle(steps=world.DEFINITION["steps"][:1]), clock)
    clock.instant = LUNCH
    for pid in range(POISON_AFTER):
        with store.write() as connection:
            machine = clock.machine()
            worker = lease.register(connection, host="h", pid=pid, machine=machine, lease=timedelta(seconds=60))
            [lane] = due_lanes(connection, clock.now(), machine)
            assert claim(connection, Holder(worker, machine), lane.id, 1, clock.now())
        clock.advance(timedelta(seconds=61))
        recover_dead(store, clock, {"fcm": True})


def test_what_killed_its_workers_and_what_a_storm_set_aside(store: Store) -> None:
    clock = ManualClock(world.OPENING)
    poison(store, clock)
    until = clock.now() + timedelta(hours=24)
    with store.write() as connection:
        [number] = connection.execute(select(address.c.id).where(address.c.channel == "push")).scalars()
        assert quarantine_address(connection, number, until)
    with store.read() as connection:
        [one] = poisoned_messages(connection, clock.now() - timedelta(days=7))
        assert (one.campaign, one.user, one.account) == ("lunch", "ada", "fcm")
        assert not poisoned_messages(connection, clock.now())
        [aside] = addresses_set_aside(connection, clock.now())
        assert (aside.channel, aside.addresses, aside.until) == ("push", 1, until)
        assert not addresses_set_aside(connection, until)


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "orchestrator.yaml").write_text('{"database": "o.db"}')
    store = world.fresh(tmp_path / "o.db")
    run = CliRunner().invoke(app, ["quarantine", "list"])
    assert (run.exit_code, run.output.strip()) == (0, "nothing is in quarantine")
    world.person(store, "ada", push="canary-token")
    with store.write() as connection:
        [number] = connection.execute(select(address.c.id)).scalars()
        quarantine_address(connection, number, datetime.now(UTC) + timedelta(hours=1))
    store.close()
    run = CliRunner().invoke(app, ["quarantine", "list"])
    assert "push: 1 addresses are set aside, the last until" in run.output
    run = CliRunner().invoke(app, ["quarantine", "list", "--json", "--days", "30"])
    said = json.loads(run.output)
    assert (said["messages"], said["addresses"][0]["addresses"]) == ([], 1)
    assert "canary" not in run.output
