"""What is said to PostgreSQL every second opens no block of the past, however many there are.

Everything that planning, sending, sweeping and hearing say is taken down, and explained with its own values.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, event, select, text
from sqlalchemy.engine.interfaces import ExecutionContext

from orchestrator.channel.base import Envelope, Outcome, OutcomeClass
from orchestrator.clock import ManualClock
from orchestrator.dispatch.account import open_account
from orchestrator.dispatch.sweep import sweep
from orchestrator.dispatch.worker import Worker
from orchestrator.ledger.receipts import record_receipt
from orchestrator.ledger.states import State
from orchestrator.limits.rate import MemoryLimiter
from orchestrator.policy.caps import CapRule, Caps
from orchestrator.store import Store
from orchestrator.store.blocks import BLOCK, keep_blocks
from orchestrator.store.tables import message
from orchestrator.timing.quiet import QuietHours
from orchestrator.tracking.attribution import attribute
from tests import world
from tests.dispatch.recorder import ACCEPTED, Recorder

pytestmark = [pytest.mark.postgresql, pytest.mark.on("postgresql")]

RUN = 3 * BLOCK + 5
LUNCH = {"steps": world.DEFINITION["steps"][:1], "window": {"local": "10:30-11:45", "spread": "0%"}}
LEDGER = re.compile(r"\b(message|member|attempt)\b")
OPENED = re.compile(r"\b(?:on|Update on|Delete on|using) (?:uq_)?(message|member|attempt)_(r\d+|rest)\b")
PAST = {f"r{n * BLOCK}" for n in range(3)}
UNPRUNED = {
    "what dead workers hold": re.compile(r"message\.worker_id IN|JOIN worker ON worker\.id = message\.worker_id"),
    "what stopped runs still have waiting": re.compile(r"run\.state = 'stopped'"),
}
"""These look everywhere, by an index that has nothing else in it, and seldom."""
OURS = re.compile(r"WHERE message\.state = |SELECT message\.state FROM")

Said = tuple[str, Any]


@contextmanager
def taken_down(store: Store) -> Iterator[list[Said]]:
    """What is said in the block about the ledger's tables, each text once."""
    said: dict[str, Any] = {}

    def note(  # as SQLAlchemy calls it
        _connection: Connection, _cursor: object, sql: str, values: Any, _context: ExecutionContext | None, many: bool
    ) -> None:
        if LEDGER.search(sql) and not sql.startswith("EXPLAIN"):
            said.setdefault(sql, values[0] if many and isinstance(values, list) else values)

    found: list[Said] = []
    event.listen(store.writer_engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(store.writer_engine, "before_cursor_execute", note)
        found.extend(said.items())


def opened(connection: Connection, sql: str, values: Any) -> set[str]:
    """The blocks (or the rest) that a statement opens."""
    plan = connection.exec_driver_sql(f"EXPLAIN {sql}", values).scalars()
    return {match[2] for line in plan for match in OPENED.finditer(line)}


def wide(store: Store, said: list[Said]) -> dict[str, set[str]]:
    """The statements that open blocks before the run's, with those that they open."""
    found = {}
    with store.read() as connection:
        for sql, values in said:
            if sql.lstrip().startswith(("SELECT", "UPDATE", "DELETE", "WITH", "INSERT")):
                blocks = opened(connection, sql, values)
                if blocks & PAST and not any(one.search(sql) for one in UNPRUNED.values()):
                    found[" ".join(sql.split())] = blocks
    return found


@pytest.fixture
def crowded(store: Store) -> Store:
    """Six blocks; the next run is in the fourth."""
    for run in (BLOCK, 2 * BLOCK, 3 * BLOCK, RUN - 1):
        with store.write() as connection:
            connection.execute(text("SELECT setval(pg_get_serial_sequence('run', 'id'), :n)"), {"n": run})
        keep_blocks(store)
    for n in range(20):
        world.person(store, f"u{n}")
    return store


def answers(envelope: Envelope) -> Outcome:
    """Most are taken; some are to be tried again, some are lost, some never arrive."""
    kinds = {0: OutcomeClass.RETRY, 1: OutcomeClass.AMBIGUOUS, 2: OutcomeClass.DROP_MESSAGE}
    kind = kinds.get(int(envelope.message_id) // 16 % 5)
    return ACCEPTED if kind is None else Outcome(kind, "x", may_have_left=kind is OutcomeClass.AMBIGUOUS)


async def sent(store: Store, clock: ManualClock) -> None:
    one = open_account(
        "fcm",
        Recorder(clock, answers),
        rate=10_000,
        burst=100,
        ramp=timedelta(0),
        connections=16,
        limiter=MemoryLimiter(time.monotonic),
        monotonic=time.monotonic,
    )
    caps = Caps((CapRule(9, timedelta(days=7), None, None),), frozenset(), timedelta(days=1), None)
    worker = Worker(store, clock, QuietHours.load(None), {"fcm": one}, caps=lambda: caps)
    worker.start()
    running = asyncio.create_task(worker.run())
    deadline = time.monotonic() + 20
    while not _settled(store) and time.monotonic() < deadline:  # noqa: ASYNC110  # the ledger tells nobody
        await asyncio.sleep(0.05)
    worker.stop()
    await running


def _settled(store: Store) -> bool:
    with store.read() as connection:
        busy = (State.CLAIMED, State.SENDING)
        states = set(connection.execute(select(message.c.state)).scalars())
    return State.ACCEPTED in states and not states & set(busy)


def test_what_is_said_every_second_opens_no_block_of_the_past(crowded: Store) -> None:
    clock = ManualClock(world.OPENING)
    with taken_down(crowded) as said:
        item = world.plan(crowded, world.bundle(LUNCH), clock)
        assert item.id == RUN
        clock.instant = world.MONDAY + timedelta(hours=10, minutes=15)
        asyncio.run(sent(crowded, clock))
        with crowded.write() as connection:
            arrived = (
                connection.execute(select(message.c.id).where(message.c.state == State.ACCEPTED)).scalars().first()
            )
            told = {"provider": "fcm", "provider_id": "p", "status": "ok", "code": ""}
            record_receipt(connection, message_id=arrived, state=State.DELIVERED, at=clock.now(), **told)
        world.did(crowded, "u1", "app_open", clock.now())
        attribute(crowded, clock.now())
        sweep(crowded, clock, {"fcm": True})
        clock.instant += timedelta(days=3)
        sweep(crowded, clock, {"fcm": True})
    assert len(said) > 25
    found = wide(crowded, [(sql, values) for sql, values in said if not OURS.search(" ".join(sql.split()))])
    assert not found, "\n".join(f"{sql} {sorted(blocks)}" for sql, blocks in found.items())


def test_a_statement_that_opens_all_is_caught(crowded: Store) -> None:
    with taken_down(crowded) as said, crowded.read() as connection:
        connection.execute(text("SELECT count(*) FROM message WHERE user_id = :user"), {"user": 1})
    assert len(wide(crowded, said)) == 1
