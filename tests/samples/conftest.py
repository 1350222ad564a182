"""A deployment with the sample people, copied for each test, on a clock that goes where messages are due."""

from __future__ import annotations

import asyncio
import json
import shutil
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select
from typing_extensions import override

from orchestrator.campaign.load import load_bundle
from orchestrator.campaign.spec import Trigger
from orchestrator.campaign.version import Bundle
from orchestrator.cli.context import Context
from orchestrator.clock import SystemClock
from orchestrator.daemon.wiring import build, links_of, planner_of
from orchestrator.dispatch import worker
from orchestrator.dispatch.sweep import sweep
from orchestrator.dispatch.worker import Worker
from orchestrator.ledger.states import State
from orchestrator.plan.due import due_runs
from orchestrator.plan.enrolling import Enroller
from orchestrator.settings import AccountSettings, Settings
from orchestrator.store import Store
from orchestrator.store.tables import message, users
from orchestrator.timing.schedule import opens_at
from tests import world
from tests.plan.carts import happened
from tests.samples.population import YESTERDAY, settle

ROOT = Path(__file__).parents[2]
CHANNELS = ("push", "sms", "email")
PATIENCE_SECONDS = 60
STRIDE = timedelta(minutes=12)
"""How far the clock goes beyond what is due next: less than any window has left after its spread."""


@dataclass(slots=True)
class StandingClock(SystemClock):
    """Business time stands where it is put; machine time runs."""

    instant: datetime = field(default=datetime.combine(YESTERDAY, datetime.min.time(), UTC))

    @override
    def now(self) -> datetime:
        return self.instant


def logging_to(folder: Path) -> dict[str, AccountSettings]:
    """An account of each channel that writes to a file."""
    return {
        channel: AccountSettings(
            channel=channel, provider="log", rate=5000, burst=500, ramp=timedelta(0),
            options={"file": str(folder / f"{channel}.jsonl")},
        )
        for channel in CHANNELS
    }  # fmt: skip


def settings_of(folder: Path, accounts: dict[str, AccountSettings]) -> Settings:
    return Settings(
        database=str(folder / "t.db"),
        campaigns=ROOT / "campaigns",
        templates=ROOT / "templates",
        accounts=accounts,
        public_url="https://push.example.com",
    )


@dataclass(slots=True)
class Shop:
    """A deployment in this process: launch, plan, work to the end."""

    folder: Path
    settings: Settings
    clock: StandingClock = field(default_factory=StandingClock)

    @property
    def context(self) -> Context:
        return Context(self.settings, self.clock)

    def bundle(self, name: str) -> Bundle:
        return load_bundle(name, self.settings.campaigns, self.settings.templates)

    def launch(self, name: str, day: date) -> None:
        """Launch a campaign as its file has it, just after the run of a date opened, and plan what is due."""
        self.clock.instant = opens_at(day) + timedelta(minutes=1)
        if (trigger := self.bundle(name).campaign.schedule.trigger) is not None:
            self._trigger(name, trigger, day)
            return
        with self.store() as store:
            world.launch(store, self.bundle(name), self.clock.now())
            with store.write() as connection:
                due = due_runs(connection, self.clock.now())
            for item, found in due:
                planner_of(self.settings, self.clock).plan(store, item, found)

    def _trigger(self, name: str, trigger: Trigger, day: date) -> None:
        """The campaign running, its event at noon of whoever has a cart, and the tick after their wait."""
        with self.store() as store:
            world.launch(store, self.bundle(name), self.clock.now())
            self.clock.instant = datetime.combine(day, time(12), UTC)
            with store.read() as connection:
                people = connection.execute(select(users.c.external_id, users.c.attributes)).all()
            for user, known in people:
                if known.get("cart_item"):
                    said = {"item": known["cart_item"], "value": known["cart_value"]}
                    happened(store, user, trigger.event, self.clock.now(), **said)
            self.clock.instant += trigger.after
            Enroller(store, planner_of(self.settings, self.clock)).tick()

    def finish(self) -> None:
        """A worker, with the clock put to when something is due, until nothing waits."""
        with self.store() as store:
            asyncio.run(self._finish(store))

    def rows(self, statement: Any) -> list[Any]:
        with self.store() as store, store.read() as connection:
            return list(connection.execute(statement).all())

    def sent(self, channel: str) -> list[dict[str, Any]]:
        path = self.folder / f"{channel}.jsonl"
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []

    def store(self) -> Any:
        return _closing(Store(self.settings.database))

    async def _finish(self, store: Store) -> None:
        parts = build(self.settings, self.clock)
        working = Worker(
            store, self.clock, parts.quiet, parts.accounts, timedelta(seconds=60), links=links_of(self.settings)
        )
        working.start()
        running = asyncio.create_task(working.run())
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while (due := _next(store)) is not None:
                    self.clock.instant = max(due, self.clock.instant) + STRIDE
                    while _waiting(store, self.clock.now()) and not running.done():
                        await asyncio.sleep(0.01)
                        sweep(store, self.clock, parts.resend)
            sweep(store, self.clock, parts.resend)
        finally:
            working.stop()
            await running
            for channel in parts.channels.values():
                await channel.close()


class _closing:  # noqa: N801  # like contextlib's, which knows only close()
    def __init__(self, store: Store) -> None:
        self.store = store

    def __enter__(self) -> Store:
        return self.store

    def __exit__(self, *_: object) -> None:
        self.store.close()


def _next(store: Store) -> datetime | None:
    with store.read() as connection:
        found: datetime | None = connection.execute(
            select(func.min(message.c.due_at)).where(message.c.state == State.PLANNED)
        ).scalar()
    return found


def _waiting(store: Store, now: datetime) -> int:
    busy = message.c.state.in_([State.CLAIMED, State.SENDING])
    due = (message.c.state == State.PLANNED) & (message.c.due_at <= now)
    with store.read() as connection:
        return int(connection.execute(select(func.count()).where(busy | due)).scalar_one())


@pytest.fixture(scope="session")
def settled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database with everybody in it."""
    folder = tmp_path_factory.mktemp("samples")
    settle(Context(settings_of(folder, logging_to(folder)), StandingClock()), folder / "tables")
    return folder / "t.db"


@pytest.fixture
def shop(settled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.setattr(worker, "IDLE_AT_MOST", 0.02)  # the clock is put forward behind the worker's back
    shutil.copy(settled, tmp_path / "t.db")
    return Shop(tmp_path, settings_of(tmp_path, logging_to(tmp_path)))
