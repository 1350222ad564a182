"""A deployment that is about to be hurt: people, a campaign, a sandbox, and victims one after the other."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import func, select

from orchestrator.audience import people
from orchestrator.campaign.version import Bundle
from orchestrator.clock import AcceleratedClock, ManualClock, SystemClock
from orchestrator.ledger.runs import Run
from orchestrator.ledger.states import State
from orchestrator.plan.due import due_runs
from orchestrator.policy.carriers import Routing
from orchestrator.store import Store, upgrade
from orchestrator.store.tables import attempt, message, worker
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
LATER = {"not": "reopened", "after": "1m"}
THREE_CHANNELS: dict[str, Any] = {
    **CAMPAIGN,
    "steps": [*CAMPAIGN["steps"], {"channel": "email", "template": "lunch", "when": LATER}],
    "holdout": "0%",
}
MAIL = """subject: Hello {{ user.name }}

<p>Lunch is ready, {{ user.name }}.</p>
<p><a href="{{ unsubscribe_url }}">Unsubscribe</a></p>
"""
PUSH_ALONE: dict[str, Any] = {**CAMPAIGN, "steps": CAMPAIGN["steps"][:1], "holdout": "0%"}
ROUTING = Routing.plain({**world.ACCOUNTS, "mail": "email"})
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class People:
    """How many of each kind. ``both`` have a phone and a token: their text message waits for the push to be settled."""

    push: int = 0
    sms: int = 0
    mail: int = 0
    both: int = 0
    tokyo: int = 0
    new_york: int = 0
    poisonous: int = 0
    """Like ``push``, with a name that says so."""

    @classmethod
    def mixed(cls, n: int) -> People:
        """``n`` people: six in ten with a token, two with a phone, two with a mailbox."""
        return cls(push=n - 2 * (n // 5), sms=n // 5, mail=n // 5)

    def rows(self) -> Iterator[tuple[str, str, str]]:
        """Name, zone, and what they have: p(ush), s(ms), m(ail). Kinds are mixed, so every batch has some of each."""
        kinds = [("p", self.push, "Europe/Berlin", "p"), ("s", self.sms, "Europe/Berlin", "s")]
        kinds += [("m", self.mail, "Europe/Berlin", "m"), ("b", self.both, "Europe/Berlin", "ps")]
        kinds += [("t", self.tokyo, "Asia/Tokyo", "p"), ("n", self.new_york, "America/New_York", "p")]
        kinds += [("poison", self.poisonous, "Europe/Berlin", "p")]
        numbered = [(n / count, f"{kind}{n}", zone, has) for kind, count, zone, has in kinds for n in range(count)]
        for _, name, zone, has in sorted(numbered):
            yield name, zone, has


def settle_people(store: Store, those: People) -> None:
    """Write people with their addresses and consents, a thousand at a time."""
    at, rows = world.OPENING - timedelta(days=60), list(those.rows())
    for start in range(0, len(rows), 1000):
        some = rows[start : start + 1000]
        addresses = [
            people.AddressRow(name, "push", f"token-{name}-{'x' * 20}", at) for name, _, has in some if "p" in has
        ]
        phones = [(start + n, name) for n, (name, _, has) in enumerate(some) if "s" in has]
        addresses += [people.AddressRow(name, "sms", f"+49151{n:08d}", at, country="DE") for n, name in phones]
        mails = [name for name, _, has in some if "m" in has]
        addresses += [people.AddressRow(name, "email", f"{name}@mail.example", at) for name in mails]
        with store.write() as connection:
            people.upsert_users(connection, [people.UserRow(n, n.title(), "en", zone) for n, zone, *_ in some], at)
            people.upsert_addresses(connection, addresses, at)
            ids = people.user_ids(connection, [name for name, *_ in some])
            changes = [
                people.ConsentChange(user, channel, "promotions", granted=True, source="test", at=at)
                for user in ids.values()
                for channel in ("push", "sms", "email")
            ]
            people.set_consents(connection, changes)


def bundle_of(name: str, changes: dict[str, Any]) -> Bundle:
    """A campaign of this scene, with words for mail too."""
    what = world.bundle({"name": name, **CAMPAIGN, **changes})
    return replace(what, templates={**what.templates, "lunch/email.en.j2": MAIL, "lunch/email.zh.j2": MAIL})


def planned(store: Store) -> list[Run]:
    """Every run that is due, planned to its end."""
    clock = ManualClock(world.OPENING)
    with store.write() as connection:
        due = due_runs(connection, clock.now())
    return [world.planner(clock, ROUTING).plan(store, item, found) for item, found in due]


class Took(NamedTuple):
    """How long a start took, in seconds; and without the time in which it could have run and others did."""

    seconds: float
    alone: float


@dataclass(slots=True)
class Victim:
    """A running victim, and what it says."""

    process: subprocess.Popen[str]
    said: Path
    log: Path
    began: float = field(default_factory=time.monotonic)
    born: float = field(default_factory=time.time)

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    @property
    def up(self) -> bool:
        """Whether it lives and has said that everything is up."""
        return self.alive and self.heard("up")

    @property
    def took(self) -> Took | None:
        """Until everything was up, by its own word: whoever waits for it may look much later. None: it was not."""
        words = self.said.read_text().split()
        if words[:1] != ["up"] or len(words) < 4:
            return None
        seconds = float(words[2]) - self.began
        return Took(seconds, seconds - float(words[3]))

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
    begins: datetime = LUNCH
    """Business time at ``origin``."""
    code: Path = ROOT
    """The folder whose program the next victims run."""
    entry: str = "tests.chaos.life"
    """The module of it that they begin with."""
    _tail: Tail = field(init=False)

    def __post_init__(self) -> None:
        self._tail = Tail(self.far.state / "accepted.jsonl")

    @property
    def database(self) -> str:
        return self.address or str(self.folder / "t.db")

    @property
    def timeline(self) -> Timeline:
        return Timeline(AcceleratedClock(self.begins, self.speed, self.origin))

    def populate(self, those: People, *, plan: bool = True, campaigns: int = 1, **changes: Any) -> None:
        """People, launched campaigns and (with ``plan``) their planned runs; no victim is alive yet."""
        with self.writer() as store:
            upgrade(store)
            settle_people(store, those)
            for n in range(campaigns):
                world.launch(store, bundle_of("lunch" if campaigns == 1 else f"lunch-{n}", changes), world.OPENING)
            if plan:
                planned(store)

    def steady(self) -> None:
        """Business time begins now."""
        self.origin = SystemClock().machine()

    def start(self, *options: str) -> Victim:
        """A new life of the process."""
        number = len(self.victims)
        said, log = self.folder / f"victim-{number}.out", self.folder / f"victim-{number}.log"
        clock = ["--start", self.begins.isoformat(), "--origin", self.origin.isoformat(), "--speed", str(self.speed)]
        where = [self.database, "--port", str(self.far.port), "--state", str(self.far.state)]
        command = [sys.executable, "-m", self.entry, *where, *clock, *options]
        env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        with said.open("w") as out, log.open("w") as errors:  # what is installed is compiled: so are they, once
            process = subprocess.Popen(command, stdout=out, stderr=errors, text=True, cwd=self.code, env=env)
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

    def taken(self) -> int:
        """How many requests the providers have accepted so far."""
        return self._tail.lines()

    def wait_taken(self, n: int, seconds: float = 120) -> None:
        """Until the providers have accepted so many."""
        wait_for(lambda: slept(0.03) and self.taken() >= n, f"{n} accepted requests", seconds=seconds)

    def wait_done(self, seconds: float = 300) -> None:
        """Until nothing is on its way or due within the hour."""
        wait_for(lambda: slept(0.3) and not self.busy(), "everything to be sent", seconds=seconds)

    def first_marks(self) -> tuple[dict[int, float], float]:
        """When each process began its first attempt, by its number; and when the last message was first tried."""
        began = func.min(attempt.c.started_at).label("began")
        by_process = (
            select(worker.c.pid, began).join(attempt, attempt.c.worker_id == worker.c.id).group_by(worker.c.pid)
        )
        with self.reader() as store, store.read() as connection:
            rows = connection.execute(by_process).all()
            last = connection.execute(select(func.max(attempt.c.started_at)).where(attempt.c.n == 1)).scalar_one()
        machine = self.timeline.machine
        return {row.pid: machine(row.began).timestamp() for row in rows}, machine(last).timestamp()

    def check(self, *, over: bool = True, slack: float = 0.0) -> Accounting:
        """Hold ledger and sandbox against each other; ``over``: nothing of an open window may be pending."""
        with self.reader() as store, store.read() as connection:
            found = check(connection, self.far.accepted(), self.timeline, kills=self.kills, over=over, slack=slack)
        print(found)  # noqa: T201  # the figures of a run are published with it
        return found

    def close(self) -> None:
        for victim in self.victims:
            victim.shut()


@dataclass(slots=True)
class Tail:
    """A log that grows: how many lines it has, without reading them twice."""

    path: Path
    _at: int = 0
    _lines: int = 0

    def lines(self) -> int:
        if self.path.exists():
            with self.path.open("rb") as file:
                file.seek(self._at)
                more = file.read()
            self._at += len(more)
            self._lines += more.count(b"\n")
        return self._lines


@dataclass(slots=True)
class Fleet:
    """Several daemons on one database; whoever dies is followed by another."""

    scene: Scene
    size: int
    options: Sequence[str]
    members: list[Victim] = field(default_factory=list)
    _starting: list[Victim] = field(default_factory=list)
    _followers: list[Victim] = field(default_factory=list)
    """Who was started in the place of another."""

    def __post_init__(self) -> None:
        for _ in range(self.size):
            self._begin()

    def _begin(self) -> Victim:
        made = self.scene.start("--daemon", *self.options)
        self.members.append(made)
        self._starting.append(made)
        return made

    def slowest_up(self) -> Took:
        """How long a follower took to be up, at most."""
        took = [one.took for one in self._followers if one.took is not None]
        return Took(max(one.seconds for one in took), max(one.alone for one in took))

    def slowest_first(self) -> float:
        """Seconds from the start of a follower until it began to send, at most, while there was enough to send."""
        marks, last = self.scene.first_marks()
        began = [(one.born, marks[one.process.pid]) for one in self._followers if one.process.pid in marks]
        return max((at - born for born, at in began if at <= last), default=0.0)

    def up(self) -> list[Victim]:
        """Who is up now."""
        self._starting = [one for one in self._starting if not one.up]
        for one in self.members:
            assert one.alive, f"a daemon ended by itself: {one.log.read_text()[-2000:]}"
        return [one for one in self.members if one not in self._starting]

    def wait_up(self, n: int = 0, seconds: float = 90) -> None:
        """Until ``n`` of them are up; 0: all."""
        wait_for(lambda: slept(0.05) and len(self.up()) >= (n or self.size), "daemons to be up", seconds=seconds)

    def kill(self, victim: Victim, *, follow: bool = True) -> None:
        """``kill -9``, and another daemon in its place."""
        victim.hit(signal.SIGKILL)
        victim.end(20)
        self.scene.kills += 1
        self.members.remove(victim)
        if follow:
            self._followers.append(self._begin())

    def end(self) -> None:
        """Ask all of them to end; they do so by themselves."""
        self.wait_up()
        for one in self.members:
            one.hit(signal.SIGTERM)
        for one in self.members:
            assert one.end(60) == 0, one.log.read_text()[-2000:]


def slept(seconds: float) -> bool:
    """For conditions that cost something: look less often."""
    time.sleep(seconds)
    return True
