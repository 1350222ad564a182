"""The same race on PostgreSQL, where marks do run at once."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.dispatch import restraint
from orchestrator.store import Store
from tests.dispatch.doors import door
from tests.dispatch.test_caps import TWO_A_DAY, at_once, crowd, most_sent

pytestmark = pytest.mark.on("postgresql")


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
