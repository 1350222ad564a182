"""The same race on PostgreSQL, where marks do run at once: ``TEST_POSTGRES=postgresql://…`` names an empty database."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.dispatch import restraint
from orchestrator.store import Store
from orchestrator.store.tables import metadata
from tests.dispatch.doors import door
from tests.dispatch.test_caps import TWO_A_DAY, at_once, crowd, most_sent

pytestmark = pytest.mark.skipif("TEST_POSTGRES" not in os.environ, reason="TEST_POSTGRES names no database")


@pytest.fixture
def store() -> Iterator[Store]:
    made = Store(os.environ["TEST_POSTGRES"])
    metadata.drop_all(made.writer_engine)
    metadata.create_all(made.writer_engine)
    yield made
    metadata.drop_all(made.writer_engine)
    made.close()


def race(store: Store, tmp_path: Path) -> int:
    clock = crowd(store, people=100, campaigns=20)

    def dawdle(step: str) -> None:
        time.sleep(0.01 if step == "marking" else 0)  # between the count and the mark

    doors = [replace(door(store, clock, caps=lambda: TWO_A_DAY), probe=dawdle) for _ in range(8)]
    return most_sent(store, at_once(store, clock, tmp_path, doors))


def test_workers_at_once_never_send_more_than_the_cap(store: Store, tmp_path: Path) -> None:
    assert race(store, tmp_path) == 2


def test_without_the_lock_they_do(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restraint, "lock_users", lambda *_: None)
    assert race(store, tmp_path) > 2
