"""What a rehearsal comes to: frozen counts, free of SQL. Of a sample they are those of the sample, with its share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from orchestrator.report.values import Tally


@dataclass(frozen=True, slots=True)
class Cell:
    """Messages of one channel that leave in one hour (of UTC, which ``hour`` begins) to members of one zone."""

    hour: datetime
    zone: str
    channel: str
    messages: int


@dataclass(frozen=True, slots=True)
class Why:
    """Messages of a step that ``became`` held, skipped, expired, failed, undelivered or unknown for one reason."""

    became: str
    step: int
    reason: str
    messages: int


@dataclass(frozen=True, slots=True)
class Load:
    """What one account sends, of all campaigns. ``limit`` and ``busiest`` are messages a minute.

    ``hours``: per hour with anything, its busiest minute. ``waited``: messages that waited for more than
    :data:`LONG` for their turn, ``longest`` the longest wait of all.
    """

    account: str
    channel: str
    limit: float
    sent: int
    ours: int
    busiest: int
    busiest_at: datetime | None
    hours: tuple[tuple[datetime, int], ...]
    waited: int
    longest: timedelta


LONG = timedelta(minutes=5)
"""From here on a wait for the rate is worth telling."""


@dataclass(frozen=True, slots=True)
class Sms:
    """SMS of the campaign and their parts, by day of UTC; ``cost`` at the price given, if one was."""

    messages: int
    parts: int
    days: tuple[tuple[str, int, int], ...]
    cost: float | None = None


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Another campaign that ran in the rehearsal. ``capped``: its messages that a cap kept back.

    ``after_ours``: those of them whose member had had a message of the rehearsed campaign in the week before.
    """

    campaign: str
    sent: int
    capped: int
    after_ours: int


@dataclass(frozen=True, slots=True)
class RunOutline:
    """One run of the campaign: its date, whom it selected, what left of it, what it became."""

    local_date: str
    state: str
    reason: str
    audience: int
    planned: int
    sent: int


@dataclass(frozen=True, slots=True)
class Assumption:
    """One rate that was played with, and where it comes from: ``history``, ``file`` or ``assumed``."""

    channel: str
    name: str
    rate: float
    source: str


@dataclass(frozen=True, slots=True)
class Caution:
    """Something an operator should know before launching; ``facts`` fill the words of ``key``."""

    key: str
    facts: Mapping[str, object] = field(default_factory=dict)
    serious: bool = True


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """A rehearsal, counted. ``tally`` is the report on the scratch ledger as of the end."""

    campaign: str
    since: datetime
    until: datetime
    users: int
    share: float
    took: float
    tally: Tally
    runs: tuple[RunOutline, ...]
    cells: tuple[Cell, ...]
    whys: tuple[Why, ...]
    loads: tuple[Load, ...]
    sms: Sms | None
    neighbours: tuple[Neighbour, ...]
    assumptions: tuple[Assumption, ...]
    cautions: tuple[Caution, ...]
    notes: tuple[str, ...] = ()
    """What could not be rehearsed as it is (an account that cannot be opened here)."""

    @property
    def sent(self) -> int:
        """Messages of the campaign that leave."""
        return sum(cell.messages for cell in self.cells)
