"""The rehearsal itself: the real planner, door and settler in one thread, on a clock that jumps.

A round does what the daemon does between two looks at its queue, in the daemon's order: runs that are due are planned,
what has come back is written, what is overdue expires, and every lane with something due goes through the door. Then
the clock jumps to the next instant at which there is anything to do. Messages that fall due within a ``grain`` are
taken up together, and a slow account takes a lot of tokens at once: instants are right to within those.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import text

from orchestrator.campaign.version import read_bundle
from orchestrator.channel.base import OutcomeClass
from orchestrator.clock import from_micros, to_micros
from orchestrator.content.links import Links
from orchestrator.dispatch.batch import take_batch
from orchestrator.dispatch.door import Door, Ready
from orchestrator.dispatch.outcome import Answer
from orchestrator.dispatch.restraint import CapsNow
from orchestrator.dispatch.settling import Settler
from orchestrator.dispatch.sweep import sweep
from orchestrator.dispatch.wordings import Wordings
from orchestrator.ledger import lease
from orchestrator.ledger.adopted import ADOPTING
from orchestrator.ledger.claim import Lane, due_lanes, next_due
from orchestrator.ledger.runs import runs_in
from orchestrator.ledger.states import RunState
from orchestrator.plan.awaken import awaken, waiting
from orchestrator.plan.due import due_runs, next_opening
from orchestrator.plan.enrolling import Enroller
from orchestrator.plan.planner import Planner
from orchestrator.plan.triggers import next_wait
from orchestrator.policy.allowed import OnlyTo
from orchestrator.policy.caps import UNCAPPED
from orchestrator.rehearsal.afterwards import Afterwards
from orchestrator.rehearsal.channels import AT_ONCE, RehearsedAccount
from orchestrator.rehearsal.clock import EventClock
from orchestrator.rehearsal.echoes import Echoes
from orchestrator.store import Store
from orchestrator.tracking.attribution import attribute

FOR_EVER = timedelta(days=36_500)
"""The lease of the one worker there is: nobody waits for its death."""
A_FEW = 25
"""Tokens that are worth a second batch at the same instant: what the gate holds gives its tokens back, one by one."""
A_TICK, TICKS = timedelta(seconds=20), 5
"""How often whoever's wait is over joins: as the daemon's ticks, or every so many grains if that is less often."""
ROUTINE = timedelta(hours=6)
"""How often the housekeeping is done where nothing asks for it earlier."""


@dataclass(slots=True)
class Stage:
    """Everything that works in a rehearsal, on a scratch database that is filled."""

    store: Store
    clock: EventClock
    planner: Planner
    accounts: Mapping[str, RehearsedAccount]
    afterwards: Afterwards
    links: Links | None = None
    only_to: OnlyTo = None
    caps: CapsNow = lambda: UNCAPPED
    grain: timedelta = timedelta(seconds=5)
    echoes: Echoes | None = None
    """What happens again and triggers campaigns; None where no campaign has a trigger."""
    _door: Door = field(init=False)
    _settler: Settler = field(init=False)
    _swept_at: datetime = field(init=False)
    _routine_at: datetime = field(init=False)
    _attributed: int = field(default=-1, init=False)
    _enroller: Enroller = field(init=False)
    _enrol_at: datetime = field(init=False)
    _awaits: bool = field(default=False, init=False)
    """Whether any step waits for what comes back: then the clock stops there too."""

    def play(self, until: datetime, progress: Callable[[datetime], None] = lambda _: None) -> None:
        """Let time pass until ``until``; ``progress`` is told the instant at every jump."""
        self._open()
        while self.clock.now() < until:
            self._housekeep()
            pause = self._round()
            self.clock.jump(min(self._next(pause), until))
            progress(self.clock.now())
        self._housekeep()
        attribute(self.store, until)

    def _open(self) -> None:
        now = self.clock.now()
        with self.store.write() as connection:
            worker = lease.register(connection, host="rehearsal", pid=0, machine=now, lease=FOR_EVER)
        self._door = Door(
            self.store,
            self.clock,
            self.planner.quiet,
            worker,
            lambda _step: None,
            self.only_to,
            links=self.links,
            routing=self.planner.routing,
            caps=self.caps,
            warm_ups={name: one.warm_up for name, one in self.accounts.items() if one.warm_up is not None},
            wordings=Wordings(),  # attributes do not change on the way
        )
        chance = random.Random(self.afterwards.responses.seed)
        self._settler = Settler(self.clock, self.accounts, self.planner.routing, chance)
        self._swept_at = self._routine_at = self._enrol_at = now
        self._enroller = Enroller(self.store, self.planner)

    # --- what happens at an instant -----------------------------------------------------------------------------------

    def _housekeep(self) -> None:
        """What the daemon's ticks do: due runs, what has come back, what is overdue, attribution."""
        now = self.clock.now()
        if self.afterwards.due(now):
            with self.store.write() as connection:
                self.afterwards.happen(connection, now)
        if self.echoes is not None:
            self._enrol(self.echoes, now)
        if self._awaits:
            awaken(self.store, self.clock)
        if now < self._routine_at:
            return
        self._plan(now)
        sweep(self.store, self.clock, {}, self.planner.routing)
        if self.afterwards.recorded != self._attributed:
            attribute(self.store, now)
            self._attributed = self.afterwards.recorded
        with self.store.read() as connection:
            self._awaits = bool(waiting(connection))
        self._swept_at, self._routine_at = now, self._next_routine(now)

    def _enrol(self, echoes: Echoes, now: datetime) -> None:
        """Let happen what happens again, and let those join whose wait is over."""
        with self.store.write() as connection:
            self.afterwards.recorded += echoes.happen(connection, now)
        if now < self._enrol_at:
            return
        for joined in self._enroller.tick():
            with self.store.read() as connection:
                self.afterwards.planned(connection, joined.run, joined.bundle.campaign, joined.users)
        with self.store.read() as connection:
            waits = [at for at in (next_wait(connection), echoes.next_wait(connection)) if at is not None]
        soonest = now + max(A_TICK, TICKS * self.grain)
        self._enrol_at = max(min(waits, default=now + ROUTINE), soonest)

    def _plan(self, now: datetime) -> None:
        with self.store.write() as connection:
            due_runs(connection, now)
        with self.store.read() as connection:
            waiting = runs_in(connection, RunState.PLANNING)
        for item in waiting:
            with self.store.read() as connection:
                bundle = read_bundle(connection, item.version)
            done = self.planner.plan(self.store, item, bundle)
            if done.state is RunState.ACTIVE and item.reason != ADOPTING:  # whose members have come back, or not
                with self.store.read() as connection:
                    self.afterwards.planned(connection, done, bundle.campaign)

    def _next_routine(self, now: datetime) -> datetime:
        """The next instant at which a run opens or somebody's deadline passes; or a while from now."""
        with self.store.read() as connection:
            opening = next_opening(connection, now)
            closing = connection.execute(_NEXT_DEADLINE, {"now": to_micros(now)}).scalar()
        known = [opening, None if closing is None else from_micros(closing)]
        return min([now + ROUTINE, *(instant for instant in known if instant is not None)])

    # --- sending ------------------------------------------------------------------------------------------------------

    def _round(self) -> timedelta | None:
        """One turn over the lanes with something due; how long until a lane that is held up by its rate goes on."""
        with self.store.read() as connection:
            lanes = due_lanes(connection, self.clock.now(), self.clock.machine())
        pauses = [self._lane(lane) for lane in lanes if lane.account in self.accounts]
        return min((pause for pause in pauses if pause is not None), default=None)

    def _lane(self, lane: Lane) -> timedelta | None:
        """Everything of a lane that is due and may leave; None when nothing is left, else how long the rest waits."""
        account, least = self.accounts[lane.account], 1
        while (room := account.room(lane, AT_ONCE)) >= least:
            batch, least = take_batch(self._door, lane, account, room), A_FEW
            if batch.leaving:
                self._send(lane, account, batch.leaving)
            if batch.claimed < room:
                return None
        return account.pace(lane)

    def _send(self, lane: Lane, account: RehearsedAccount, leaving: list[Ready]) -> None:
        now = self.clock.now()
        answers = [self._answer(account, item, now) for item in leaving]
        with self.store.write() as connection:
            self._settler.settle(connection, self._door.holder(), answers)
            chosen = read_bundle(connection, lane.version).campaign
        for answer in answers:
            account.heard(answer.outcome, 0.0)
            if answer.outcome.kind is OutcomeClass.ACCEPTED:
                message = answer.message
                self.afterwards.accepted(chosen, lane.channel, message.id, message.user_id, now)

    def _answer(self, account: RehearsedAccount, item: Ready, now: datetime) -> Answer:
        message = item.composed.message
        outcome = account.answer(message.id, item.composed.address)
        return Answer(message, account.name, outcome, item.marked_at, now, item.composed.payload)

    # --- time ---------------------------------------------------------------------------------------------------------

    def _next(self, pause: timedelta | None) -> datetime:
        """The next instant at which there is anything to do."""
        now = self.clock.now()
        candidates = [self._routine_at] if self.echoes is None else [self._routine_at, self._enrol_at]
        if pause is not None:
            candidates.append(now + pause)
        with self.store.read() as connection:
            due = next_due(connection, self.clock.machine())
        if due is not None and (due > now or pause is None):
            candidates.append(self._gathered(max(due, now)))
        candidates += [self._gathered(max(happens, now)) for happens in self._awaited()]
        return max(min(candidates), now + _INSTANT)

    def _awaited(self) -> Iterator[datetime]:
        """When the next things happen, if anybody waits for one."""
        if not self._awaits:
            return
        with self.store.read() as connection:
            again = self.echoes.next_at(connection) if self.echoes is not None else None
        yield from (at for at in (self.afterwards.next_at(), again) if at is not None)

    def _gathered(self, due: datetime) -> datetime:
        """A grain after ``due``, so that several go together; but before the next deadline, which may be theirs."""
        before = self._routine_at - timedelta(seconds=1)
        return max(due, min(due + self.grain, before))


_INSTANT = timedelta(milliseconds=1)
_NEXT_DEADLINE = text("""
    SELECT min(slot.deadline) FROM slot JOIN run ON run.id = slot.run_id
    WHERE run.state IN ('planning', 'active') AND run.enrols_until IS NULL AND slot.deadline > :now""")
