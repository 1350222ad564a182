"""A deployment that is about to be hurt: people, a campaign, a sandbox, and victims one after the other."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import select

from orchestrator.audience import people
from orchestrator.clock import AcceleratedClock, ManualClock, SystemClock
from orchestrator.ledger.states import State
from orchestrator.store import Store, upgrade
from orchestrator.store.tables import message
from tests import world
from tests.chaos.checker import Accounting, Timeline, check
from tests.far_end import FarEnd, wait_for

LUNCH = datetime(2026, 12, 7, 9, 35, tzinfo=UTC)
"""10:35 in Berlin, whose window is open for another 70 minutes; over in Tokyo, not yet open in New York."""

CAMPAIGN: dict[str, Any] = {
    "window": {"local": "10:30-11:45", "late": "skip", "spread": "0%"},
    "steps": [
        {"channel": "push", "template": "lunch"},
        {"channel": "sms", "template": "lunch", "when": {"not": "reopened", "after": "1m"}},
    ],
    "holdout": "5%",
}


@dataclass(frozen=True, slots=True)
class People:
    """How many of each kind. ``both`` have a phone and a token: their text message waits for the push to be settled."""

    push: int = 0
    sms: int = 0
    both: int = 0
    tokyo: int = 0
    new_york: int = 0

    def rows(self) -> Iterator[tuple[str, str, bool, bool]]:
        """Name, zone, token?, phone? The kinds are mixed, so that every chunk and batch has some of each."""
        kinds = [("p", self.push, "Europe/Berlin", True, False), ("s", self.sms, "Europe/Berlin", False, True)]
        kinds += [("b", self.both, "Europe/Berlin", True, True), ("t", self.tokyo, "Asia/Tokyo", True, False)]
        kinds += [("n", self.new_york, "America/New_York", True, False)]
        numbered = [
            (n / count, f"{kind}{n}", zone, token, phone)
            for kind, count, zone, token, phone in kinds
            for n in range(count)
        ]
        for _, name, zone, token, phone in sorted(numbered):
            yield name, zone, token, phone


def settle_people(store: Store, those: People) -> None:
    """Write people with their addresses and consents, a thousand at a time."""
    at, rows = world.OPENING - timedelta(days=60), list(those.rows())
    for start in range(0, len(rows), 1000):
        some = rows[start : start + 1000]
        addresses = [people.AddressRow(name, "push", f"token-{name}-{'x' * 20}", at) for name, _, yes, _ in some if yes]
        phones = [(start + n, name) for n, (name, _, _, yes) in enumerate(some) if yes]
        addresses += [people.AddressRow(name, "sms", f"+49151{n:08d}", at, country="DE") for n, name in phones]
        with store.write() as connection:
            people.upsert_users(connection, [people.UserRow(n, n.title(), "en", zone) for n, zone, *_ in some], at)
            people.upsert_addresses(connection, addresses, at)
            ids = people.user_ids(connection, [name for name, *_ in some])
            changes = [
                people.ConsentChange(user, channel, "promotions", granted=True, source="test", at=at)
                for user in ids.values()
                for channel in ("push", "sms")
            ]
            people.set_consents(connection, changes)


@dataclass(slots=True)
class Victim:
    """A running victim, and what it says."""

    process: subprocess.Popen[str]
    said: Path
    log: Path

    def heard(self, word: str) -> bool:
        return word in self.said.read_text()

    def wait_up(self) -> None:
        """Until it has the database open."""
        wait_for(
            lambda: self.heard("up") or self.process.poll() is not None, "the victim to open the store", seconds=60
        )

    def hit(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self, seconds: float = 120) -> int:
        """Its exit code, once it is over; negative when it was killed."""
        return self.process.wait(seconds)

    def shut(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)


@dataclass(slots=True)
class Scene:
    """One database, one sandbox, one steady business clock."""

    folder: Path
    far: FarEnd
    speed: float = 1.0
    origin: datetime = field(default_factory=lambda: SystemClock().machine())
    kills: int = 0
    victims: list[Victim] = field(default_factory=list)
    address: str = ""
    """Of the database; nothing: a SQLite file in the folder."""

    @property
    def database(self) -> str:
        return self.address or str(self.folder / "t.db")

    @property
    def timeline(self) -> Timeline:
        return Timeline(AcceleratedClock(LUNCH, self.speed, self.origin))

    def populate(self, those: People, *, plan: bool = True, **changes: Any) -> None:
        """People, a launched campaign and (with ``plan``) its planned run; no victim is alive yet."""
        with self.writer() as store:
            upgrade(store)
            settle_people(store, those)
            what = world.bundle(**(CAMPAIGN | changes))
            if plan:
                world.plan(store, what, ManualClock(world.OPENING))
            else:
                world.launch(store, what, world.OPENING)

    def start(self, *options: str) -> Victim:
        """A new life of the process."""
        number = len(self.victims)
        said, log = self.folder / f"victim-{number}.out", self.folder / f"victim-{number}.log"
        time = ["--start", LUNCH.isoformat(), "--origin", self.origin.isoformat(), "--speed", str(self.speed)]
        where = [self.database, "--port", str(self.far.port), "--state", str(self.far.state)]
        command = [sys.executable, "-m", "tests.chaos.victim", *where, *time, *options]
        with said.open("w") as out, log.open("w") as errors:
            process = subprocess.Popen(command, stdout=out, stderr=errors, text=True, cwd=Path(__file__).parents[2])
        victim = Victim(process, said, log)
        self.victims.append(victim)
        return victim

    def dies(self, *options: str) -> Victim:
        """A life that ends by its own SIGKILL."""
        victim = self.start(*options)
        assert victim.end() == -signal.SIGKILL, victim.log.read_text()
        self.kills += 1
        return victim

    def finish(self, *options: str) -> Victim:
        """A life that ends by itself, when nothing is due any more."""
        victim = self.start(*options)
        assert victim.end() == 0, victim.log.read_text()
        return victim

    @contextmanager
    def writer(self) -> Iterator[Store]:
        """The database, for this process to write; where it is a SQLite file, the victims are dead."""
        store = Store(self.database)
        try:
            yield store
        finally:
            store.close()

    @contextmanager
    def reader(self) -> Iterator[Store]:
        """The database, to look at while a victim may be alive."""
        store = Store(self.database, writer=False)
        try:
            yield store
        finally:
            store.close()

    def busy(self) -> bool:
        """Whether anything is on its way, or will be within the hour."""
        with self.reader() as store, store.read() as connection:
            soon = self.timeline.business(SystemClock().machine().timestamp()) + timedelta(hours=1)
            due = (message.c.state == State.PLANNED) & (message.c.due_at < soon)
            going = message.c.state.in_([State.CLAIMED, State.SENDING])
            return connection.execute(select(message.c.id).where(due | going).limit(1)).first() is not None

    def check(self, *, over: bool = True) -> Accounting:
        """Hold ledger and sandbox against each other; ``over``: nothing of an open window may be pending."""
        with self.reader() as store, store.read() as connection:
            found = check(connection, self.far.accepted(), self.timeline, kills=self.kills, over=over)
        print(found)  # noqa: T201  # the figures of a run are published with it
        return found

    def close(self) -> None:
        for victim in self.victims:
            victim.shut()
