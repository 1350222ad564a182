"""A door with a channel that writes to a file: what the gate and the mark decide, without a worker's loop."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import select

from orchestrator.channel.base import Channel
from orchestrator.channel.log import open_channel
from orchestrator.clock import ManualClock
from orchestrator.dispatch.door import Door, Ready
from orchestrator.ledger import lease
from orchestrator.ledger.claim import due_lanes
from orchestrator.store import Store
from orchestrator.store.tables import message
from orchestrator.timing.quiet import QuietHours


def door(store: Store, clock: ManualClock, **more: Any) -> Door:
    """A worker's door."""
    with store.write() as connection:
        worker = lease.register(connection, host="h", pid=1, machine=clock.machine(), lease=timedelta(days=9))
    return Door(store, clock, QuietHours.load(None), worker, lambda _step: None, **more)


def channel(tmp_path: Path, kind: str) -> Channel:
    return open_channel("log", {"file": tmp_path / f"{kind}.jsonl", "channel": kind}, "")


def through(made: Door, clock: ManualClock, tmp_path: Path, n: int = 100) -> list[Ready]:
    """Everything that is due, up to the threshold."""
    with made.store.read() as connection:
        lanes = due_lanes(connection, clock.now(), clock.machine())
    leaving = []
    for lane in lanes:
        opened = channel(tmp_path, lane.channel)
        ready, out = made.claim_and_compose(lane, n, opened)
        leaving += made.mark(lane, ready, out)
        asyncio.run(opened.close())
    return leaving


def ends(store: Store) -> Counter[tuple[str, str | None]]:
    """Messages by state and reason."""
    with store.read() as connection:
        rows = connection.execute(select(message.c.state, message.c.reason)).all()
    return Counter((row.state, row.reason) for row in rows)
