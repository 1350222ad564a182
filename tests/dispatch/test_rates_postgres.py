"""A warm-up shared by processes on PostgreSQL, where marks do run at once: ``TEST_POSTGRES=postgresql://…``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from orchestrator.dispatch import warm_up
from orchestrator.store import Store
from orchestrator.store.tables import metadata
from tests.dispatch.test_rates import Rig, account, planned, readers

pytestmark = pytest.mark.skipif("TEST_POSTGRES" not in os.environ, reason="TEST_POSTGRES names no database")


@pytest.fixture
def store() -> Iterator[Store]:
    made = Store(os.environ["TEST_POSTGRES"])
    metadata.drop_all(made.writer_engine)
    metadata.create_all(made.writer_engine)
    yield made
    metadata.drop_all(made.writer_engine)
    made.close()


def sent(store: Store, tmp_path: Path) -> int:
    """How much eight workers send at once of a day's 50."""
    readers(store, [f"a{n}@x.example" for n in range(400)])
    clock = planned(store)
    rigs = [Rig(store, clock, account(clock, tmp_path, warm_up=[50])) for _ in range(8)]
    for rig in rigs:
        rig.turn()  # the buckets are there, and empty
    clock.advance(timedelta(milliseconds=20))
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda rig: rig.turn(), rigs))
    for rig in rigs:
        rig.close()
    return sum(len(rig.left) for rig in rigs)


def test_workers_at_once_share_a_warm_up(store: Store, tmp_path: Path) -> None:
    assert sent(store, tmp_path) == 50


def test_without_the_lock_they_do_not(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warm_up, "hold_warmed", lambda *_: None)
    assert sent(store, tmp_path) > 50
