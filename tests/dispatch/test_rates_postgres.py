"""A warm-up shared by processes on PostgreSQL, where marks do run at once."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from orchestrator.dispatch import warm_up
from orchestrator.ledger.warmed import count_warmed
from orchestrator.store import Store
from tests.dispatch.test_rates import Rig, account, planned, readers

pytestmark = pytest.mark.on("postgresql")


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

    def late(*given: Any) -> None:
        time.sleep(0.2)  # everybody has looked by then
        count_warmed(*given)

    monkeypatch.setattr(warm_up, "hold_warmed", lambda *_: None)
    monkeypatch.setattr(warm_up, "count_warmed", late)
    assert sent(store, tmp_path) > 50
