"""Frequency caps, and the back-off for who does not answer: what a deployment allows, and what it says of one user.

This is the single form, over instants that somebody has read; :mod:`orchestrator.policy.caps_sql` reads them, and has
the set form. Spans are exact: a week is 168 hours up to now, whatever the calendar says.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from orchestrator.clock import EPOCH

LONGEST = timedelta(days=90)
"""The longest span of a rule: a rehearsal copies so much of the past."""
CAPPED, BACKOFF = "capped", "backoff"
"""Reasons; after a colon stands the rule."""
RETRY = timedelta(minutes=1)
"""How long a message waits for one that is due already and has a prior claim to the slot."""
_WORD = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_UNITS = ((timedelta(days=1), "d"), (timedelta(hours=1), "h"), (timedelta(minutes=1), "m"), (timedelta(seconds=1), "s"))


@dataclass(frozen=True, slots=True)
class Restraint:
    """Not now: ``until`` it may be asked again, None: never. ``reason`` names the rule."""

    reason: str
    until: datetime | None


@dataclass(frozen=True, slots=True)
class CapRule:
    """At most ``most`` messages to one user within any ``within``; of one channel, of one tag, or of all.

    Raises:
        ValueError: a channel or tag that could not stand in SQL.
    """

    most: int
    within: timedelta
    channel: str | None = None
    tag: str | None = None

    def __post_init__(self) -> None:
        """Words alone stand in SQL."""
        for word in filter(None, (self.channel, self.tag)):
            if not _WORD.fullmatch(word):
                raise ValueError(f"{word[:40]!r} is no channel or tag")

    @property
    def label(self) -> str:
        """``1 sms promotion in 7d``: how reasons and reports call it."""
        named = " ".join(filter(None, (self.channel, self.tag)))
        return f"{self.most}{f' {named}' if named else ''} in {span_text(self.within)}"

    def covers(self, channel: str, tags: Collection[str]) -> bool:
        """Whether a message of this channel and with these tags is one that it counts."""
        return self.channel in {None, channel} and (self.tag is None or self.tag in tags)

    def full(self, sent: Sequence[datetime], reserved: Sequence[datetime], now: datetime) -> Restraint | None:
        """What it says of one more message: None when there is room.

        ``sent``: when the messages that it counts left, those of its span and none else, newest first. ``reserved``:
        when messages with a prior claim are due.
        """
        if len(sent) + len(reserved) < self.most:
            return None
        return Restraint(f"{CAPPED}:{self.label}", self._frees(sent, self.most - len(reserved), reserved, now))

    def _frees(
        self, sent: Sequence[datetime], room: int, reserved: Sequence[datetime], now: datetime
    ) -> datetime | None:
        """The first instant with room; with ``most: 0`` there is none."""
        if not self.most:
            return None
        if room > 0:
            return sent[room - 1] + self.within
        known = max(min(reserved), now + RETRY)  # whether it is sent is known then
        return max(known, sent[self.most - 1] + self.within) if len(sent) >= self.most else known


@dataclass(frozen=True, slots=True)
class Backoff:
    """After ``after`` messages without an answer the gaps grow to ``gaps``, one by one; then silence."""

    after: int
    gaps: tuple[timedelta, ...]
    channels: frozenset[str]

    @property
    def longest(self) -> int:
        """How many unanswered messages make the difference, and no more."""
        return self.after + len(self.gaps)

    def says(self, unanswered: int, last: datetime | None, now: datetime) -> Restraint | None:
        """What it says after so many messages without an answer, of which the last left at ``last``."""
        step = unanswered - self.after
        if step < 0 or last is None:
            return None
        if step >= len(self.gaps):
            return Restraint(f"{BACKOFF}:silence", None)
        until = last + self.gaps[step]
        return Restraint(f"{BACKOFF}:{span_text(self.gaps[step])}", until) if until > now else None


@dataclass(frozen=True, slots=True)
class Caps:
    """A deployment's restraint. ``exempt``: tags that are neither counted nor held to any of it."""

    rules: tuple[CapRule, ...] = ()
    exempt: frozenset[str] = frozenset()
    horizon: timedelta = timedelta(hours=24)
    backoff: Backoff | None = None

    def __post_init__(self) -> None:
        """Words alone stand in SQL."""
        for tag in self.exempt:
            if not _WORD.fullmatch(tag):
                raise ValueError(f"{tag[:40]!r} is no tag")

    def rules_for(self, channel: str, tags: Collection[str]) -> tuple[CapRule, ...]:
        """All that a message is held to: every one of them."""
        if not self.exempt.isdisjoint(tags):
            return ()
        return tuple(rule for rule in self.rules if rule.covers(channel, tags))

    def backoff_for(self, channel: str, tags: Collection[str]) -> Backoff | None:
        """The back-off that a message is held to."""
        held = self.backoff is not None and channel in self.backoff.channels
        return self.backoff if held and self.exempt.isdisjoint(tags) else None


UNCAPPED = Caps()


@dataclass(slots=True)
class Record:
    """What one user has had and is to have. ``sent`` and ``reserved`` go with the rules they were read for."""

    sent: dict[CapRule, list[datetime]] = field(default_factory=dict)
    reserved: dict[CapRule, list[datetime]] = field(default_factory=dict)
    unanswered: int = 0
    last: datetime | None = None

    def said(self, rules: Sequence[CapRule], backoff: Backoff | None, now: datetime) -> list[Restraint | None]:
        """The verdict of every rule in turn, and of the back-off if there is one."""
        found = [rule.full(self.sent.get(rule, ()), self.reserved.get(rule, ()), now) for rule in rules]
        return found if backoff is None else [*found, backoff.says(self.unanswered, self.last, now)]

    def leaves(self, rules: Sequence[CapRule], now: datetime) -> None:
        """One more message leaves now: the user's next one in the same batch is held against it."""
        for rule in rules:
            self.sent.setdefault(rule, []).insert(0, now)
        self.unanswered, self.last = self.unanswered + 1, now


def strictest(said: Sequence[Restraint | None]) -> Restraint | None:
    """The one that holds a message longest; never is longer than any span."""
    held = [one for one in said if one is not None]
    never = next((one for one in held if one.until is None), None)
    return never or max(held, key=lambda one: one.until or EPOCH, default=None)


def span_text(span: timedelta) -> str:
    """``24h``, ``7d``, ``90m``: as it is written in files, a single day in hours."""
    for unit, letter in _UNITS:
        if span % unit == timedelta(0) and (letter != "d" or span > unit):
            return f"{span // unit}{letter}"
    return f"{span.total_seconds():g}s"
