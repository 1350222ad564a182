"""A ledger with nothing around it: one campaign, one run, a push lane and an SMS lane, and messages put in by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import func, insert, select, text

from orchestrator.clock import ManualClock
from orchestrator.ledger import lease
from orchestrator.ledger.claim import Claimed, claim
from orchestrator.ledger.ids import LaneId, MessageId, WorkerId, lane_id, message_id
from orchestrator.ledger.lease import Holder
from orchestrator.ledger.mark import Exit, Hold, mark
from orchestrator.ledger.receipts import record_receipt
from orchestrator.ledger.recover import Recovered, recover
from orchestrator.ledger.settle import Settlement, settle
from orchestrator.ledger.states import CampaignState, RunState, State
from orchestrator.store import Store
from orchestrator.store.tables import attempt, campaign, lane, message, run, transition

START = datetime(2026, 12, 7, 9, tzinfo=UTC)
LEASE = timedelta(seconds=60)
RUN = 1
PUSH, SMS = lane_id(RUN, 1), lane_id(RUN, 2)
CHANNELS = {PUSH: "push", SMS: "sms"}
RESEND = {"push": True, "sms": False}
StoreFactory = Callable[[], Store]


@dataclass(slots=True)
class Ledger:
    """The ledger's verbs, each in a transaction of its own, as their callers use them."""

    store: Store
    clock: ManualClock = field(default_factory=lambda: ManualClock(START))

    def open(self, deadline: timedelta = timedelta(hours=2)) -> Ledger:
        """One running campaign with one active run."""
        now = self.clock.now()
        common = {"campaign": "lunch", "version": "v", "local_date": "2026-12-07", "as_of": now, "created_at": now}
        with self.store.write() as connection:
            row = {"name": "lunch", "state": CampaignState.RUNNING, "version": "v", "launched_at": now}
            connection.execute(insert(campaign).values(**row, updated_at=now))
            connection.execute(insert(run).values(id=RUN, state=RunState.ACTIVE, closes_at=now + deadline, **common))
            if self.store.dialect == "postgresql":
                connection.execute(text("SELECT setval(pg_get_serial_sequence('run', 'id'), :run)"), {"run": RUN})
            for number, channel in CHANNELS.items():
                row = {"id": number, "run_id": RUN, "step": number & 15, "channel": channel, "account": channel}
                connection.execute(insert(lane).values(**row, priority=50))
        return self

    def owe(self, user: int, number: LaneId = PUSH, **more: Any) -> MessageId:
        """A planned message, due now, for two hours."""
        now, step = self.clock.now(), number & 15
        row = {"id": message_id(RUN, user, step), "run_id": RUN, "user_id": user, "step": step, "lane_id": number}
        times = {"due_at": now, "deadline": now + timedelta(hours=2), "state_at": now}
        rest = {"address_id": user * 10 + step, "arm": "all", "held_out": False, "state": State.PLANNED}
        with self.store.write() as connection:
            connection.execute(insert(message).values({**row, **times, **rest, **more}))
        return message_id(RUN, user, step)

    def worker(self) -> WorkerId:
        with self.store.write() as connection:
            return lease.register(connection, host="h", pid=1, machine=self.clock.machine(), lease=LEASE)

    def holder(self, worker: WorkerId) -> Holder:
        return Holder(worker, self.clock.machine())

    def claim(self, worker: WorkerId, number: LaneId = PUSH, n: int = 10) -> list[Claimed]:
        with self.store.write() as connection:
            return claim(connection, self.holder(worker), number, n, self.clock.now())

    def mark(
        self, worker: WorkerId, send: Sequence[int] = (), out: Sequence[Exit] = (), hold: Sequence[Hold] = ()
    ) -> None:
        with self.store.write() as connection:
            mark(connection, self.holder(worker), self.clock.now(), send=send, out=out, hold=hold)

    def send(self, worker: WorkerId, number: LaneId = PUSH, n: int = 10) -> list[Claimed]:
        """Claim and mark: requests are on the wire."""
        batch = self.claim(worker, number, n)
        self.mark(worker, [item.id for item in batch])
        return batch

    def settle(self, worker: WorkerId, item: Claimed, state: State, **more: Any) -> None:
        now = self.clock.now()
        times: dict[str, Any] = {"started_at": now, "ended_at": now, "account": CHANNELS[LaneId(RUN << 4 | item.step)]}
        made = Settlement(id=item.id, n=item.attempts + 1, outcome="x", state=state, **times, **more)
        with self.store.write() as connection:
            settle(connection, self.holder(worker), now, [made])

    def receipt(self, number: int, state: State, status: str = "", code: str = "") -> bool:
        known: dict[str, Any] = {
            "message_id": number,
            "provider": "twilio",
            "provider_id": f"SM{number}",
            "status": status or state,
        }
        with self.store.write() as connection:
            return record_receipt(connection, **known, state=state, code=code, at=self.clock.now())

    def recover(self) -> Recovered:
        """What the sweeper does about dead workers."""
        with self.store.write() as connection:
            dead = lease.end_silent(connection, self.clock.machine())
            return recover(connection, dead, self.clock.now(), resend=RESEND)

    def die(self) -> Recovered:
        """Every worker there is falls silent, and is recovered from."""
        self.clock.advance(LEASE)
        return self.recover()

    def row(self, number: int) -> Any:
        with self.store.read() as connection:
            return connection.execute(select(message).where(message.c.id == number)).one()

    def state(self, number: int) -> State:
        return State(self.row(number).state)

    def attempts(self) -> list[tuple[int, int, str]]:
        with self.store.read() as connection:
            rows = connection.execute(select(attempt).order_by(attempt.c.message_id, attempt.c.n))
            return [(row.message_id, row.n, row.outcome) for row in rows]

    def history(self, number: int) -> list[tuple[str | None, str, str | None]]:
        with self.store.read() as connection:
            rows = connection.execute(select(transition).where(transition.c.message_id == number))
            return [(row.old, row.new, row.reason) for row in rows]

    def counts(self) -> dict[str, int]:
        with self.store.read() as connection:
            found = connection.execute(select(message.c.state, func.count()).group_by(message.c.state))
            return {row[0]: row[1] for row in found}
