"""The oracle's people: who there is, how to reach them, what they did, agreed to and refused. All in memory."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from tests.walk.shapes import TOPIC, OwnDates

STALE = {"push": timedelta(days=270)}
NOTED = timedelta(seconds=30)
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
OWN_WORD = frozenset({"stop", "provider"})


@dataclass(slots=True)
class Person:
    """A user. ``into``: who they were merged into."""

    id: int
    name: str
    zone: str | None
    country: str | None
    locale: str
    tier: str
    into: int | None = None
    dates: Mapping[str, str] = field(default_factory=dict)
    """Of their own, as they are written."""

    @property
    def key(self) -> str:
        """What is known of their clock."""
        return self.zone or (f"country:{self.country}" if self.country else "")


@dataclass(slots=True)
class Address:
    """A stretch of time during which a token or number was a user's."""

    id: int
    user: int
    channel: str
    value: str
    seen: datetime
    since: datetime
    until: datetime | None = None
    why: str | None = None
    aside: datetime | None = None


Line = list[tuple[datetime, bool]]
Target = str | int


@dataclass(slots=True)
class Audience:
    """Everything known of people."""

    people: dict[int, Person] = field(default_factory=dict)
    addresses: dict[int, Address] = field(default_factory=dict)
    consents: dict[tuple[int, str], Line] = field(default_factory=dict)
    suppressed: dict[tuple[str, Target, str], datetime] = field(default_factory=dict)
    events: dict[int, list[tuple[str, datetime]]] = field(default_factory=dict)
    noted: dict[tuple[str, Target], datetime] = field(default_factory=dict)
    """Who refused, or was suppressed, lately: workers look here right before a request."""

    # --- people

    def join(self, name: str, place: tuple[str | None, str | None], tier: str, dates: Mapping[str, str]) -> Person:
        made = Person(len(self.people) + 1, name, *place, "en", tier, dates=dates)
        self.people[made.id] = made
        return made

    def now_called(self, user: int) -> int:
        """Who a merged user is now."""
        return self.people[user].into or user

    def in_use(self) -> list[Person]:
        return [one for one in self.people.values() if one.into is None]

    def merge(self, kept: int, old: int, now: datetime) -> None:
        """All that is known of the old user is the kept one's."""
        stays, goes = self.people[kept], self.people[old]
        for one in self.people.values():
            one.into = kept if one.into == old or one is goes else one.into
        stays.zone, stays.country = stays.zone or goes.zone, stays.country or goes.country
        for address in self.addresses.values():
            address.user = kept if address.user == old else address.user
        for channel, target, reason in [key for key in self.suppressed if key[1] == old]:
            since = self.suppressed.pop((channel, target, reason))
            self.suppressed.setdefault((channel, kept, reason), since)
        self.events.setdefault(kept, []).extend(self.events.pop(old, []))
        self._merge_consents(kept, old, now)

    def _merge_consents(self, kept: int, old: int, now: datetime) -> None:
        theirs = {key: line for key, line in self.consents.items() if key[0] in {kept, old} and line}
        refused = {channel for (_, channel), line in theirs.items() if not line[-1][1]}
        for (user, channel), line in theirs.items():
            if user == old:
                del self.consents[user, channel]
                for at, granted in line:
                    self._state(kept, channel, granted, at, dated=True)
                if not all(granted for _, granted in line):
                    self.note(channel, kept, now)
        for channel in refused:
            self._state(kept, channel, False, now)
            self.note(channel, kept, now)

    # --- consents and refusals

    def agree(self, user: int, channel: str, granted: bool, now: datetime) -> None:
        self._state(self.now_called(user), channel, granted, now)
        if not granted:
            self.note(channel, user, now)

    def note(self, channel: str, target: Target, now: datetime) -> None:
        self.noted[channel, self.now_called(target) if isinstance(target, int) else target] = now

    def just_refused(self, channel: str, targets: Collection[Target], now: datetime) -> bool:
        return any(now - self.noted.get((channel, one), LONG_AGO) < NOTED for one in targets)

    def _state(self, user: int, channel: str, granted: bool, at: datetime, *, dated: bool = False) -> None:
        line = self.consents.setdefault((user, channel), [])
        place = bisect_right(line, at, key=lambda one: one[0])
        holds = line[place - 1] if place else None
        if holds is not None and holds[0] == at:
            line[place - 1] = (at, holds[1] and granted)
        elif holds is None or holds[1] != granted or dated:
            line.insert(place, (at, granted))

    def agreed(self, user: int, channel: str) -> bool:
        line = self.consents.get((user, channel), [])
        return bool(line) and line[-1][1]

    def suppress(self, channel: str, reason: str, target: Target, now: datetime) -> None:
        self.note(channel, target, now)
        target = self.now_called(target) if isinstance(target, int) else target
        self.suppressed.setdefault((channel, target, reason), now)

    def lift(self, channel: str, targets: Collection[Target], reasons: Collection[str] | None = None) -> None:
        wanted = {self.now_called(one) if isinstance(one, int) else one for one in targets}
        for key in list(self.suppressed):
            if key[0] == channel and key[1] in wanted and (reasons is None or key[2] in reasons):
                del self.suppressed[key]

    def refuses(self, target: Target, channel: str) -> bool:
        return any(key[:2] == (channel, target) for key in self.suppressed)

    # --- events

    def did(self, user: int, name: str, at: datetime) -> None:
        self.events.setdefault(self.now_called(user), []).append((name, at))

    def did_since(self, user: int, name: str, since: datetime | None) -> bool:
        return since is not None and any(what == name and at >= since for what, at in self.events.get(user, []))

    def did_within(self, user: int, name: str, span: timedelta, as_of: datetime) -> bool:
        return any(what == name and as_of - span < at <= as_of for what, at in self.events.get(user, []))

    def selects(self, segment: str, user: int, as_of: datetime) -> bool:
        """The segments of the walk, in words of Python."""
        one = self.people[user]
        match segment:
            case "everybody":
                chosen = one.locale != "nowhere"
            case "lapsed":
                chosen = not self.did_within(user, "app_open", timedelta(hours=36), as_of)
            case "gold":
                chosen = one.tier == "gold"
            case _:
                chosen = self.did_within(user, "order_paid", timedelta(days=30), as_of)
        return chosen and one.into is None

    def has_date(self, own: OwnDates, user: int, day: date) -> bool:
        """Whether a run of this date is for the user; 29 February is kept on the 28th in years without one."""
        said, on = self.people[user].dates[own.attribute], day - timedelta(days=own.days)
        if not own.yearly:
            return said == on.isoformat()
        return said[5:] in ({f"{on:%m-%d}"} | ({"02-29"} if f"{on:%m-%d}" == "02-28" and on.year % 4 else set()))

    # --- addresses

    def current(self, channel: str, value: str) -> Address | None:
        found = (one for one in self.addresses.values() if (one.channel, one.value) == (channel, value))
        return next((one for one in found if one.until is None), None)

    def register(self, user: int, channel: str, value: str, at: datetime) -> None:
        """The app says that the user has this address, and had at ``at``."""
        user, holder = self.now_called(user), self.current(channel, value)
        if holder is not None and holder.user == user:
            holder.seen = max(holder.seen, at)
            return
        news = [holder.seen] if holder is not None else []
        news += [
            one.until
            for one in self.addresses.values()
            if (one.user, one.channel, one.value) == (user, channel, value) and one.until is not None
        ]
        if any(at <= known for known in news):
            return
        if holder is not None:
            holder.until, holder.why = max(at, holder.since), "moved"
        number = len(self.addresses) + 1
        self.addresses[number] = Address(number, user, channel, value, at, at)

    def usable(self, one: Address, now: datetime) -> bool:
        """Current, fresh, and not set aside."""
        fresh = one.channel not in STALE or one.seen >= now - STALE[one.channel]
        return one.until is None and fresh and (one.aside is None or one.aside <= now)

    def best(self, user: int, channel: str, now: datetime, but_not: Collection[int] = ()) -> int | None:
        """The user's address seen last that may be sent to."""
        theirs = [one for one in self._of(user, channel) if self.usable(one, now) and one.id not in but_not]
        free = [one for one in theirs if not self.refuses(one.value, channel)]
        return max(free, key=lambda one: (one.seen, one.id)).id if free else None

    def _of(self, user: int, channel: str) -> Iterator[Address]:
        return (one for one in self.addresses.values() if (one.user, one.channel) == (user, channel))

    def has_refused_address(self, user: int, channel: str) -> bool:
        return any(one.until is None and self.refuses(one.value, channel) for one in self._of(user, channel))

    def reason(self, user: int, channel: str, now: datetime) -> str | None:
        """Why a member gets no first step, as far as they themselves are the reason."""
        best = self.best(user, channel, now)
        if self.refuses(user, channel) or (best is None and self.has_refused_address(user, channel)):
            return "suppressed"
        if not self.agreed(user, channel):
            return "no_consent"
        return "no_address" if best is None else None

    def end(self, address: int, now: datetime) -> None:
        one = self.addresses[address]
        if one.until is None:
            one.until, one.why = now, "dead"

    def set_aside(self, address: int, until: datetime) -> None:
        """A storm: back to life unless somebody holds it, and left alone for a while."""
        one = self.addresses[address]
        if one.why == "dead" and self.current(one.channel, one.value) is None:
            one.until = one.why = None
        if one.until is None and (one.aside is None or one.aside < until):
            one.aside = until


__all__ = ["OWN_WORD", "TOPIC", "Address", "Audience", "Person"]
