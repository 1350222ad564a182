"""The oracle's ledger: campaigns, runs, members and messages as plain values in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime

from orchestrator.ledger.states import CampaignState, RunState, State
from orchestrator.policy.caps import Caps
from tests.walk.audience import Audience
from tests.walk.shapes import ACCOUNTS, Leg, Shape

LEFT = {State.SENDING, State.ACCEPTED, State.DELIVERED, State.UNDELIVERED, State.UNKNOWN}
Key = tuple[int, int, int]
"""Run, user, step."""


@dataclass(slots=True)
class Slot:
    """When a class gets a step; ``due`` None: never, and why."""

    due: datetime | None
    spread: int
    deadline: datetime | None
    why: str | None


@dataclass(slots=True)
class Member:
    """Somebody of a run's audience."""

    arm: str
    held: bool
    decision: str
    reason: str | None
    key: str
    country: str
    anchor: datetime | None


@dataclass(slots=True)
class Message:
    """What is owed. ``heard``: receipts that were kept, as (state, code); ``tries``: attempts, as (n, account, end)."""

    key: Key
    account: str
    address: int
    arm: str
    held: bool
    due: datetime
    deadline: datetime
    state: State = State.PLANNED
    reason: str | None = None
    worker: int | None = None
    attempts: int = 0
    crashes: int = 0
    sent_at: datetime | None = None
    heard: list[tuple[State, str]] = field(default_factory=list)
    tries: list[tuple[int, str, str]] = field(default_factory=list)
    caps: Caps = field(default_factory=Caps)
    """Those under which it was marked."""
    state_at: datetime | None = None
    """Since when it is delivered; None: since this very instant."""

    @property
    def channel(self) -> str:
        return ACCOUNTS[self.account]

    def wait(self, due: datetime | None = None, reason: str | None = None, address: int | None = None) -> None:
        """Back to the queue, held for a reason and until an instant if there are any."""
        self.state, self.worker = State.PLANNED, None
        if reason is not None:
            self.reason = reason
        if due is not None:
            self.due = due
        if address is not None:
            self.address = address
            self.account = carriers(self.channel)[0]

    @property
    def in_doubt(self) -> bool:
        """Some answer was lost: it may have arrived."""
        return any(outcome == "ambiguous" for _, _, outcome in self.tries)

    def end(self, state: State, reason: str | None) -> None:
        """Out of the queue; not as certainly not sent when it may have arrived."""
        doubtful = self.in_doubt and state in {State.SKIPPED, State.EXPIRED, State.FAILED}
        self.state, self.reason, self.worker = State.UNKNOWN if doubtful else state, reason, None
        self.hear()

    def resolve(self, state: State) -> None:
        """An operator ends the doubt."""
        self.state, self.reason = state, "resolved"
        self.hear()

    def hear(self) -> None:
        """Apply the receipts that had come before the answer was written."""
        news = [one for one in self.heard if one[0] is not State.ACCEPTED or self.state is State.UNKNOWN]
        if self.state in {State.ACCEPTED, State.UNKNOWN} and news:
            order = (State.DELIVERED, State.UNDELIVERED, State.ACCEPTED)
            best = min(self.heard, key=lambda one: order.index(one[0]))  # the first of its kind
            self.state, self.reason = best[0], best[1] or None


@dataclass(slots=True)
class Batch:
    """A run. ``through``: planned up to this user."""

    id: int
    shape: Shape
    day: date
    as_of: datetime
    closes: datetime
    state: RunState = RunState.PLANNING
    reason: str | None = None
    through: int = 0
    audience: int = 0
    begun: bool = False
    slots: dict[tuple[int, str, str, str], Slot] = field(default_factory=dict)
    """By step, arm, zone key and country; step 0 is the anchor."""
    members: dict[int, Member] = field(default_factory=dict)

    @property
    def live(self) -> bool:
        return self.state in {RunState.PLANNING, RunState.ACTIVE}

    def leg(self, step: int) -> Leg:
        return self.shape.legs[step - 1]


@dataclass(frozen=True, slots=True)
class Touch:
    """A person opened a message, or clicked in it."""

    key: Key
    name: str
    at: datetime


@dataclass(slots=True)
class Launched:
    """A campaign as it was launched last."""

    shape: Shape
    state: CampaignState = CampaignState.RUNNING


@dataclass(slots=True)
class Book:
    """All of it."""

    now: datetime
    audience: Audience = field(default_factory=Audience)
    campaigns: dict[str, Launched] = field(default_factory=dict)
    runs: dict[int, Batch] = field(default_factory=dict)
    messages: dict[Key, Message] = field(default_factory=dict)
    stops: set[str] = field(default_factory=set)
    spent: Counter[str] = field(default_factory=Counter)
    caps: Caps = field(default_factory=Caps)
    touches: list[Touch] = field(default_factory=list)
    arrivals: list[datetime] = field(default_factory=list)
    """When each event came in."""
    heard_to: int | None = None
    """How many of them whoever wakes waiting steps has passed."""

    def did(self, user: int, name: str, at: datetime) -> None:
        """An event comes in."""
        self.audience.did(user, name, at)
        self.arrivals.append(self.now)

    def of_run(self, run: int) -> Iterator[Message]:
        return (one for one in self.messages.values() if one.key[0] == run)

    def waiting(self, run: int) -> list[Message]:
        return [one for one in self.of_run(run) if one.state is State.PLANNED]

    def pending(self, run: int) -> bool:
        return any(one.state is State.PLANNED or one.worker is not None for one in self.of_run(run))


def carriers(channel: str) -> list[str]:
    """The accounts of a channel, in the order of preference."""
    return [name for name, of in ACCOUNTS.items() if of == channel]


def lane_of(run: int, step: int, account: str) -> int:
    """The lane's number: its way counts first."""
    return carriers(ACCOUNTS[account]).index(account) << 32 | run << 4 | step
