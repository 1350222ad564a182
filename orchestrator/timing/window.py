"""A window: wall-clock time in the recipient's zone, as a set of instants per local date.

An instant is inside exactly when the recipient's wall clock at that instant is. That settles daylight
saving: in a gap the window is shorter or missing, in a fold it may be open twice. A window may go over
midnight, and then belongs to the date it starts on; it is never turned around.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import groupby, pairwise
from typing import NamedTuple

from typing_extensions import override

from orchestrator.errors import InputError
from orchestrator.timing.days import EVERY_DAY, days_text, parse_days
from orchestrator.timing.instants import InstantSet, Interval
from orchestrator.timing.zonedata import BLOCK_DAYS, stretches

DAY_MINUTES = 24 * 60
_EXAMPLE = 'write it like "10:30-11:45", "10:30-11:45, 17:00-18:30" or "mon-fri 10:30-11:45, sat-sun 12:00-14:00"'
_PIECE = re.compile(r"(?:([A-Za-z][A-Za-z/ -]*?)\s+)?(\d{1,2}):(\d{2})\s*-\s*(\d{1,2}):(\d{2})")
_TYPED = str.maketrans({"，": ",", "、": ",", ";": ",", "；": ",", "：": ":", "–": "-", "—": "-", "−": "-"})
_LONGEST = 200
_WEEK = 7


class Part(NamedTuple):
    """[start, end) in minutes of the wall clock since the local date began; over 1440: the next date.

    ``days`` are the weekdays (0 = Monday) of the local dates that have it.
    """

    start: int
    end: int
    days: frozenset[int] = EVERY_DAY


@dataclass(frozen=True, slots=True)
class Window:
    """The parts of the day, by weekday, in order."""

    parts: tuple[Part, ...]

    @classmethod
    def parse(cls, text: str) -> Window:
        """The window that ``text`` describes: "10:30-11:45", "22:00-02:00", "mon-fri 10:30-11:45, sat-sun 12:00-14:00".

        Weekdays hold for the intervals after them, until others are named.

        Raises:
            InputError: the text is no window, or an impossible one; the message names the part and the remedy.
        """
        if len(text) > _LONGEST:
            raise InputError(f"a window of {len(text)} characters cannot be meant", hint=_EXAMPLE)
        days, parts = EVERY_DAY, []
        for piece in text.translate(_TYPED).split(","):
            part = _part(piece.strip(), days)
            days = part.days
            parts.append(part)
        found = tuple(sorted(parts, key=_order))
        _refuse_overlap(found)
        return cls(found)

    def on(self, day: date, zone: str) -> InstantSet:
        """The instants of the window of local date ``day`` in ``zone`` (an IANA name); none on a weekday without one.

        Raises:
            InputError: there is no such zone.
        """
        return _on(self, day, zone)

    def of_weekday(self, weekday: int) -> tuple[Part, ...]:
        """The parts that dates of this weekday (0 = Monday) have, in order."""
        return tuple(sorted(part for part in self.parts if weekday in part.days))

    @override
    def __str__(self) -> str:
        groups = [(days, list(parts)) for days, parts in groupby(self.parts, key=lambda part: part.days)]
        always = len(groups) == 1 and groups[0][0] == EVERY_DAY
        return ", ".join(
            ("" if always else f"{days_text(days)} ") + ", ".join(f"{_clock(p.start)}-{_clock(p.end)}" for p in parts)
            for days, parts in groups
        )


def _order(part: Part) -> tuple[list[int], int, int]:
    return sorted(part.days), part.start, part.end


@lru_cache(maxsize=16384)
def _on(window: Window, day: date, zone: str) -> InstantSet:
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    offsets = stretches(zone, day.toordinal() // BLOCK_DAYS)
    found: list[Interval] = []
    for start, end, _ in window.of_weekday(day.weekday()):
        opens, closes = midnight + timedelta(minutes=start), midnight + timedelta(minutes=end)
        for (
            since,
            until,
            offset,
        ) in offsets:  # the wall clock shows `opens` at `opens - offset`, if that offset holds then
            low, high = max(since, opens - offset), min(until, closes - offset)
            if low < high:
                found.append((low, high))
    return InstantSet.of(found)


def _part(text: str, days: frozenset[int]) -> Part:
    """One interval; ``days`` are those named before it, where it names none itself."""
    matched = _PIECE.fullmatch(text)
    if matched is None:
        raise InputError(f"{text!r} is not an interval of the day", hint=_EXAMPLE)
    named, *clock = matched.groups()
    hours = [int(group) for group in clock]
    start, end = _minute(text, hours[0], hours[1]), _minute(text, hours[2], hours[3])
    if start == DAY_MINUTES:
        raise InputError(f"{text!r} starts at 24:00", hint="a date ends at 24:00: start at 00:00 of the next")
    if start == end:
        raise InputError(f"{text!r} has no length", hint='for the whole day write "00:00-24:00"')
    found = days if named is None else parse_days(named)
    return Part(start, end if end > start else end + DAY_MINUTES, found)


def _minute(text: str, hour: int, minute: int) -> int:
    if minute >= 60 or hour * 60 + minute > DAY_MINUTES:  # noqa: PLR2004  # minutes of an hour
        raise InputError(f"{hour:02}:{minute:02} in {text!r} is no time of day", hint="times go from 00:00 to 24:00")
    return hour * 60 + minute


def _refuse_overlap(parts: tuple[Part, ...]) -> None:
    """Within each weekday's date, and against the first part of the next date, which an overnight one may reach."""
    for weekday in range(_WEEK):
        for one, other in pairwise(_around(parts, weekday)):
            if other.start < one.end:
                words = f"{_clock(one.start)}-{_clock(one.end)} and {_clock(other.start)}-{_clock(other.end)} overlap"
                late = " (over midnight, into the next date)" if other.start >= DAY_MINUTES else ""
                raise InputError(words + late, hint="join them into one interval")


def _around(parts: tuple[Part, ...], weekday: int) -> Iterator[Part]:
    """The parts of a date in order, then the first of the next: unless there is but one part, which may meet itself."""
    yield from sorted(part for part in parts if weekday in part.days)
    following = sorted(part for part in parts if (weekday + 1) % _WEEK in part.days)
    if following and len(parts) > 1:
        first = following[0]
        yield first._replace(start=first.start + DAY_MINUTES, end=first.end + DAY_MINUTES)


def _clock(minutes: int) -> str:
    shown = minutes if minutes <= DAY_MINUTES else minutes - DAY_MINUTES
    return f"{shown // 60:02}:{shown % 60:02}"


WHOLE_DAY = Window.parse("00:00-24:00")
"""Every instant of a local date."""
