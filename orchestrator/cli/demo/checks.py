"""What has to hold at the end, counted once more from outside: the SQLite file, the provider's log, the people's acts.

Nothing here uses the planner, the policy or the report: a mistake of theirs would otherwise excuse itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import orjson
from sqlalchemy import Connection, text

from orchestrator.cli.demo.behaviour import Act
from orchestrator.cli.demo.people import Person
from orchestrator.cli.demo.purchases import History
from orchestrator.cli.demo.timeline import business_at
from orchestrator.clock import AcceleratedClock, from_micros

OPENS, CLOSES = time(10, 30), time(11, 45)
GOAL_WITHIN = timedelta(hours=24)
REGULAR, REGULAR_DAYS, DORMANT_DAYS = 2, 600, 30
"""The segment in words: at least two orders in 600 days, none in the last 30."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that has to hold, and whether it does."""

    words: str
    holds: bool


@dataclass(frozen=True, slots=True)
class Member:
    """A member as the ledger has them."""

    person: str
    arm: str
    held_out: bool
    planned: bool
    anchor: datetime | None
    reopened_at: datetime | None


@dataclass(frozen=True, slots=True)
class Attempt:
    """A request to a provider as the ledger has it."""

    person: str
    message_id: str
    begun: datetime
    ended: datetime | None


@dataclass(frozen=True, slots=True)
class Ledger:
    """All that is read from the database."""

    as_of: datetime
    members: Sequence[Member]
    attempts: Sequence[Attempt]
    states: Mapping[str, int]
    stopped: frozenset[str]
    """Numbers that may not be sent to because their owner said so."""


@dataclass(frozen=True, slots=True)
class Truth:
    """What only a simulation can know: of an arm's members, who reopened, and who would have without any message."""

    arm: str
    members: int
    did: int
    would_have: int

    @property
    def effect(self) -> float:
        """The true lift, as a share of the members."""
        return (self.did - self.would_have) / self.members if self.members else 0.0


def read_ledger(connection: Connection) -> Ledger:
    """What the database says."""
    as_of = connection.execute(text("SELECT min(as_of) FROM run")).scalar()
    states = connection.execute(text("SELECT state, count(*) AS n FROM message GROUP BY state"))
    stopped = connection.execute(text("SELECT address FROM suppression WHERE reason = 'stop' AND valid_until IS NULL"))
    return Ledger(
        as_of=from_micros(as_of or 0),
        members=[
            Member(r.person, r.arm, bool(r.held_out), r.decision == "planned", _at(r.anchor), _at(r.reopened_at))
            for r in connection.execute(_MEMBERS)
        ],
        attempts=[
            Attempt(r.person, str(r.message_id), from_micros(r.started_at), _at(r.ended_at))
            for r in connection.execute(_ATTEMPTS)
        ],
        states={row.state: row.n for row in states},
        stopped=frozenset(row.address for row in stopped if row.address),
    )


_MEMBERS = text("""
    SELECT users.external_id AS person, arm, held_out, decision, anchor, reopened_at
    FROM member JOIN users ON users.id = member.user_id""")
_ATTEMPTS = text("""
    SELECT users.external_id AS person, attempt.message_id, started_at, ended_at
    FROM attempt JOIN message ON message.id = attempt.message_id JOIN users ON users.id = message.user_id""")


def _at(micros: int | None) -> datetime | None:
    return None if micros is None else from_micros(micros)


def read_accepted(log: Path) -> list[dict[str, Any]]:
    """What the provider says it accepted."""
    return [orjson.loads(line) for line in log.read_bytes().splitlines()] if log.is_file() else []


def expected_audience(histories: Sequence[History], shift: timedelta, as_of: datetime) -> int:
    """The segment's size, from the purchases themselves."""

    def selected(history: History) -> bool:
        instants = [datetime.combine(one.day + shift, time(), UTC) for one in history.purchases]
        regular = sum(at >= as_of - timedelta(days=REGULAR_DAYS) for at in instants) >= REGULAR
        return regular and instants[-1] < as_of - timedelta(days=DORMANT_DAYS)

    return sum(map(selected, histories))


def check_all(
    ledger: Ledger,
    accepted: Sequence[Mapping[str, Any]],
    people: Sequence[Person],
    acts: Sequence[Act],
    clock: AcceleratedClock,
    *,
    audience: int,
    decided: int,
) -> Iterator[Check]:
    """Every check. ``audience`` is counted from the purchases, ``decided`` by the report."""
    homes = {person.id: ZoneInfo(person.home) for person in people}
    yield _accounted(len(ledger.members), decided, audience)
    yield from _in_time(ledger, accepted, homes, clock)
    yield _duplicates(accepted)
    yield _settled(ledger, accepted)
    yield _reopens(ledger, acts)
    yield _stops(ledger, people, acts)


def _accounted(members: int, decided: int, audience: int) -> Check:
    words = f"every member accounted for: {members:,} = {decided:,} decided = {audience:,} counted in the purchases"
    return Check(words, members == decided == audience)


