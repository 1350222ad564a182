"""A worker over real channels and a real (sandbox) provider, on a clock that stands where the test puts it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typing_extensions import override

from orchestrator.channel.base import OutcomeClass
from orchestrator.clock import SystemClock
from orchestrator.content.links import Links
from orchestrator.daemon.wiring import Parts, build, links_of
from orchestrator.dispatch.sweep import recover_dead
from orchestrator.dispatch.worker import Worker
from orchestrator.store import Store
from tests import world
from tests.far_end import FarEnd, far_end

__all__ = ["OutcomeClass"]


@dataclass(slots=True)
class StoppedClock(SystemClock):
    """Business time stands still where it is put; machine time runs."""

    instant: datetime = field(default=datetime(2026, 12, 7, 10, 0, tzinfo=UTC))

    @override
    def now(self) -> datetime:
        return self.instant

    def advance(self, span: timedelta) -> None:
        self.instant += span


@dataclass(slots=True)
class Rig:
    """A deployment in this process."""

    far: FarEnd
    store: Store
    clock: StoppedClock
    parts: Parts = field(init=False)
    links: Links = field(init=False)

    def connect(self) -> None:
        """Open (again) every part but the database."""
        settings = self.far.settings(Path(self.store.url))
        self.parts = build(settings, self.clock)
        self.links = links_of(settings)

    def work(
        self, until: Callable[[], bool], *, seconds: float = 15, probe: Callable[[str], None] | None = None
    ) -> None:
        """Run one worker until a condition holds, then stop it as SIGTERM would."""
        self.connect()
        recover_dead(self.store, self.clock, self.parts.resend, others=True)
        asyncio.run(self._work(until, seconds, probe or (lambda _step: None)))

    async def _work(self, until: Callable[[], bool], seconds: float, probe: Callable[[str], None]) -> None:
        worker = Worker(
            self.store,
            self.clock,
            self.parts.quiet,
            self.parts.accounts,
            timedelta(seconds=60),
            probe,
            links=self.links,
        )
        worker.start()
        running = asyncio.create_task(worker.run())
        try:
            async with asyncio.timeout(seconds):
                while not until() and not running.done():  # noqa: ASYNC110  # a test's condition has no event
                    await asyncio.sleep(0.02)
        finally:
            worker.stop()
            await running
            for channel in self.parts.channels.values():
                await channel.close()


@pytest.fixture
def far(tmp_path: Path) -> Iterator[FarEnd]:
    with far_end(tmp_path / "far") as made:
        yield made


@pytest.fixture
def rig(tmp_path: Path, far: FarEnd) -> Iterator[Rig]:
    store = world.fresh(tmp_path / "t.db")
    yield Rig(far, store, StoppedClock(world.OPENING))
    store.close()
