"""Metrics of several processes: what the deployment is like is told by one, and alerts hear the first trouble."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from ruamel.yaml import YAML
from sqlalchemy.exc import OperationalError
from typing_extensions import override

from orchestrator import metrics
from orchestrator.clock import Clock, ManualClock, SystemClock
from orchestrator.daemon.restoring import Watchman
from orchestrator.daemon.service import Daemon
from orchestrator.daemon.ticks import Ticks
from orchestrator.daemon.wiring import Parts, build
from orchestrator.errors import OrchestratorError, StoreLockedError
from orchestrator.ledger import lease
from orchestrator.ledger.claim import claim, due_lanes
from orchestrator.ledger.lease import Holder
from orchestrator.ledger.skew import MOST, skew
from orchestrator.ledger.states import State
from orchestrator.ledger.stops import stop_account
from orchestrator.limits.breaker import LAST
from orchestrator.settings import Settings
from orchestrator.store import Store
from orchestrator.store.tables import campaign, message
from tests import world
from tests.conftest import NewDatabase
from tests.daemon.place import get, well
from tests.far_end import free_port, wait_for

LUNCH = world.MONDAY + timedelta(hours=10, minutes=15)
QUEUE = {"queue_due", "oldest_due_seconds", "unknown_messages"}
ACCOUNTS = {
    "fcm": {"channel": "push", "provider": "log", "options": {"file": "push.jsonl"}},
    "twilio": {"channel": "sms", "provider": "log", "options": {"file": "sms.jsonl", "channel": "sms"}},
}
Told = dict[str, dict[tuple[str, ...], float]]


def told(text: str) -> Told:
    """What a process tells: values by the labels' values, by the name without our prefix."""
    found: Told = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            name = sample.name.removeprefix("orchestrator_")
            found.setdefault(name, {})[tuple(sample.labels.values())] = sample.value  # labels by their names
    return found


def here() -> Told:
    return told(metrics.exposition()[0].decode())


Make = Callable[[Clock], Parts]