def inside(at: datetime, home: ZoneInfo) -> bool:
    """Whether somebody's own clock shows 10:30 to 11:45."""
    return OPENS <= at.astimezone(home).time() < CLOSES


def _in_time(
    ledger: Ledger, accepted: Sequence[Mapping[str, Any]], homes: Mapping[str, ZoneInfo], clock: AcceleratedClock
) -> Iterator[Check]:
    begun = [one for one in ledger.attempts if not inside(one.begun, homes[one.person])]
    words = f"sends outside the recipient's own 10:30-11:45: {len(begun)} of {len(ledger.attempts):,} (ledger)"
    yield Check(words, not begun)
    requests: dict[str, list[Attempt]] = {}
    for one in ledger.attempts:
        requests.setdefault(one.message_id, []).append(one)
    strange = [record for record in accepted if not _in_a_request(record, requests, homes, clock)]
    words = f"sends outside the recipient's own 10:30-11:45: {len(strange)} of {len(accepted):,} (provider's log)"
    yield Check(words, not strange)


_APART = timedelta(milliseconds=5)


def _in_a_request(
    record: Mapping[str, Any],
    requests: Mapping[str, Sequence[Attempt]],
    homes: Mapping[str, ZoneInfo],
    clock: AcceleratedClock,
) -> bool:
    """Whether the provider accepted it inside the window.

    A request that leaves in time may arrive after the window closed: milliseconds are minutes of an accelerated day. It
    must then have been accepted while a request was under way that had begun inside.
    """
    at, apart = business_at(clock, datetime.fromtimestamp(record["time"], UTC)), clock.business_span(_APART)
    attempts = requests.get(str(record["message_id"]), ())
    return any(
        inside(at, homes[one.person])
        or (inside(one.begun, homes[one.person]) and one.begun - apart <= at <= (one.ended or at) + apart)
        for one in attempts
    )


def _duplicates(accepted: Sequence[Mapping[str, Any]]) -> Check:
    times = Counter(record["message_id"] for record in accepted)
    return Check(
        f"duplicates at the provider: {len(accepted) - len(times)} of {len(accepted):,}", len(accepted) == len(times)
    )


def _settled(ledger: Ledger, accepted: Sequence[Mapping[str, Any]]) -> Check:
    states = ledger.states
    mine = sum(states.get(state, 0) for state in ("accepted", "delivered", "undelivered"))
    owed = sum(states.get(state, 0) for state in ("planned", "claimed", "sending", "unknown"))
    words = f"accepted by ledger and by provider: {mine:,} = {len(accepted):,}; still waiting or in doubt: {owed}"
    return Check(words, mine == len(accepted) and not owed)


def _opens(acts: Sequence[Act]) -> dict[str, list[Act]]:
    opens: dict[str, list[Act]] = {}
    for act in acts:
        if act.name == "app_open":
            opens.setdefault(act.person, []).append(act)
    return opens


def _first(opens: Sequence[Act], anchor: datetime) -> datetime | None:
    return min((act.at for act in opens if anchor <= act.at < anchor + GOAL_WITHIN), default=None)


def reopens_missing(ledger: Ledger, acts: Sequence[Act]) -> tuple[int, int]:
    """How many members came back by what they did, and about how many of all the ledger says something else."""
    opens = _opens(acts)
    came = {m.person: _first(opens.get(m.person, ()), m.anchor) for m in ledger.members if m.anchor is not None}
    wrong = sum(came.get(member.person) != member.reopened_at for member in ledger.members)
    return sum(at is not None for at in came.values()), wrong


def _reopens(ledger: Ledger, acts: Sequence[Act]) -> Check:
    came, wrong = reopens_missing(ledger, acts)
    return Check(f"reopens attributed: {came:,} people came back, the ledger differs about {wrong}", not wrong)


def _stops(ledger: Ledger, people: Sequence[Person], acts: Sequence[Act]) -> Check:
    phones = {person.id: person.phone for person in people}
    said = {phones[act.person] for act in acts if act.text}
    obeyed = len(said & ledger.stopped)
    return Check(f"STOP replies obeyed: {obeyed} of {len(said)}", obeyed == len(said))


def truths(ledger: Ledger, acts: Sequence[Act]) -> list[Truth]:
    """The true effect per arm, among those who were to get something, and in the holdout (where there is none)."""
    opens = _opens(acts)
    groups: dict[str, list[tuple[bool, bool]]] = {}
    for member in ledger.members:
        if member.planned and member.anchor is not None:
            mine = opens.get(member.person, [])
            did = _first(mine, member.anchor) is not None
            would = _first([act for act in mine if act.unasked], member.anchor) is not None
            groups.setdefault("holdout" if member.held_out else member.arm, []).append((did, would))
    return [
        Truth(arm, len(facts), sum(did for did, _ in facts), sum(would for _, would in facts))
        for arm, facts in sorted(groups.items(), key=lambda item: (item[0] == "holdout", item[0]))
    ]
