"""A campaign's steps one after the other through a real door, its answers as a test gives them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import select

from orchestrator.audience import people
from orchestrator.audience.events import IncomingEvent, record_events
from orchestrator.campaign.version import Bundle
from orchestrator.clock import ManualClock
from orchestrator.dispatch.door import Door
from orchestrator.dispatch.sweep import sweep
from orchestrator.ledger.claim import next_due
from orchestrator.ledger.receipts import record_receipt
from orchestrator.ledger.settle import Settlement, settle
from orchestrator.ledger.states import State
from orchestrator.plan.due import due_runs
from orchestrator.policy.carriers import Routing
from orchestrator.store import Store
from orchestrator.store.tables import message, transition, users
from tests import world
from tests.dispatch.doors import door, through

PROVIDERS = {**world.ACCOUNTS, "ses": "email"}
ROUTING = Routing.plain(PROVIDERS)
LUNCH = world.MONDAY + timedelta(hours=9, minutes=30)
"""10:30 in Berlin, as the window opens."""
MINUTE = timedelta(minutes=1)
MAIL = {"lunch/email.en.j2": "subject: Lunch\n\n<html><body><p>Lunch is ready.</p></body></html>\n"}
ALL_DAY = {"local": "10:30-20:30", "late": "skip", "spread": "0%"}


def steps(*whens: Mapping[str, Any], channels: Sequence[str] = ("push", "sms", "email")) -> list[dict[str, Any]]:
    """A push, then a step for each condition."""
    first: list[dict[str, Any]] = [{"channel": channels[0], "template": "lunch"}]
    later = zip(channels[1:], whens, strict=False)
    return [*first, *({"channel": channel, "template": "lunch", "when": dict(when)} for channel, when in later)]


def bundle(*whens: Mapping[str, Any], channels: Sequence[str] = ("push", "sms", "email"), **more: Any) -> Bundle:
    """The small campaign with these conditions, all day long; whoever comes back stays in it."""
    made = world.bundle({"window": ALL_DAY, "drop_if_back": False, **more}, steps=steps(*whens, channels=channels))
    return replace(made, templates={**made.templates, **MAIL})


@dataclass
class Journey:
    """One run, at a clock that is put forward."""

    store: Store
    folder: Path
    what: Bundle
    clock: ManualClock = field(default_factory=lambda: ManualClock(world.OPENING))
    answers: dict[int, State] = field(default_factory=dict)
    """By step; what is not named is accepted."""

    def begin(self) -> None:
        """Launch and plan, and go to the window's opening."""
        world.launch(self.store, self.what, self.clock.now())
        with self.store.write() as connection:
            due = due_runs(connection, self.clock.now())
        for item, found in due:
            world.planner(self.clock, ROUTING).plan(self.store, item, found)
        self.clock.instant = LUNCH
        self.door: Door = door(self.store, self.clock, routing=ROUTING)
        self.work()

    def go(self, minutes: float) -> Journey:
        """To so many minutes after the opening: a minute, and then from one due message to the next."""
        until = LUNCH + minutes * MINUTE
        self.clock.instant = min(self.clock.now() + MINUTE, until)
        self.work()
        while self.clock.now() < until:
            with self.store.read() as connection:
                due = next_due(connection, self.clock.machine())
            self.clock.instant = min(max(due or until, self.clock.now() + MINUTE), until)
            self.work()
        return self

    def work(self) -> None:
        """What a daemon does at an instant."""
        sweep(self.store, self.clock, {})
        for _ in range(2):  # what is given another address comes again
            through(self.door, self.clock, self.folder)
        with self.store.write() as connection:
            going = connection.execute(select(message).where(message.c.state == State.SENDING)).all()
            settle(connection, self.door.holder(), self.clock.now(), [self._settled(row) for row in going])

    def _settled(self, row: Any) -> Settlement:
        state = self.answers.get(row.step, State.ACCEPTED)
        now = self.clock.now()
        return Settlement(row.id, row.attempts, "a", now, now, "accepted", state, provider_id=str(row.id))

    def receipt(self, step: int, state: State = State.DELIVERED, name: str = "ada") -> None:
        """The provider says what became of a message."""
        with self.store.write() as connection:
            number = self.number(step, name)
            whose = next(
                name for name, channel in PROVIDERS.items() if channel == self.what.campaign.steps[step - 1].channel
            )
            values: dict[str, Any] = {"provider": whose, "provider_id": str(number), "status": str(state), "code": ""}
            record_receipt(connection, message_id=number, state=state, at=self.clock.now(), **values)

    def touch(self, step: int, event: str = "message_opened", confidence: str | None = "human", ago: float = 0) -> None:
        """Ada, or a machine, opens or clicks."""
        said = {} if confidence is None else {"confidence": confidence}
        self.did(event, ago, message_id=self.number(step), properties=said)

    def did(self, event: str, ago: float = 0, name: str = "ada", **more: Any) -> None:
        """Somebody does something, so many minutes ago."""
        at, now = self.clock.now() - ago * MINUTE, self.clock.now()
        source = f"{name}-{event}-{at.isoformat()}-{more.get('message_id')}-{more.get('properties')}"
        with self.store.write() as connection:
            record_events(connection, [IncomingEvent(name, event, at, source, **more)], now)

    def number(self, step: int, name: str = "ada") -> int:
        """A message's id."""
        query = select(message.c.id).join(users, users.c.id == message.c.user_id).where(message.c.step == step)
        with self.store.read() as connection:
            return int(connection.execute(query.where(users.c.external_id == name)).scalar_one())

    def ends(self, name: str = "ada") -> dict[int, str]:
        """What became of each step: its state and, if it was not sent, why."""
        query = select(message).join(users, users.c.id == message.c.user_id).where(users.c.external_id == name)
        with self.store.read() as connection:
            rows = connection.execute(query.order_by(message.c.step)).all()
        return {row.step: f"{row.state} {row.reason or ''}".strip() for row in rows}

    def sent_at(self, step: int, name: str = "ada") -> float:
        """How many minutes after the opening a message left."""
        with self.store.read() as connection:
            at = connection.execute(select(message.c.sent_at).where(message.c.id == self.number(step, name))).scalar()
        assert at is not None
        return float((at - LUNCH) / MINUTE)

    def history(self, step: int) -> list[tuple[str | None, str, str | None]]:
        """Old state, new state and reason of every change of a message."""
        query = select(transition).where(transition.c.message_id == self.number(step)).order_by(transition.c.id)
        with self.store.read() as connection:
            return [(row.old, row.new, row.reason) for row in connection.execute(query)]


def ada(store: Store, *, mail: bool = True, **more: Any) -> int:
    """Somebody who can be reached on all three channels."""
    usual: dict[str, Any] = {"phone": "+491511", "consents": ("push", "sms", "email")}
    user = world.person(store, "ada", **(usual | more))
    if mail:
        with store.write() as connection:
            at = world.OPENING - timedelta(days=60)
            people.upsert_addresses(connection, [people.AddressRow("ada", "email", "ada@example.com", at)], at)
    return user
