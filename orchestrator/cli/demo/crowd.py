"""The simulated people at work: they look at their phones and use the app through the same doors as real people.

Phones are the sandbox's; the app's servers are ``POST /v1/events`` with an API key; a reply to an SMS goes to the
sandbox, which posts it to the daemon, signed, as the provider would.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from heapq import heappop, heappush
from random import Random
from typing import Any

from orchestrator.cli.demo.behaviour import Act, Arrival, own_days, response
from orchestrator.cli.demo.loopback import BusyError, Loopback
from orchestrator.cli.demo.people import SEED, Person
from orchestrator.cli.demo.timeline import business_at
from orchestrator.clock import AcceleratedClock, to_micros

PAGE = 500
_COUPON_WORDS = ("coupon", "券")


@dataclass(slots=True)
class Crowd:
    """Everybody's phone and habits. ``step()`` often; ``done`` is what they have done, in the order of doing it."""

    people: Sequence[Person]
    clock: AcceleratedClock
    phones: Loopback
    app: Loopback
    done: list[Act] = field(default_factory=list)
    arrived: int = 0
    """How many messages they have seen: the number of the sandbox's last one."""
    _waiting: list[Act] = field(default_factory=list)
    _owner: dict[str, Person] = field(default_factory=dict)

    def live(self, end: datetime) -> None:
        """Give everybody their own days from now until ``end``."""
        since, first = self.clock.now(), self.clock.start.date()
        for person in self.people:
            self._owner |= dict.fromkeys([token.value for token in person.tokens], person)
            if person.phone:
                self._owner[person.phone] = person
            self._plan(own_days(person, first, since, end, Random(f"{SEED}:{person.id}:days")))

    def step(self) -> None:
        """Look at what has arrived, and do what is due."""
        page = self.phones.get(f"/sandbox/messages?after={self.arrived}&limit={PAGE}")["messages"]
        for record in page:
            self._look_at(record)
        self._act(self.clock.now())

    def _look_at(self, record: dict[str, Any]) -> None:
        self.arrived = record["seq"]
        person = self._owner.get(record["to"])
        if person is not None:
            arrival = _arrival(record, self.clock)
            self._plan(response(person, arrival, Random(f"{SEED}:{person.id}:{arrival.channel}")))

    def _plan(self, acts: Iterator[Act]) -> None:
        for act in acts:
            heappush(self._waiting, act)

    def _act(self, now: datetime) -> None:
        due: list[Act] = []
        while self._waiting and self._waiting[0].at <= now and len(due) < PAGE:
            due.append(heappop(self._waiting))
        events = [_event(act) for act in due if not act.text]
        try:
            if events:
                self.app.post("/v1/events", {"events": events})
        except BusyError:  # what an app's servers do then: later, the same events under the same ids
            self._plan(iter(due))
            return
        for act in due:
            if act.text:
                self._reply(act)
        self.done += due

    def _reply(self, act: Act) -> None:
        phone = next(person.phone for person in self.people if person.id == act.person)
        self.phones.post("/sandbox/reply", {"to": phone, "text": act.text})


def _arrival(record: dict[str, Any], clock: AcceleratedClock) -> Arrival:
    words = f"{record.get('title') or ''} {record.get('body') or ''}"
    return Arrival(
        message_id=str(record["message_id"]),
        channel="sms" if record["provider"] == "twilio" else "push",
        coupon=any(word in words for word in _COUPON_WORDS),
        at=business_at(clock, datetime.fromtimestamp(record["time"], UTC)),
    )


def _event(act: Act) -> dict[str, Any]:
    event: dict[str, Any] = {"user": act.person, "name": act.name, "at": act.at.astimezone(UTC).isoformat()}
    event["id"] = f"{act.person}-{act.name}-{to_micros(act.at)}"
    if act.message_id:
        event["message_id"] = act.message_id
    if act.name == "order_paid":
        event["properties"] = {"amount": act.amount}
    return event
