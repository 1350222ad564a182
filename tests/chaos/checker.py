"""Holds the ledger against what the providers really took. Knows nothing of how either came about.

The numbers are those of the promises: I1 nothing lost, I2 accepted and attempted agree, I3 duplicates, I4 windows, I9
nobody writes without a lease, I10 counts, I12 history. All that is wrong is raised at once.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Row, select

from orchestrator.clock import AcceleratedClock
from orchestrator.ledger.states import PENDING, TRANSITIONS, RunState, State
from orchestrator.store.tables import address, attempt, lane, member, message, run, transition, users, worker

OPENS, CLOSES = time(10, 30), time(11, 45)
"""The campaign's window on everybody's own clock."""
DAY = date(2026, 12, 7)
"""The date of its one run."""
MAY_HAVE_LEFT = ("accepted", "ambiguous")
HELD = {"sms": "text message", "email": "mail"}
"""Channels whose lost answers are never followed by a second request."""
SHOWN = 20


class BrokenPromiseError(AssertionError):
    """At least one promise does not hold."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """Between business time, which the ledger writes, and machine time, which leases and the providers know."""

    clock: AcceleratedClock

    def business(self, seconds: float) -> datetime:
        machine = datetime.fromtimestamp(seconds, UTC)
        return self.clock.start + (machine - self.clock.origin) * self.clock.speed

    def machine(self, business: datetime) -> datetime:
        return self.clock.origin + (business - self.clock.start) / self.clock.speed


@dataclass(frozen=True, slots=True)
class Accounting:
    """What a run is published with."""

    kills: int
    on_the_wire: int
    """Attempts that a worker had marked and not settled when it died."""
    duplicates_allowed: int
    duplicates_seen: int
    unknown: int
    poisoned: int
    states: Mapping[str, int]
    messages: int = 0
    requests: int = 0
    """What the providers took."""
    in_doubt: int = 0
    """Attempts that nobody can tell the end of: on the wire when something happened."""

    @property
    def unsent(self) -> int:
        """Messages that ended without an attempt that was, or may have been, accepted; set aside as poison or not."""
        ends = (State.FAILED, State.EXPIRED, State.SKIPPED)
        return sum(self.states.get(state, 0) for state in ends)


@dataclass(slots=True)
class Books:
    """Everything there is to compare, read at once."""

    runs: Sequence[Row[Any]]
    members: Mapping[tuple[int, int], Row[Any]]
    messages: Mapping[int, Row[Any]]
    attempts: Mapping[int, list[Row[Any]]]
    lanes: Mapping[int, Row[Any]]
    history: Mapping[int, list[Row[Any]]]
    workers: Mapping[int, Row[Any]]
    addresses: Mapping[int, set[tuple[str, str]]]
    user_ids: set[int]
    taken: Mapping[int, list[dict[str, Any]]]
    """What the providers accepted, by message."""
    strays: list[dict[str, Any]] = field(default_factory=list)

    def channel(self, row: Row[Any]) -> str:
        found: str = self.lanes[row.lane_id].channel
        return found


def check(
    connection: Connection,
    accepted: Sequence[dict[str, Any]],
    timeline: Timeline,
    *,
    kills: int,
    over: bool,
    slack: float = 0.0,
) -> Accounting:
    """Compare; ``over``: nothing of a window that is open may be pending.

    ``slack``: seconds from the beginning of a request to when the far end writes it down; not nothing where business
    time runs so fast that they matter.

    Raises:
        BrokenPromiseError: with everything that is wrong.
    """
    books = _read(connection, accepted)
    now = timeline.business(timeline.clock.machine().timestamp())
    wrong = [*_lost(books), *_plan(books), *_attempts(books), *_taken(books), *_duplicates(books)]
    wrong += [*_windows(books, timeline, slack), *_zombies(books, timeline), *_history(books)]
    if over:
        wrong += _unfinished(books, now)
    if wrong:
        raise BrokenPromiseError("\n".join([f"{len(wrong)} broken promises:", *wrong[:SHOWN]]))
    return _account(books, kills)


def _read(connection: Connection, accepted: Sequence[dict[str, Any]]) -> Books:
    def rows(table: Any, *order: Any) -> Sequence[Row[Any]]:
        return connection.execute(select(table).order_by(*order)).all()

    attempts, history, addresses, taken = (defaultdict[int, Any](list) for _ in range(4))
    for row in rows(attempt, attempt.c.message_id, attempt.c.n):
        attempts[row.message_id].append(row)
    for row in rows(transition, transition.c.id):
        if row.message_id is not None:
            history[row.message_id].append(row)
    for row in rows(address):
        addresses[row.user_id].append((row.channel, row.value))
    for record in accepted:
        taken[int(record["message_id"] or 0)].append(record)
    messages = {row.id: row for row in rows(message, message.c.id)}
    return Books(
        runs=rows(run),
        members={(row.run_id, row.user_id): row for row in rows(member)},
        messages=messages,
        attempts=attempts,
        lanes={row.id: row for row in rows(lane)},
        history=history,
        workers={row.id: row for row in rows(worker)},
        addresses={user: set(those) for user, those in addresses.items()},
        user_ids=set(connection.execute(select(users.c.id)).scalars()),
        taken=taken,
        strays=[record for number, those in taken.items() if number not in messages for record in those],
    )


def _lost(books: Books) -> Iterator[str]:
    """I1, I10: a member for every user, a message for every step that is owed, and the counts say so."""
    for one in books.runs:
        if one.state == RunState.PLANNING:
            continue
        found = {user for number, user in books.members if number == one.id}
        yield from (f"I1 user {user} has no decision in run {one.id}" for user in books.user_ids - found)
        if one.audience != len(found):
            yield f"I10 run {one.id} counts {one.audience} members and has {len(found)}"


def _plan(books: Books) -> Iterator[str]:
    """I1: who is planned has a message for each step that reaches them, and who is not has none."""
    planned = {row.id for row in books.runs if row.state != RunState.PLANNING}
    owed = {
        number << 40 | user << 4 | one.step
        for (number, user), row in books.members.items()
        if row.decision == "planned" and number in planned
        for one in books.lanes.values()
        if one.run_id == number and any(channel == one.channel for channel, _ in books.addresses[user])
    }
    there = {row.id for row in books.messages.values() if row.run_id in planned}
    yield from (f"I1 message {number} is lost" for number in sorted(owed - there))
    yield from (f"I1 message {number} is owed to nobody" for number in sorted(there - owed))


def _unfinished(books: Books, now: datetime) -> Iterator[str]:
    yield from (f"I1 run {row.id} is still planned" for row in books.runs if row.state == RunState.PLANNING)
    for row in books.messages.values():
        waiting = row.state in PENDING and (row.state != State.PLANNED or row.due_at <= now)
        if waiting:
            yield f"I1 message {row.id} is {row.state} ({row.reason}) and nobody is at it"


def _attempts(books: Books) -> Iterator[str]:
    """I10: attempts are numbered without a gap, and there is one for every time a message was marked."""
    for row in books.messages.values():
        numbers = [one.n for one in books.attempts[row.id]]
        marked = row.attempts - (row.state == State.SENDING)
        if numbers != list(range(1, marked + 1)):
            yield f"I10 message {row.id} ({row.state}) was marked {row.attempts} times, its attempts are {numbers}"
        if (row.state in {State.CLAIMED, State.SENDING}) != (row.worker_id is not None):
            yield f"I9 message {row.id} is {row.state}, held by {row.worker_id}"


def _taken(books: Books) -> Iterator[str]:
    """I2: what a provider took has an attempt that may have been it; what the ledger calls accepted was taken."""
    yield from (f"I2 a provider took {record['message_id']}, which is not in the ledger" for record in books.strays)
    for row in books.messages.values():
        those, attempts = books.taken[row.id], books.attempts[row.id]
        may = sum(one.outcome in MAY_HAVE_LEFT for one in attempts) + (row.state == State.SENDING)
        if len(those) > may:
            yield f"I2 message {row.id} ({row.state}, {row.reason}) was taken {len(those)} times in {may} attempts"
        if row.held_out and those:
            yield f"I2 message {row.id} is held out and was sent"
        if any((books.channel(row), record["to"]) not in books.addresses[row.user_id] for record in those):
            yield f"I2 message {row.id} went to somebody else"
        ids = {record["id"] for record in those}
        yield from (
            f"I2 message {row.id}: attempt {one.n} says accepted, the provider does not know it"
            for one in attempts
            if one.outcome == "accepted" and one.provider_id not in ids
        )
        if row.state == State.ACCEPTED and not any(one.outcome == "accepted" for one in attempts):
            yield f"I2 message {row.id} says accepted, none of its attempts does"


def _duplicates(books: Books) -> Iterator[str]:
    """I3: a text message at most once; a push again only after an attempt in doubt, under the same collapse key."""
    for row in books.messages.values():
        those = books.taken[row.id]
        if books.channel(row) in HELD and len(those) > 1:
            yield f"I3 {HELD[books.channel(row)]} {row.id} was taken {len(those)} times"
        if len(those) > 1 + _in_doubt(books, row):
            yield f"I3 message {row.id} was taken {len(those)} times, {_in_doubt(books, row)} attempts were in doubt"
        keys = {record["collapse_key"] for record in those}
        if books.channel(row) == "push" and those and (len(keys) != 1 or not all(keys)):
            yield f"I3 push {row.id} went out under the collapse keys {keys}"


def _in_doubt(books: Books, row: Row[Any]) -> int:
    return sum(one.outcome == "ambiguous" for one in books.attempts[row.id])


@cache
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def outside(
    connection: Connection, accepted: Sequence[dict[str, Any]], timeline: Timeline, slack: float = 0.0
) -> list[str]:
    """What is wrong with the instants alone: for what was taken while one clock was in use."""
    return list(_windows(_read(connection, accepted), timeline, slack))


def _windows(books: Books, timeline: Timeline, slack: float) -> Iterator[str]:
    """I4: nothing is taken outside the recipient's window, and the provider may not try beyond it."""
    for row in books.messages.values():
        if (row.run_id, row.user_id) not in books.members:
            continue  # said already
        zone = _zone(books.members[row.run_id, row.user_id].zone_key)
        for record in books.taken[row.id]:
            at = timeline.business(record["time"]).astimezone(zone)
            began = timeline.business(record["time"] - slack).astimezone(zone)
            if not (at.time() >= OPENS and began.time() < CLOSES and at.date() == began.date() == DAY):
                yield f"I4 message {row.id} was taken at {at}"
            if record["expires_at"] is None:  # mail has no such thing
                continue
            ends = at + (record["expires_at"] - record["time"]) * timedelta(seconds=timeline.clock.speed)
            if ends > at.replace(hour=CLOSES.hour, minute=CLOSES.minute) + timedelta(minutes=1) * timeline.clock.speed:
                yield f"I4 the provider may try message {row.id} until {ends}"


