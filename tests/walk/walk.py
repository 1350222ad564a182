"""A walk: the same operations on the thing and on the oracle, compared after each; kept and cut short when they differ.

An operation is a name and a few numbers, which stand for whatever there is to choose from when it is its turn. So any
part of a walk is a walk, and one that failed can be kept and replayed whatever operations are added later.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from unittest import mock

from orchestrator.audience import refused
from orchestrator.channel.base import Envelope
from orchestrator.clock import ManualClock
from orchestrator.dispatch import storm
from orchestrator.ledger.states import State
from orchestrator.store import Store
from tests.walk.afterwards import STORM_LEAST, Guard, Heard
from tests.walk.compare import denied, differences, history, improper, too_many
from tests.walk.ledger import Book, Key
from tests.walk.shapes import ACCOUNTS, CAPS, SAYINGS, STARTS, Say
from tests.walk.town import LEASE, Life, Town, emptied
from tests.walk.wire import Request

Operation = tuple[str, tuple[int, ...]]
PICK = 10_000
FOLLOWS = 0.7
RAISED = "raised:"
KEPT = Path(__file__).with_name("kept.jsonl")
"""Walks that failed once, one a line: what was wrong, and the operations."""


class WentAstrayError(AssertionError):
    """The thing and the oracle disagree."""


@dataclass(slots=True)
class Flight:
    """A request that was marked, as the oracle sees it."""

    key: Key
    account: str
    address: int
    until: datetime
    marked: datetime
    answer: Heard | None = None


@dataclass(slots=True)
class Being:
    """The oracle's process: its lease, what its accounts remember, what is in the air."""

    worker: int
    until: datetime
    shut_until: dict[str, datetime]
    """Accounts that give nothing out, up to and including an instant."""
    guards: dict[str, Guard] = field(default_factory=lambda: {name: Guard() for name in ACCOUNTS})
    flying: list[Flight] = field(default_factory=list)


@dataclass(slots=True)
class Walk:
    """One walk, under way."""

    store: Store
    loop: asyncio.AbstractEventLoop
    clock: ManualClock = field(default_factory=lambda: ManualClock(STARTS[0]))
    book: Book = field(default_factory=lambda: Book(STARTS[0]))
    town: Town = field(init=False)
    beings: list[Being] = field(init=False)
    workers: dict[int, datetime] = field(default_factory=dict)
    """Every worker there ever was, and until when it may be alive."""
    script: int = 0
    asked: int = 0
    mood: Say | None = None
    """What the providers say to everybody; None: to each what comes."""
    reported: set[tuple[str, str]] = field(default_factory=set)
    guards: dict[str, Guard] = field(default_factory=dict)
    """Those of who takes callbacks in."""

    def __post_init__(self) -> None:
        """A world with nobody in it."""
        self.town = Town(emptied(self.store), self.clock, self.loop, self.say)
        self.town.caps = self.book.caps = CAPS[0]
        self.forget_refusals()
        self.opened()

    @property
    def now(self) -> datetime:
        return self.clock.now()

    def say(self, _envelope: Envelope) -> Say:
        """What the provider says to the next request of an operation."""
        return self.drawn()

    def drawn(self) -> Say:
        self.asked += 1
        return self.mood or SAYINGS[(self.script + 7919 * self.asked) % len(SAYINGS)]

    def put_clock(self, at: datetime) -> None:
        self.clock.instant = self.book.now = at

    def forget_refusals(self) -> None:
        """What processes remember of refusals is gone with them."""
        refused._noted.pop(self.store.writer_engine, None)
        self.book.audience.noted.clear()

    def opened(self) -> None:
        """The oracle's side of fresh processes."""
        self.guards = {}
        self.beings = [self.being(life, dict.fromkeys(ACCOUNTS, self.now)) for life in self.town.lives]

    def being(self, life: Life, shut: dict[str, datetime]) -> Being:
        self.workers[life.worker.id] = self.now + LEASE
        return Being(life.worker.id, self.now + LEASE, shut)

    def reborn(self, n: int, *, process: bool) -> None:
        """Another incarnation; ``process``: of a process that is new too, and remembers nothing."""
        old = self.beings[n]
        self.town.lives[n] = self.town.born(None if process else self.town.lives[n].accounts)
        shut = dict.fromkeys(ACCOUNTS, self.now) if process else old.shut_until
        self.beings[n] = self.being(self.town.lives[n], shut)
        if not process:
            self.beings[n].guards = old.guards

    def dead(self) -> list[int]:
        return [worker for worker, until in self.workers.items() if until <= self.now]

    # --- comparing

    def agree(self, new: Sequence[Request]) -> None:
        """Compare everything.

        Raises:
            WentAstrayError: with the first things that differ.
        """
        wrong = [
            *differences(self.store, self.book),
            *improper(self.book, list(new), self.town.heard),
            *too_many(self.book, list(new), self.town.heard),
            *denied(self.book, self.town.heard),
        ]
        self.refuse(wrong)
        for one in self.book.messages.values():
            if one.state is State.DELIVERED and one.state_at is None:
                one.state_at = self.now

    def refuse(self, wrong: Sequence[str]) -> None:
        if wrong:
            raise WentAstrayError("\n".join([f"at {self.now:%Y-%m-%d %H:%M:%S}:", *wrong[:12]]))

    def expect(self, what: str, found: object, expected: object) -> None:
        if found != expected:
            self.refuse([f"{what}: is {found}, should be {expected}"])


def play(store: Store, loop: asyncio.AbstractEventLoop, operations: Iterable[Operation]) -> int:
    """Walk; how many requests the providers had.

    Raises:
        WentAstrayError: at the first operation after which both sides differ.
    """
    walk = Walk(store, loop)
    machine = mock.patch.object(refused, "time", walk.clock)
    with mock.patch.object(storm, "NONE_OF", STORM_LEAST), machine:
        return _play(walk, operations)


def _play(walk: Walk, operations: Iterable[Operation]) -> int:
    from tests.walk.operations import OPERATIONS

    done = 0
    for number, (name, picks) in enumerate(operations, 1):
        walk.script, walk.asked = (picks[-1] if picks else 0), 0
        try:
            OPERATIONS[name].act(walk, *picks)
            walk.agree(walk.town.heard[done:])
        except WentAstrayError as error:
            raise WentAstrayError(f"operation {number}, {name}{picks}, {error}") from None
        except Exception as error:  # whatever the thing raises is its fault, and this seed's
            raise WentAstrayError(f"operation {number}, {name}{picks}, {RAISED} {error!r}") from error
        done = len(walk.town.heard)
    walk.refuse(history(walk.store))
    return done


def drawn(seed: int, length: int) -> list[Operation]:
    """The walk of a seed: somebody arrives and something is launched first, the rest is chance."""
    from tests.walk.operations import BEGINNING, OPERATIONS

    chance = random.Random(seed)
    names = list(OPERATIONS)
    weights = [OPERATIONS[name].weight for name in names]
    chosen = list(BEGINNING)
    while len(chosen) < length:
        then = OPERATIONS[chosen[-1]].then
        follows = then and chance.random() < FOLLOWS
        chosen.append(chance.choice(then) if follows else chance.choices(names, weights)[0])
    return [(name, tuple(chance.randrange(PICK) for _ in range(OPERATIONS[name].picks))) for name in chosen]


def shortened(store: Store, loop: asyncio.AbstractEventLoop, operations: Sequence[Operation]) -> list[Operation]:
    """The walk without what it fails just as well without."""
    left, size = list(operations), max(len(operations) // 2, 1)
    while size:
        start = 0
        while start < len(left):
            fewer = left[:start] + left[start + size :]
            if fails(store, loop, fewer):
                left = fewer
            else:
                start += size
        size //= 2
    return left


def fails(store: Store, loop: asyncio.AbstractEventLoop, operations: Sequence[Operation]) -> str:
    """How a walk fails; empty when it does not."""
    try:
        play(store, loop, operations)
    except WentAstrayError as error:
        return str(error)
    return ""


def keep(seed: int, operations: Sequence[Operation], words: str) -> None:
    """Write a failed walk down, to be replayed on every run from now on."""
    line = {"seed": seed, "failed": words.splitlines()[:3], "operations": operations}
    with KEPT.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line, ensure_ascii=False) + "\n")


def kept() -> Iterator[tuple[int, list[Operation]]]:
    """The walks that failed once."""
    for line in KEPT.read_text(encoding="utf-8").splitlines():
        found = json.loads(line)
        yield found["seed"], [(name, tuple(picks)) for name, picks in found["operations"]]
