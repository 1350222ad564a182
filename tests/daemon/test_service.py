"""A database that is away for a while does not end the daemon."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from sqlalchemy.exc import OperationalError
from typing_extensions import override

from orchestrator.clock import SystemClock
from orchestrator.daemon import service
from orchestrator.daemon.restoring import Watchman
from orchestrator.daemon.roles import Role
from orchestrator.daemon.service import Daemon
from orchestrator.errors import StoreLockedError
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
        daemon._begin_threads()
        daemon._watchman = Watchman(cast("Any", None), SystemClock(), daemon.settings, None)
        await asyncio.wait_for(daemon._work(), 10)
        daemon._threads.shutdown()
        daemon._end_threads()
        assert daemon._watchman.sure  # looked at again: the database was away

    asyncio.run(work())
    assert len(tried) == 3


@pytest.mark.parametrize("problem", [OperationalError("BEGIN", {}, Exception("gone")), StoreLockedError("held")])
def test_a_worker_whose_database_is_away_or_held_is_followed_by_another(
    monkeypatch: pytest.MonkeyPatch, problem: Exception
) -> None:
    """Another program may hold a SQLite file for longer than we wait: recovery cannot write then either."""
    monkeypatch.setattr(service, "RESTART_SECONDS", 0.0)
    tried: list[int] = []

    class Broken(Incarnation):
        id = 1

        @override
        async def run(self) -> None:
            tried.append(1)
            if len(tried) == 1:
                raise problem
            await super().run()

    def started(self: Daemon) -> Any:
        return Broken(self)

    def held(*_: object) -> None:
        raise problem

    monkeypatch.setattr(Daemon, "_started", started)
    monkeypatch.setattr(service, "recover_dead", held)

    async def work() -> None:
        daemon = Daemon(Settings())
        daemon._stopping = asyncio.Event()
        daemon._begin_threads()
        daemon._watchman = Watchman(cast("Any", None), SystemClock(), daemon.settings, None)
        daemon.store = daemon.parts = cast("Any", SimpleNamespace(clock=None, resend={}))
        await asyncio.wait_for(daemon._work(), 10)
        daemon._end_threads()

    asyncio.run(work())
    assert len(tried) == 2


def ticking(work: Callable[[], None], doubted: bool = False) -> Daemon:
    """A daemon after one tick of ``work``; its database was compared with the guard, unless that is doubted."""

    async def tick() -> Daemon:
        daemon = Daemon(Settings())
        daemon._begin_threads()
        clock = SystemClock()
        daemon._watchman = Watchman(cast("Any", None), clock, daemon.settings, None)
        daemon.parts = cast("Any", SimpleNamespace(clock=clock))
        daemon._leadership = cast("Any", SimpleNamespace(leads=lambda _: True))
        daemon._watchman.look()
        if doubted:
            daemon._watchman.doubt()
        await daemon._tick(Role.SCHEDULER, work)
        daemon._end_threads()
        return daemon

    return asyncio.run(tick())


@pytest.mark.parametrize("doubted", [False, True])
def test_nothing_periodic_is_done_on_a_database_that_may_be_an_older_one(doubted: bool) -> None:
    """A run that is planned then would look unsent; the process is alive all the same."""
    done: list[int] = []
    daemon = ticking(lambda: done.append(1), doubted)
    assert len(done) == (0 if doubted else 1)
    assert daemon.ticked is not None


@pytest.mark.parametrize(
    ("problem", "sure"),
    [
        (None, True),
        (OperationalError("SELECT", {}, Exception("the server closed the connection")), False),
        (StoreLockedError("held"), False),
        (ValueError("a bug"), True),
    ],
    ids=["nothing", "away", "held", "bug"],
)
def test_a_tick_whose_database_was_away_has_it_compared_again(problem: Exception | None, sure: bool) -> None:
    def work() -> None:
        if problem is not None:
            raise problem

    daemon = ticking(work)
    assert daemon._watchman.sure == sure
    assert daemon.ticked is not None  # alive, whatever it found
