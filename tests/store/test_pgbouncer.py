"""Through PgBouncer's transaction mode: the next transaction of a process may be on any connection."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from orchestrator.audience.importing import import_file
from orchestrator.clock import ManualClock, SystemClock
from orchestrator.dispatch.account import open_account
from orchestrator.dispatch.worker import Worker
from orchestrator.ledger.runs import Occasion
from orchestrator.limits.rate import MemoryLimiter
from orchestrator.plan.dry import dry_run
from orchestrator.store import Store, upgrade
from orchestrator.store.blocks import BLOCK, keep_blocks
from orchestrator.store.dialect import prepared
from orchestrator.store.tables import event, message
from orchestrator.timing.quiet import QuietHours
from tests import pgbouncer, world
from tests.contract import test_ledger
from tests.dispatch.recorder import Recorder
from tests.ledger.book import Ledger
from tests.postgres import Postgres

pytestmark = pytest.mark.postgresql
STORIES = [
    story
    for name, story in vars(test_ledger).items()
    if name.startswith("test_") and list(inspect.signature(story).parameters) == ["book"]
]
"""What every ledger promises."""


@pytest.fixture(scope="module")
def bouncer(postgres: Postgres) -> Iterator[Postgres]:
    """The server, seen through it."""
    if pgbouncer.program() is None:
        pytest.skip("there is no pgbouncer, and it cannot be fetched")
    with pgbouncer.pooled(postgres.uri) as address:
        yield Postgres(address, count())


@pytest.fixture
def address(postgres: Postgres, bouncer: Postgres) -> Iterator[str]:
    with postgres.database() as url:
        yield bouncer.url_of(urlsplit(url).path[1:])


@pytest.fixture
def store(address: str) -> Iterator[Store]:
    made = Store(address)
    yield made
    made.close()


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_every_ledgers_promises_hold(store: Store, story: Callable[[Ledger], None]) -> None:
    story(Ledger(store).open())


def hammered(address: str, threads: int = 8) -> list[str]:
    """What goes wrong while several processes say the same thing again and again."""
    wrong, said = list[str](), prepared("SELECT count(*) FROM message WHERE id >= :n")

    def work() -> None:
        store = Store(address)
        try:
            for n in range(40):
                with store.write() as connection:
                    connection.execute(said, {"n": n}).all()
        except DBAPIError as error:
            wrong.append(type(error.orig).__name__)
        finally:
            store.close()

    working = [threading.Thread(target=work) for _ in range(threads)]
    for one in working:
        one.start()
    for one in working:
        one.join(30)
    return wrong


def test_nothing_prepared_is_looked_for_on_another_connection(address: str) -> None:
    assert hammered(address) == []


def test_an_address_that_does_not_say_so_is_caught(address: str) -> None:
    """PgBouncer before 1.21 knows nothing of prepared statements; later ones can be told to."""
    if pgbouncer.version() >= (1, 21):
        pytest.skip("this one carries prepared statements over")
    assert hammered(address.replace("&pgbouncer=true", ""))


def test_migrations_blocks_imports_and_dry_runs_work(postgres: Postgres, bouncer: Postgres, tmp_path: Path) -> None:
    with postgres.database(empty=True) as url:
        store = Store(bouncer.url_of(urlsplit(url).path[1:]))
        upgrade(store)
        with store.write() as connection:
            connection.execute(text("SELECT setval(pg_get_serial_sequence('run', 'id'), :n)"), {"n": 9 * BLOCK})
        assert keep_blocks(store)
        (tmp_path / "e.csv").write_text("u,n,at\n" + "".join(f"u{n % 50},app_open,2026-12-01\n" for n in range(3000)))
        mapping = {"columns": {"user": "u", "name": "n", "at": "at"}}
        assert import_file(store, "events", tmp_path / "e.csv", mapping, SystemClock()).written == 3000
        assert import_file(store, "events", tmp_path / "e.csv", mapping, SystemClock()).written == 0
        world.person(store, "ada")
        with store.read() as connection:
            assert len(connection.execute(select(event.c.id)).all()) == 3000
            clock = ManualClock(world.OPENING)
            found = dry_run(
                connection, world.planner(clock), world.bundle(), Occasion(world.MONDAY.date()), clock.now()
            )
        assert found.audience == 51
        store.close()


PEOPLE = 200


def test_two_workers_send_everything_once(address: str) -> None:
    stores = [Store(address) for _ in range(2)]
    for n in range(PEOPLE):
        world.person(stores[0], f"u{n}")
    clock = ManualClock(world.OPENING)
    now = {"steps": world.DEFINITION["steps"][:1], "window": {"local": "10:30-11:45", "spread": "0%"}}
    world.plan(stores[0], world.bundle(now), clock)
    clock.instant = world.MONDAY + timedelta(hours=10, minutes=15)
    wires = [Recorder(clock) for _ in stores]

    async def play() -> None:
        workers = [_worker(store, clock, wire) for store, wire in zip(stores, wires, strict=True)]
        for one in workers:
            one.start()
        running = [asyncio.create_task(one.run()) for one in workers]
        deadline = time.monotonic() + 30
        while _left(stores[0]) and time.monotonic() < deadline:  # noqa: ASYNC110  # the ledger tells nobody
            await asyncio.sleep(0.05)
        for one in workers:
            one.stop()
        await asyncio.gather(*running)

    asyncio.run(play())
    sent = Counter(call.message for wire in wires for call in wire.calls)
    assert len(sent) == PEOPLE
    assert set(sent.values()) == {1}
    for store in stores:
        store.close()


def _left(store: Store) -> bool:
    with store.read() as connection:
        return (
            connection.execute(select(message.c.id).where(message.c.state != "accepted").limit(1)).first() is not None
        )


def _worker(store: Store, clock: ManualClock, wire: Recorder) -> Worker:
    one = open_account(
        "fcm",
        wire,
        rate=10_000,
        burst=100,
        ramp=timedelta(0),
        connections=16,
        limiter=MemoryLimiter(time.monotonic),
        monotonic=time.monotonic,
    )
    return Worker(store, clock, QuietHours.load(None), {"fcm": one})
