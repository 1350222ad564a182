"""What a worker writes about messages that it names is found by their ids, whatever else workers hold at the moment."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from types import ModuleType
from typing import Any

import pytest
from sqlalchemy import TextClause, text

from orchestrator.clock import ManualClock, to_micros
from orchestrator.ledger import claim, mark, recover, settle
from orchestrator.store import Store
from orchestrator.store.dialect import among, rows
from orchestrator.store.tables import message
from tests import world

pytestmark = [pytest.mark.postgresql, pytest.mark.on("postgresql")]

PEOPLE = 60
AT = to_micros(world.MONDAY + timedelta(hours=10))
SAID: list[tuple[ModuleType, str, Callable[[list[int]], dict[str, Any]]]] = [
    (claim, "_release_sql", lambda ids: {"ids": among(ids)}),
    (mark, "_send_sql", lambda ids: {"ids": among(ids)}),
    (mark, "_exit_sql", lambda ids: {"ids": among(ids), "rows": rows([(one, "skipped", "x") for one in ids])}),
    (mark, "_hold_sql", lambda ids: {"ids": among(ids), "rows": rows([(one, "x", AT, None) for one in ids])}),
    (settle, "_accept_sql", lambda ids: {"ids": among(ids), "answers": rows([(one, "p") for one in ids])}),
    (settle, "_sending_sql", lambda ids: {"ids": among(ids)}),
]
NAMES = [name for _, name, _ in SAID]


@pytest.fixture
def counted(store: Store) -> Store:
    """A run that the server has counted before anybody held any of it."""
    for n in range(PEOPLE):
        world.person(store, f"u{n}")
    world.plan(store, world.bundle(steps=world.DEFINITION["steps"][:1]), ManualClock(world.OPENING))
    with store.write() as connection:
        connection.execute(text("ANALYZE"))
    return store


def explained(store: Store, statement: TextClause, more: Callable[[list[int]], dict[str, Any]]) -> str:
    """How the server goes about it, with a backlog that is worth an index."""
    with store.read() as connection:
        connection.execute(text("SET LOCAL enable_seqscan = off"))
        ids = list(connection.execute(message.select().with_only_columns(message.c.id).limit(PEOPLE // 2)).scalars())
        values: dict[str, Any] = {"worker": 1, "now": AT, **more(ids)}
        return "\n".join(connection.execute(text(f"EXPLAIN {statement.text}"), values).scalars())


@pytest.mark.parametrize(("room", "name", "more"), SAID, ids=NAMES)
def test_it_is_looked_for_by_its_id(
    counted: Store, room: ModuleType, name: str, more: Callable[[list[int]], dict[str, Any]]
) -> None:
    plan = explained(counted, getattr(room, name)("postgresql"), more)
    assert "message_r0_pkey" in plan
    assert "ix_message_r0_held" not in plan


@pytest.mark.parametrize(("room", "name", "more"), SAID, ids=NAMES)
def test_told_plainly_whose_it_is_the_server_reads_all_that_anybody_holds(
    counted: Store,
    monkeypatch: pytest.MonkeyPatch,
    room: ModuleType,
    name: str,
    more: Callable[[list[int]], dict[str, Any]],
) -> None:
    def plainly(_dialect: str, state: str, of: str = "") -> str:
        return f"+{of}worker_id = :worker AND {of}state = '{state}'"

    monkeypatch.setattr(room, "held_by_sql", plainly)
    plan = explained(counted, getattr(room, name).__wrapped__("postgresql"), more)
    assert "Index Scan using ix_message_r0_held" in plan


def test_what_a_dead_worker_held_is_moved_by_its_id(counted: Store) -> None:
    told = {"state": "planned", "reason": "worker_died", "crash": 1, "old": "claimed"}
    plan = explained(counted, recover._MOVE, lambda ids: {"id": ids[0], **told})
    assert "message_r0_pkey" in plan
    assert "ix_message_r0_held" not in plan
