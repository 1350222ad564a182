"""A database that is away for a while does not end the daemon."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from orchestrator.daemon import service
from orchestrator.daemon.service import Daemon
from orchestrator.settings import Settings


class Incarnation:
    """What runs once and then lets the daemon end."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon

    async def run(self) -> None:
        self.daemon._stopping.set()


def test_a_worker_that_cannot_register_is_followed_by_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "RESTART_SECONDS", 0.0)
    tried: list[int] = []

    def started(self: Daemon) -> Any:
        tried.append(1)
        if len(tried) < 3:
            raise OperationalError("SELECT", {}, Exception("the server is starting up"))
        return Incarnation(self)

    monkeypatch.setattr(Daemon, "_started", started)

    async def work() -> None:
        daemon = Daemon(Settings())
        daemon._stopping = asyncio.Event()
        await asyncio.wait_for(daemon._work(), 10)

    asyncio.run(work())
    assert len(tried) == 3