def _zombies(books: Books, timeline: Timeline) -> Iterator[str]:
    """I9: a worker writes nothing after its lease."""
    ends = {f"worker {number}": row.lease_until for number, row in books.workers.items()}
    for lines in books.history.values():
        for line in lines:
            if line.actor in ends and timeline.machine(line.at) > ends[line.actor]:
                yield f"I9 {line.actor} moved message {line.message_id} to {line.new} after its lease"
    for row in books.messages.values():
        last = books.attempts[row.id][-1:]
        if (
            row.state == State.ACCEPTED
            and last
            and timeline.machine(row.state_at) > ends[f"worker {last[0].worker_id}"]
        ):
            yield f"I9 worker {last[0].worker_id} settled message {row.id} after its lease"


@cache
def _after(state: State) -> frozenset[State]:
    """The states that can be reached from one, itself among them."""
    found, todo = {state}, [state]
    while todo:
        here = todo.pop()
        news = {new for old, new in TRANSITIONS if old is here} - found
        found |= news
        todo += news
    return frozenset(found)


def _history(books: Books) -> Iterator[str]:
    """I12: every line is a transition that exists, each begins where the one before can lead, time never runs back."""
    for row in books.messages.values():
        here, at = State.PLANNED, None
        for line in books.history[row.id]:
            old, new = State(line.old) if line.old else here, State(line.new)
            if (old, new) not in TRANSITIONS and line.old:
                yield f"I12 message {row.id} went from {old} to {new}"
            if old not in _after(here):
                yield f"I12 message {row.id} was {here}, then {old}"
            if at is not None and line.at < at:
                yield f"I12 message {row.id}: {line.new} is written before what came earlier"
            here, at = new, line.at
        if State(row.state) not in _after(here):
            yield f"I12 message {row.id} was {here} and is {row.state}"


def _account(books: Books, kills: int) -> Accounting:
    everything = [one for those in books.attempts.values() for one in those]
    pushes = [row for row in books.messages.values() if books.channel(row) == "push"]
    states = Counter(row.state for row in books.messages.values())
    return Accounting(
        kills=kills,
        on_the_wire=sum(one.code == "worker_died" for one in everything),
        duplicates_allowed=sum(_in_doubt(books, row) for row in pushes),
        duplicates_seen=sum(max(len(those) - 1, 0) for those in books.taken.values()),
        unknown=states[State.UNKNOWN],
        poisoned=sum(row.reason == "poison" for row in books.messages.values()),
        states=dict(states),
        messages=len(books.messages),
        requests=sum(map(len, books.taken.values())),
        in_doubt=sum(one.outcome == "ambiguous" for one in everything),
    )
