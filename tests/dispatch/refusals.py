"""People who refuse in every way there is, while messages to them are planned, claimed, marked and sent."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count

from sqlalchemy import Connection, select, update

from orchestrator.audience import people
from orchestrator.audience.people import UserRow
from orchestrator.channel.base import OutcomeClass
from orchestrator.channel.callback import Reply, Report, ReportState
from orchestrator.clock import Clock, ManualClock
from orchestrator.ledger.ids import parts
from orchestrator.ledger.states import State
from orchestrator.store import Store
from orchestrator.store.tables import message
from orchestrator.tracking.callbacks import Callback, CallbackBook
from orchestrator.tracking.wishes import Wish, take_wishes
from tests import world

BEFORE = world.OPENING - timedelta(days=1)
"""When the earlier campaign's run, whose messages people answer, opened."""
Refused = tuple[int, str]
"""A user and a channel."""


def crowd(store: Store, n: int) -> dict[int, str]:
    """``n`` people in Berlin with a token and a phone, who got both messages of an earlier campaign; their phones."""
    at = world.OPENING - timedelta(days=60)
    with store.write() as connection:
        rows = [UserRow(f"u{i}", "U", "en", "Europe/Berlin", "DE") for i in range(n)]
        people.upsert_users(connection, rows, at)
        known = people.user_ids(connection, [row.external_id for row in rows])
        phones = {user: f"+49151{user:08}" for user in known.values()}
        reached = [people.AddressRow(name, "push", f"token-{name}", at) for name in known]
        reached += [people.AddressRow(name, "sms", phones[user], at, country="DE") for name, user in known.items()]
        people.upsert_addresses(connection, reached, at)
        agreed = [
            people.ConsentChange(user, channel, "promotions", granted=True, source="test", at=at)
            for user in known.values()
            for channel in ("push", "sms")
        ]
        people.set_consents(connection, agreed)
    world.plan(store, world.bundle(name="before", schedule={"dates": ["2026-12-06"]}), ManualClock(BEFORE))
    with store.write() as connection:
        connection.execute(update(message).values(state=State.ACCEPTED, sent_at=BEFORE))
    return phones


@dataclass
class Refusals:
    """Commits refusals; ``committed`` says of whom, on which channels, and when on whatever clock ``ticks`` is."""

    store: Store
    clock: Clock
    phones: dict[int, str]
    ticks: Callable[[], float]
    committed: dict[Refused, float] = field(default_factory=dict)
    _numbers: Iterable[int] = field(default_factory=count)

    def __post_init__(self) -> None:
        self.book = CallbackBook(self.clock)
        with self.store.read() as connection:
            ids: list[int] = list(connection.execute(select(message.c.id)).scalars())
        self.earlier = {(int(parts(one).user), parts(one).step): one for one in ids}

    def refuse(self, user: int, chance: random.Random) -> None:
        """In one of the ways: unsubscribed from a message, or from everything; STOP; a complaint; in the app."""
        way = chance.choice((self._unsubscribe, self._everything, self._stop, self._complain, self._in_the_app))
        with self.store.write() as connection:
            channels = way(connection, user, chance.choice(("push", "sms")))
        at = self.ticks()
        for channel in channels:
            self.committed.setdefault((user, channel), at)

    def _unsubscribe(self, connection: Connection, user: int, channel: str) -> tuple[str, ...]:
        assert take_wishes(connection, [Wish(self._message(user, channel), self.clock.now())]) == [True]
        return (channel,)

    def _everything(self, connection: Connection, user: int, channel: str) -> tuple[str, ...]:
        wish = Wish(self._message(user, channel), self.clock.now(), everything=True)
        assert take_wishes(connection, [wish]) == [True]
        return ("push", "sms")

    def _stop(self, connection: Connection, user: int, _channel: str) -> tuple[str, ...]:
        said = Reply(f"reply-{self._number()}", self.phones[user], "STOP")
        self.book.take(connection, [Callback("twilio", "sms", "twilio", said, None)])
        return ("sms",)

    def _complain(self, connection: Connection, user: int, channel: str) -> tuple[str, ...]:
        account = {"push": "fcm", "sms": "twilio"}[channel]
        number = f"report-{self._number()}"
        kind = OutcomeClass.SUPPRESS
        said = Report(number, "complaint", ReportState.DELIVERED, kind=kind, refusal="complaint")
        self.book.take(connection, [Callback(account, channel, account, said, self._message(user, channel))])
        return (channel,)

    def _in_the_app(self, connection: Connection, user: int, channel: str) -> tuple[str, ...]:
        no = people.ConsentChange(user, channel, "promotions", granted=False, source="app", at=self.clock.now())
        people.set_consents(connection, [no])
        return (channel,)

    def _message(self, user: int, channel: str) -> int:
        return self.earlier[user, {"push": 1, "sms": 2}[channel]]

    def _number(self) -> int:
        return next(iter(self._numbers))
