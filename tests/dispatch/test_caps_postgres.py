"""The same race on PostgreSQL, where marks do run at once."""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.dispatch import restraint
from orchestrator.store import Store
from tests.dispatch.doors import door
from tests.dispatch.test_caps import TWO_A_DAY, at_once, crowd, most_sent

pytestmark = pytest.mark.on("postgresql")


def race(store: Store, tmp_path: Path, *, patience: float) -> int:
    """The most that anybody gets when eight workers have all counted before any of them marks, if nothing keeps them.

    ``patience``: for how long each waits for the others there.
    """
    clock, meeting = crowd(store, people=100, campaigns=20), threading.Barrier(8)

    def meet(step: str) -> None:
        if step == "marking" and not meeting.broken:
            with suppress(threading.BrokenBarrierError):
                meeting.wait(patience)

    doors = [replace(door(store, clock, caps=lambda: TWO_A_DAY), probe=meet) for _ in range(8)]
    return most_sent(store, at_once(store, clock, tmp_path, doors))


def test_workers_at_once_never_send_more_than_the_cap(store: Store, tmp_path: Path) -> None:
    assert race(store, tmp_path, patience=0.2) == 2


def test_without_the_lock_they_do(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restraint, "lock_users", lambda *_: None)
    assert race(store, tmp_path, patience=10) > 2
