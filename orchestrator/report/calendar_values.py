"""The calendar as values: what fires when, for whom and how many, holidays, and who eats whose cap."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum

from orchestrator.campaign.version import Bundle


class Source(StrEnum):
    """Where it is known from."""

    RUNNING = "running"
    """Launched: it will fire."""
    PAUSED = "paused"
    """Launched: it fires, and nothing leaves before it is resumed."""
    FILE = "file"
    """A file that was not launched (or was stopped): it will not fire."""


@dataclass(frozen=True, slots=True)
class Known:
    """A campaign; ``edited``: its file says something else than what was launched."""

    bundle: Bundle
    source: Source
    edited: bool = False


@dataclass(frozen=True, slots=True)
class Volume:
    """How many are expected, from ``runs`` earlier runs; from the segment as it is now where there is none (0).

    ``events``: from the events of the last week, of a triggered campaign.
    """

    audience: int
    messages: int
    runs: int
    events: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """A campaign of the calendar. ``zones`` are those of its audience, by the sample."""

    name: str
    title: Mapping[str, str]
    priority: int
    source: Source
    edited: bool
    windows: tuple[str, ...]
    volume: Volume
    zones: tuple[str, ...]
    trigger: str = ""
    """The event that lets its members join; "" where they are planned together."""


@dataclass(frozen=True, slots=True)
class Fire:
    """One campaign on one local date, or at an instant of it; ``opens`` and ``closes`` (UTC) over its audience's zones.

    None where the window is shut in every one of them. ``at``: the wall clock's time and offset at which an instant is
    written; of many instants on one date the first and last, and how many.
    """

    day: date
    campaign: str
    opens: datetime | None
    closes: datetime | None
    zones: int
    at: str = ""
    volume: Volume | None = None
    """Its own, where dates of users' own tell beforehand; None: the campaign's."""


@dataclass(frozen=True, slots=True)
class Holiday:
    """A public holiday of a country that members live in; ``share`` of the users live there."""

    day: date
    country: str
    name: str
    share: float


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two campaigns on the same dates whose audiences overlap, by about ``users``, under a cap with too little room.

    ``first`` has the higher priority: its messages reserve before the other's.
    """

    first: str
    second: str
    days: tuple[date, ...]
    users: int
    share: float
    """Of the smaller audience."""
    rules: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Calendar:
    """What happens from ``since`` to ``until``, both included."""

    since: date
    until: date
    entries: tuple[Entry, ...]
    fires: tuple[Fire, ...]
    holidays: tuple[Holiday, ...]
    conflicts: tuple[Conflict, ...]
    sampled: int
    notes: tuple[str, ...] = ()

    @property
    def days(self) -> list[date]:
        """Every date of it."""
        return [self.since + timedelta(days=n) for n in range((self.until - self.since).days + 1)]