@pytest.fixture
def make(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Parts of a deployment with two accounts, closed at the end."""
    monkeypatch.chdir(tmp_path)
    made: list[Parts] = []

    def one(clock: Clock) -> Parts:
        made.append(build(Settings(database=store.url, accounts=ACCOUNTS), clock))
        return made[-1]

    yield one
    for parts in made:
        for channel in parts.channels.values():
            asyncio.run(channel.close())


@pytest.fixture
def ticks(store: Store, clock: ManualClock, make: Make) -> Ticks:
    return Ticks(store, make(clock))


@pytest.fixture
def clock(store: Store) -> ManualClock:
    """Three people have a push that has been due for a while, and later an SMS."""
    made = ManualClock(world.OPENING)
    for n in range(3):
        world.person(store, f"u{n}", phone=f"+49151123456{n:02}")
    world.plan(store, world.bundle(), made)
    made.instant = LUNCH + timedelta(minutes=5)
    return made


def test_what_waits_what_is_in_doubt_and_who_works(store: Store, clock: ManualClock, ticks: Ticks) -> None:
    with store.write() as connection:
        lease.register(connection, host="h", pid=1, machine=clock.machine(), lease=timedelta(seconds=60))
    ticks.sweeper()
    found = here()
    assert found["queue_due"][("fcm", "push")] == 3
    assert 0 < found["oldest_due_seconds"][("push",)] <= 3600
    assert found["workers"][()] == 1
    assert not found.get("unknown_messages")
    with store.write() as connection:
        connection.execute(message.update().values(state=State.UNKNOWN))
    ticks.sweeper()
    assert here()["unknown_messages"] == {("push",): 3, ("sms",): 3}
    metrics.forget_queue()
    found = here()
    assert not [name for name in QUEUE if found.get(name)]
    assert found["workers"][()] == 0


def test_a_paused_campaign_is_no_queue_that_is_stuck(store: Store, ticks: Ticks) -> None:
    with store.write() as connection:
        connection.execute(campaign.update().values(state="paused"))
    ticks.sweeper()
    assert not here().get("oldest_due_seconds")


@pytest.mark.parametrize(
    "problem",
    [OperationalError("SELECT", {}, Exception("gone")), StoreLockedError("t.db is being written"), ValueError("a bug")],
    ids=["away", "locked", "bug"],
)
def test_when_the_sweeper_fails_nothing_old_is_told(
    ticks: Ticks, problem: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks.sweeper()
    assert here()["queue_due"]

    def fails(*_: object) -> None:
        raise problem

    monkeypatch.setattr("orchestrator.daemon.ticks.sweep", fails)
    with pytest.raises(type(problem)):
        ticks.sweeper()
    assert not here().get("queue_due")


def test_breakers_are_those_of_the_process_that_sends(store: Store, clock: ManualClock, ticks: Ticks) -> None:
    for _ in range(LAST):
        ticks.parts.accounts["fcm"].breaker.record("fcm", failed=True)
    with store.write() as connection:
        stop_account(connection, "twilio", "20003", clock.machine(), clock.machine(), "daemon")
    ticks.brakes()
    assert here()["breaker_open"] == {("fcm",): 2, ("twilio",): 3}


def test_messages_of_the_dead_are_counted_where_they_are_taken_back(
    store: Store, clock: ManualClock, ticks: Ticks
) -> None:
    before = here()["lease_steals_total"][()]
    with store.write() as connection:
        machine = clock.machine()
        worker = lease.register(connection, host="h", pid=1, machine=machine, lease=timedelta(seconds=60))
        lane = due_lanes(connection, clock.now(), machine)[0]
        assert claim(connection, Holder(worker, machine), lane.id, 3, clock.now())
    clock.advance(timedelta(seconds=61))
    ticks.sweeper()
    ticks.sweeper()
    assert here()["lease_steals_total"][()] == before + 1


def test_what_alerts_watch_is_shown_from_0_on() -> None:
    """A series that begins at 1 has not increased, for Prometheus: the first of its kind would go unheard."""
    metrics.expect([("new-account", "push", "new-provider")])
    found = here()
    assert found["storm_holds_total"][("new-account",)] == 0
    assert found["unknown_codes_total"][("new-provider",)] == 0
    assert found["webhooks_total"][("new-account", "forged")] == 0


class Fast(SystemClock):
    """A machine whose clock is three seconds ahead."""

    @override
    def machine(self) -> datetime:
        return super().machine() + timedelta(seconds=3)


@pytest.mark.on("postgresql")
def test_a_machine_whose_clock_is_wrong_leads_and_takes_nothing(store: Store, make: Make) -> None:
    with store.read() as connection:
        assert skew(connection, SystemClock()) < MOST < skew(connection, Fast())
    daemon = Daemon(Settings(database=store.url))
    daemon.store, daemon.parts = store, make(Fast())
    from orchestrator.daemon.roles import Leadership, Role

    daemon._leadership = Leadership(store, daemon.parts.clock, daemon.roles)
    daemon._watchman = Watchman(store, daemon.parts.clock, daemon.settings, None)
    daemon._ask()
    assert (daemon.skewed, daemon._leads(Role.SWEEPER), daemon.health()["ok"]) == (True, False, False)
    daemon._watchman.look()
    found = [daemon._watchman.sure]
    daemon.parts = make(SystemClock())
    daemon._leadership = Leadership(store, daemon.parts.clock, daemon.roles)
    daemon._ask()
    assert (daemon.skewed, daemon._leads(Role.SWEEPER)) == (False, True)
    found.append(daemon._watchman.sure)  # what the wrong clock took for long over is looked at again
    assert found == [True, False]


@contextmanager
def process(folder: Path, name: str, *roles: str) -> Iterator[int]:
    """A process of these roles; the port that its metrics are on."""
    port = free_port()
    env = {key: value for key, value in os.environ.items() if not key.startswith("ORCHESTRATOR_")}
    env |= {"PYTHONPATH": str(Path(__file__).parents[2]), "ORCHESTRATOR_METRICS_ADDRESS": f"127.0.0.1:{port}"}
    command = [sys.executable, "-m", "orchestrator", "run", "--json-logs"]
    command += [word for role in roles for word in ("--role", role)]
    with (folder / f"{name}.log").open("ab") as log:
        one = subprocess.Popen(command, cwd=folder, env=env, stderr=log, stdout=log)
        try:
            wait_for(lambda: one.poll() is not None or well(port), f"{name} to be well", seconds=30)
            assert one.poll() is None, (folder / f"{name}.log").read_text()
            yield port
        finally:
            if one.poll() is None:
                one.send_signal(signal.SIGKILL)
            one.wait(10)


def scraped(port: int) -> Told:
    status, text = get(port, "/metrics")
    assert status == 200
    return told(text)


@pytest.mark.postgresql
def test_processes_of_one_machine_are_told_apart_and_one_tells_of_all(
    new_database: NewDatabase, tmp_path: Path
) -> None:
    """Two sweepers, a worker and the web: one of the sweepers tells of the queue, and its heir when it is killed."""
    url, api = new_database("postgresql"), free_port()
    store = world.fresh(url)
    content = {"database": url, "port": api, "api_keys": ["k"], "accounts": ACCOUNTS, "lease": 10}
    with (tmp_path / "orchestrator.yaml").open("w") as file:
        YAML().dump(content, file)
    with ExitStack() as stack:
        worker = stack.enter_context(process(tmp_path, "worker", "worker"))
        web = stack.enter_context(process(tmp_path, "web", "web"))
        heir_stack = stack.enter_context(ExitStack())
        leading = heir_stack.enter_context(process(tmp_path, "sweeper", "sweeper"))
        wait_for(lambda: scraped(leading).get("leads") == {("sweeper",): 1}, "the first to lead")
        wait_for(lambda: scraped(leading)["workers"][()] == 1, "it to measure")
        other = stack.enter_context(process(tmp_path, "other", "sweeper"))
        everybody = [worker, web, leading, other]
        wait_for(lambda: scraped(other).get("leads") == {("sweeper",): 0}, "the other to stand by")
        assert [scraped(port)["workers"][()] for port in everybody] == [0, 0, 1, 0]
        assert sorted(scraped(worker)["breaker_open"]) == [("fcm",), ("twilio",)]
        assert not scraped(web).get("breaker_open")
        assert get(api, "/metrics")[0] == 404, "the outside sees the API alone"
        assert get(api, "/healthz")[0] == 200
        heir_stack.close()  # kill -9
        wait_for(lambda: scraped(other).get("leads") == {("sweeper",): 1}, "the other to lead", seconds=15)
        wait_for(lambda: scraped(other)["workers"][()] == 1, "the other to measure", seconds=30)
    store.close()


def test_an_address_for_metrics_needs_a_port() -> None:
    with pytest.raises(ValueError, match=re.escape("metrics_address")):
        Settings(metrics_address="localhost")
    assert Settings(metrics_address="[::1]:9100").metrics_address == "[::1]:9100"


def test_a_taken_address_for_metrics_is_said() -> None:
    import socket

    from orchestrator.daemon.listening import listen
    from orchestrator.errors import OrchestratorError
    from orchestrator.web.app import create_watch

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OrchestratorError, match=f"cannot listen on 127.0.0.1:{port}") as caught:
            asyncio.run(listen(create_watch(dict), "127.0.0.1", port, "`metrics_address`"))
    assert "another `metrics_address`" in caught.value.hint


@pytest.mark.parametrize(
    ("host", "why"), [("127.0.0.1", "Address already in use"), ("nobody.invalid", r"\[Errno -\d+\] \w+")]
)
def test_a_metrics_address_that_cannot_be_had_is_said_and_nothing_else(
    host: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What already listens is ended in order: no traceback of a server that was torn down."""
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"{host}:{taken.getsockname()[1]}"
        daemon = Daemon(Settings(database="t.db", port=0, metrics_address=where))
        with pytest.raises(OrchestratorError, match=why):
            daemon.run()
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []
