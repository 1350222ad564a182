"""The thing itself: the real planner, workers, sweeper and callbacks over SQLite, on a clock that is told."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType
from unittest import mock

from typing_extensions import override

from orchestrator.audience import people
from orchestrator.audience.events import IncomingEvent, record_events
from orchestrator.audience.merging import merge_users
from orchestrator.campaign.version import read_bundle
from orchestrator.channel.base import Envelope, OutcomeClass
from orchestrator.channel.callback import Reply, Report, ReportState
from orchestrator.clock import ManualClock
from orchestrator.dispatch.account import Account, open_account
from orchestrator.dispatch.batch import take_batch
from orchestrator.dispatch.door import Ready
from orchestrator.dispatch.doubt import resolve, unknown_messages
from orchestrator.dispatch.outcome import Answer
from orchestrator.dispatch.sweep import recover_dead, sweep
from orchestrator.dispatch.worker import Worker
from orchestrator.ledger import runs
from orchestrator.ledger.claim import Lane
from orchestrator.ledger.ids import message_id
from orchestrator.ledger.runs import runs_in
from orchestrator.ledger.states import CampaignState, RunState, State
from orchestrator.ledger.stops import resume_account
from orchestrator.limits.rate import MemoryLimiter
from orchestrator.plan import planner as planning
from orchestrator.plan.due import due_runs
from orchestrator.plan.planner import Planner
from orchestrator.policy.caps import Caps
from orchestrator.policy.carriers import Routing
from orchestrator.store import Store
from orchestrator.store.tables import metadata
from orchestrator.timing.quiet import QuietHours, QuietRow, QuietRule
from orchestrator.tracking.callbacks import Callback, CallbackBook, Verdict
from tests import world
from tests.walk.planning import CUT
from tests.walk.shapes import ACCOUNTS, RESEND, TOPIC, Say, Shape, bundle_of
from tests.walk.wallclock import QUIET_CHANNEL, QUIET_COUNTRY, QUIET_FROM, QUIET_UNTIL
from tests.walk.wire import Request, Wire

LEASE = timedelta(seconds=60)
QUIET = QuietHours(
    [
        QuietRule(
            QuietRow.model_validate(
                {
                    "channels": (QUIET_CHANNEL,),
                    "countries": (QUIET_COUNTRY,),
                    "hours": f"{QUIET_FROM // 60}:00-{QUIET_UNTIL // 60}:00",
                }
            )
        )
    ]
)
ROUTING = Routing.plain(ACCOUNTS)
OPERATOR = "operator walk"


class Died(BaseException):
    """The process is gone, at this very step."""


class Most(random.Random):
    """Chance that always says the most."""

    @override
    def random(self) -> float:
        return 1.0


@dataclass(slots=True)
class Flying:
    """What was marked and has not been settled."""

    account: Account
    ready: Ready
    marked: float
    answer: Answer | None = None


@dataclass(slots=True)
class Life:
    """One process: a worker, its accounts, and what it has in the air."""

    worker: Worker
    accounts: Mapping[str, Account]
    flying: list[Flying] = field(default_factory=list)
    trap: tuple[str, int] = ("", 0)
    """The step at which it dies, and how often it reaches it before."""
    seen: int = 0
    meanwhile: Callable[[], None] | None = None
    """What happens while a batch is composed and not marked."""

    def probe(self, step: str) -> None:
        if step == "composed" and self.meanwhile is not None:
            act, self.meanwhile = self.meanwhile, None
            act()
        if step == self.trap[0]:
            self.seen += 1
            if self.seen > self.trap[1]:
                raise Died(step)


@dataclass(slots=True)
class Town:
    """A deployment: one database, two processes, providers, a clock."""

    store: Store
    clock: ManualClock
    loop: asyncio.AbstractEventLoop
    say: Callable[[Envelope], Say]
    heard: list[Request] = field(default_factory=list)
    caps: Caps = field(default_factory=Caps)
    lives: list[Life] = field(init=False)
    book: CallbackBook = field(init=False)
    planner: Planner = field(init=False)
    told: int = 0

    def __post_init__(self) -> None:
        """Everything is empty, and everybody at work."""
        self.planner = Planner(self.clock, QUIET, ROUTING)
        self.open()

    def open(self) -> None:
        """Start over: two processes, and who takes callbacks in."""
        self.book = CallbackBook(self.clock)
        self.lives = [self.born(), self.born()]

    def born(self, accounts: Mapping[str, Account] | None = None) -> Life:
        """A new incarnation; with ``accounts``: in the same process as the last one."""
        made = accounts or {name: self._account(name) for name in ACCOUNTS}
        life = Life(Worker(self.store, self.clock, QUIET, made, LEASE), made)
        worker = life.worker
        worker.probe, worker.routing, worker.caps = life.probe, ROUTING, lambda: self.caps
        worker.start()
        worker._answers.settler.chance = Most()
        return life

    def _account(self, name: str) -> Account:
        limiter = MemoryLimiter(self.clock.monotonic)
        made = open_account(
            name,
            Wire(name, self.clock, self.heard, self.say),
            rate=1e6,
            burst=100_000,
            ramp=timedelta(0),
            connections=1000,
            limiter=limiter,
            monotonic=self.clock.monotonic,
        )
        limiter.available([(f"account:{name}", made.rate)])  # its bucket fills from now on
        return made

    # --- operators and the calendar

    def launch(self, shape: Shape) -> None:
        world.launch(self.store, bundle_of(shape), self.clock.now())

    def put(self, name: str, state: CampaignState) -> None:
        with self.store.write() as connection:
            runs.set_campaign_state(connection, name, state, self.clock.now(), OPERATOR)

    def tick(self, *, cut: bool) -> None:
        """Due runs, planned; with ``cut`` each plan is interrupted after its first chunk."""
        with self.store.write() as connection:
            due_runs(connection, self.clock.now())
        with self.store.read() as connection:
            waiting = [(item, read_bundle(connection, item.version)) for item in runs_in(connection, RunState.PLANNING)]

        def interrupt(_size: int) -> None:
            raise Died("planning")

        for item, bundle in waiting:
            if not cut:
                self.planner.plan(self.store, item, bundle)
                continue
            try:
                with mock.patch.object(planning, "FIRST_CHUNK", CUT):
                    self.planner.plan(self.store, item, bundle, interrupt)
            except Died:
                pass

    def sweep(self) -> None:
        sweep(self.store, self.clock, RESEND, ROUTING)

    def restart(self) -> None:
        """All processes are gone; the one that starts knows that nobody else writes."""
        recover_dead(self.store, self.clock, RESEND, others=True)
        self.open()

    def resume(self, account: str) -> None:
        with self.store.write() as connection:
            resume_account(connection, account, self.clock.now(), OPERATOR)

    def resolve(self, key: tuple[int, int, int], state: State) -> None:
        with self.store.write() as connection:
            chosen = [one for one in unknown_messages(connection) if one.message_id == message_id(*key)]
            resolve(connection, chosen, state, self.clock.now(), OPERATOR)

    # --- people

    def profile(  # one value each
        self,
        name: str,
        place: tuple[str | None, str | None],
        tier: str,
        locale: str = "en",
        dates: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        row = people.UserRow(name, name, locale, *place, {"tier": tier, **dates})
        with self.store.write() as connection:
            people.upsert_users(connection, [row], self.clock.now())

    def register(self, name: str, channel: str, value: str, at: datetime) -> None:
        with self.store.write() as connection:
            people.upsert_addresses(connection, [people.AddressRow(name, channel, value, at)], self.clock.now())

    def agree(self, name: str, channel: str, granted: bool) -> None:
        with self.store.write() as connection:
            user, now = people.user_ids(connection, [name])[name], self.clock.now()
            people.set_consent(connection, user, channel, TOPIC, granted=granted, source="walk", at=now)

    def suppress(self, channel: str, reason: str, address: str | None, user: int | None) -> None:
        with self.store.write() as connection:
            now, both = self.clock.now(), {"channel": channel, "reason": reason, "source": "walk"}
            people.suppress(connection, **both, at=now, address=address, user_id=user)

    def lift(self, channel: str, address: str | None, user: int | None) -> None:
        with self.store.write() as connection:
            people.lift(connection, channel=channel, at=self.clock.now(), address=address, user_id=user)

    def did(
        self, name: str, event: str, at: datetime, of: tuple[int, int, int] | None = None, confidence: str = ""
    ) -> None:
        """An event; ``of``: which message it is about, and who is thought to have made it."""
        self.told += 1
        said = {"confidence": confidence} if confidence else {}
        one = IncomingEvent(name, event, at, f"e{self.told}", said, None if of is None else message_id(*of))
        with self.store.write() as connection:
            record_events(connection, [one], self.clock.now())

    def merge(self, keep: str, other: str) -> None:
        merge_users(self.store, keep, other, self.clock, OPERATOR)

    # --- what providers call back

    def reply(self, value: str, text: str) -> None:
        self.told += 1
        self._hear("twilio", Reply(f"r{self.told}", value, text), None)

    def report(self, request: Request, state: ReportState, code: str, kind: OutcomeClass | None) -> bool:
        """Whether it was news."""
        said = Report(request.id, f"{state}{code}", state, code, kind)
        return self._hear(request.account, said, request.message)

    def _hear(self, account: str, said: Reply | Report, message: int | None) -> bool:
        with self.store.write() as connection:
            taken = self.book.take(connection, [Callback(account, ACCOUNTS[account], account, said, message)])
        return taken == [Verdict.TAKEN]

    # --- workers

    def lanes(self, life: Life) -> list[Lane]:
        return life.worker._due_lanes()

    def take(self, life: Life, lane: Lane, n: int) -> None:
        account = life.accounts[lane.account]
        batch = take_batch(life.worker._door, lane, account, n)
        life.flying += [Flying(account, ready, batch.taken_at) for ready in batch.leaving]

    def send(self, life: Life) -> None:
        """Make the requests that have not been made."""
        for one in life.flying:
            if one.answer is None:
                self.loop.run_until_complete(life.worker._flights.send(one.account, one.ready, one.marked))
                [one.answer] = life.worker._answers.take()

    def land(self, life: Life) -> None:
        """Write what was answered."""
        answered = [one for one in life.flying if one.answer is not None]
        if answered:
            life.worker._answers.write([one.answer for one in answered if one.answer is not None])
            life.flying = [one for one in life.flying if one.answer is None]

    def beat(self, life: Life) -> None:
        life.worker._beat()


def emptied(store: Store) -> Store:
    """The same store with nothing in it."""
    with store.write() as connection:
        for table in metadata.sorted_tables:
            connection.exec_driver_sql(f"DELETE FROM {table.name}")
    return store
