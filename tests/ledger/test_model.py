"""The ledger against a model of a few lines: whatever is done in whatever order, both say the same, and it adds up."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from sqlalchemy import func, select

from orchestrator.errors import LeaseLostError
from orchestrator.ledger.claim import SUSPECT_AFTER, Claimed, release
from orchestrator.ledger.ids import LaneId, WorkerId
from orchestrator.ledger.mark import Exit, Hold
from orchestrator.ledger.recover import MAX_ATTEMPTS, POISON_AFTER, expire
from orchestrator.ledger.resolve import resolve_unknown
from orchestrator.ledger.states import TRANSITIONS, State
from orchestrator.store import Store
from orchestrator.store.tables import attempt, message, transition
from tests import world
from tests.ledger.book import CHANNELS, LEASE, PUSH, RESEND, SMS, Ledger

MINUTE = timedelta(minutes=1)
PEOPLE = 6
NOT_SENT = {State.SKIPPED, State.EXPIRED, State.FAILED}
WORD = {State.ACCEPTED: 0, State.UNDELIVERED: 1, State.DELIVERED: 2}
lanes = st.sampled_from((PUSH, SMS))
picks = st.integers(0, 1000)


@dataclass
class Model:
    """What one message should be."""

    lane: LaneId
    state: State = State.PLANNED
    worker: WorkerId | None = None
    attempts: int = 0
    crashes: int = 0
    due: int = 0
    heard: State | None = None
    """The best receipt kept so far."""
    in_doubt: bool = False
    """A worker died with it on the wire: it may have arrived, whatever ends it."""

    def leave(self, state: State) -> None:
        if self.in_doubt and self.state is not State.UNKNOWN and state in NOT_SENT:
            state = State.UNKNOWN
        self.state, self.worker = state, None
        if state in {State.ACCEPTED, State.UNKNOWN} and self.heard not in {None, State.ACCEPTED}:
            self.state = self.heard or state
        elif state is State.UNKNOWN and self.heard is not None:
            self.state = State.ACCEPTED


class LedgerMachine(RuleBasedStateMachine):
    """Workers claim, mark, settle, fall silent and come back as zombies; receipts come when they like."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self.store = store
        world.wipe(store)
        self.book = Ledger(store).open()
        self.model = {self.book.owe(user, number): Model(number) for user in range(PEOPLE) for number in CHANNELS}
        self.alive: dict[WorkerId, int] = {}
        self.dead: list[WorkerId] = []
        self.held: dict[int, tuple[WorkerId, Claimed]] = {}
        self.seen = dict.fromkeys(self.model, State.PLANNED)
        self.minutes = 0

    # --- workers

    @rule()
    def a_worker_starts(self) -> None:
        self.alive[self.book.worker()] = self.minutes + 1

    @precondition(lambda self: self.alive)
    @rule(pick=picks, number=lanes, n=st.integers(1, 5))
    def it_claims(self, pick: int, number: LaneId, n: int) -> None:
        me = self._worker(pick)
        due = [m for m, one in self.model.items() if self._is_due(one, number)]
        batch = self.book.claim(me, number, n)
        taken = [item.id for item in batch]
        suspects = [m for m in taken if self.model[m].crashes >= SUSPECT_AFTER]
        assert set(taken) <= set(due)
        assert len(taken) == min(n, len(due)) or len(suspects) == len(taken) == 1
        assert not suspects or len(taken) == 1
        for item in batch:
            one = self.model[item.id]
            one.state, one.worker = State.CLAIMED, me
            self.held[item.id] = (me, item)

    @rule(pick=picks, verdict=st.sampled_from(("send", "skip", "expire", "hold", "out", "release")))
    def it_marks(self, pick: int, verdict: str) -> None:
        found = self._held(pick, State.CLAIMED)
        if found is None:
            return
        me, item, one = found
        if verdict == "release":
            with self.store.write() as connection:
                release(connection, self.book.holder(me), [item.id], self.book.clock.now())
            one.leave(State.PLANNED)
            return
        one.crashes = 0
        if verdict == "send":
            self.book.mark(me, [item.id])
            one.state, one.attempts = State.SENDING, one.attempts + 1
        elif verdict == "hold":
            later = self.book.clock.now() + MINUTE
            self.book.mark(me, hold=[Hold(item.id, later, "window")])
            one.leave(State.PLANNED)
            one.due = self.minutes + 1
        else:
            state = {"skip": State.SKIPPED, "expire": State.EXPIRED, "out": State.HELD_OUT}[verdict]
            self.book.mark(me, out=[Exit(item.id, state, verdict)])
            one.leave(state)

    @rule(pick=picks, state=st.sampled_from((State.ACCEPTED, State.FAILED, State.UNKNOWN, State.PLANNED)))
    def it_settles(self, pick: int, state: State) -> None:
        found = self._held(pick, State.SENDING)
        if found is None:
            return
        me, item, one = found
        self.book.settle(me, item, state, due_at=self.book.clock.now() if state is State.PLANNED else None)
        one.leave(state)
        if state is State.PLANNED:
            one.due = self.minutes

    @precondition(lambda self: self.dead)
    @rule(pick=picks, number=st.sampled_from((0, 1)))
    def a_zombie_tries(self, pick: int, number: int) -> None:
        me = self.dead[pick % len(self.dead)]
        for m in list(self.model)[number::2]:
            with pytest.raises(LeaseLostError):
                self.book.mark(me, [m])
        with pytest.raises(LeaseLostError):
            self.book.claim(me, PUSH)

    # --- the world

    @rule(minutes=st.sampled_from((0, 1, 1, 2, 119)))
    def time_passes(self, minutes: int) -> None:
        self.minutes += minutes
        self.book.clock.advance(minutes * LEASE)
        silent = [number for number, until in self.alive.items() if until <= self.minutes]
        self.dead += silent
        for number in silent:
            del self.alive[number]

    @rule()
    def the_sweeper_recovers(self) -> None:
        self.book.recover()
        for one in self.model.values():
            if one.worker not in self.dead:
                continue
            if one.state is State.SENDING:
                one.in_doubt = True
                again = RESEND[CHANNELS[one.lane]] and one.attempts < MAX_ATTEMPTS and self.minutes < 120
                one.leave(State.PLANNED if again else State.UNKNOWN)
            elif one.state is State.CLAIMED:
                one.crashes += 1
                one.leave(State.FAILED if one.crashes >= POISON_AFTER else State.PLANNED)

    @rule(pick=picks, state=st.sampled_from(list(WORD)))
    def a_receipt_comes(self, pick: int, state: State) -> None:
        number = list(self.model)[pick % len(self.model)]
        one = self.model[number]
        fresh = self.book.receipt(number, state)
        if fresh and one.state in {State.UNKNOWN, State.ACCEPTED} and (one.state, state) != (State.ACCEPTED,) * 2:
            one.state = state
        one.heard = max(one.heard or state, state, key=WORD.__getitem__)

    @rule(pick=picks, state=st.sampled_from((State.ACCEPTED, State.FAILED)))
    def an_operator_reconciles(self, pick: int, state: State) -> None:
        number = list(self.model)[pick % len(self.model)]
        with self.store.write() as connection:
            moved = resolve_unknown(connection, number, state, None, self.book.clock.now(), "operator t")
        assert moved == (self.model[number].state is State.UNKNOWN)
        if moved:
            self.model[number].leave(state)

    @rule(number=lanes)
    def the_sweeper_expires(self, number: LaneId) -> None:
        with self.store.write() as connection:
            done = expire(connection, number, self.book.clock.now())
        over = [one for one in self.model.values() if self._is_due(one, number) and self.minutes >= 120]
        assert done == len(over)
        for one in over:
            one.leave(State.EXPIRED)

    # --- what always holds

    @invariant()
    def both_say_the_same(self) -> None:
        with self.store.read() as connection:
            rows: list[Any] = list(connection.execute(select(message)))
            counted = select(attempt.c.message_id, func.count()).group_by(attempt.c.message_id)
            tried: dict[int, int] = {row[0]: row[1] for row in connection.execute(counted)}
            lines = connection.execute(select(transition.c.old, transition.c.new).where(transition.c.old.is_not(None)))
            assert all((State(old), State(new)) in TRANSITIONS for old, new in lines)
        assert len(rows) == len(self.model) == sum(self.book.counts().values())
        for row in rows:
            one, old = self.model[row.id], self.seen[row.id]
            assert (row.state, row.worker_id, row.attempts, row.crashes) == (
                *(one.state, one.worker, one.attempts, one.crashes),
            )
            assert (row.worker_id is not None) == (row.state in {State.CLAIMED, State.SENDING})
            assert tried.get(row.id, 0) == row.attempts - (row.state == State.SENDING)
            self.seen[row.id] = State(row.state)
            assert self._reachable(old, State(row.state)), (old, row.state)

    @staticmethod
    def _reachable(old: State, new: State) -> bool:
        """In one step, or in the two that one transaction makes (settled, and its early receipt applied)."""
        via = {b for a, b in TRANSITIONS if a is old}
        return (
            old is new
            or new in via
            or any((step, new) in TRANSITIONS for step in via & {State.ACCEPTED, State.UNKNOWN})
        )

    # --- choosing

    def _worker(self, pick: int) -> WorkerId:
        return list(self.alive)[pick % len(self.alive)]

    def _held(self, pick: int, state: State) -> tuple[WorkerId, Claimed, Model] | None:
        mine = [m for m, one in self.model.items() if one.state is state and one.worker in self.alive]
        if not mine:
            return None
        number = mine[pick % len(mine)]
        me, item = self.held[number]
        return me, item, self.model[number]

    def _is_due(self, one: Model, number: LaneId) -> bool:
        return one.lane == number and one.state is State.PLANNED and one.due <= self.minutes


def test_the_ledger_and_the_model_say_the_same(shared_store: Store) -> None:
    class Here(LedgerMachine):
        def __init__(self) -> None:
            super().__init__(shared_store)

    run_state_machine_as_test(Here, settings=settings(max_examples=25, stateful_step_count=40, deadline=None))
