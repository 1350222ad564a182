"""A window: wall-clock time in the recipient's zone, as a set of instants per local date.

An instant is inside exactly when the recipient's wall clock at that instant is. That settles daylight
saving: in a gap the window is shorter or missing, in a fold it may be open twice. A window may go over
midnight, and then belongs to the date it starts on; it is never turned around.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import pairwise

from typing_extensions import override

from orchestrator.errors import InputError
from orchestrator.timing.instants import InstantSet, Interval
from orchestrator.timing.zonedata import BLOCK_DAYS, stretches

DAY_MINUTES = 24 * 60
_EXAMPLE = 'write it like "10:30-11:45" or "10:30-11:45, 17:00-18:30"'
_PAIR = re.compile(r"(\d{1,2}):(\d{2})\s*-\s*(\d{1,2}):(\d{2})")
_TYPED = str.maketrans({"，": ",", "、": ",", ";": ",", "；": ",", "：": ":", "–": "-", "—": "-", "−": "-"})
_LONGEST = 200


@dataclass(frozen=True, slots=True)
class Window:
    """``parts`` are [start, end) in minutes of the wall clock since the local date began; over 1440: the next date."""

    parts: tuple[tuple[int, int], ...]

    @classmethod
    def parse(cls, text: str) -> Window:
        """The window that ``text`` describes: "10:30-11:45", "10:30-11:45, 17:00-18:30", "22:00-02:00", "00:00-24:00".

        Raises:
            InputError: the text is no window, or an impossible one; the message names the part and the remedy.
        """
        if len(text) > _LONGEST:
            raise InputError(f"a window of {len(text)} characters cannot be meant", hint=_EXAMPLE)
        parts = tuple(sorted(_part(piece.strip()) for piece in text.translate(_TYPED).split(",")))
        _refuse_overlap(parts)
        return cls(parts)

    def on(self, day: date, zone: str) -> InstantSet:
        """The instants of the window of local date ``day`` in ``zone`` (an IANA name).

        Raises:
            InputError: there is no such zone.
        """
        return _on(self, day, zone)

    @override
    def __str__(self) -> str:
        return ", ".join(f"{_clock(start)}-{_clock(end)}" for start, end in self.parts)


@lru_cache(maxsize=16384)
def _on(window: Window, day: date, zone: str) -> InstantSet:
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    offsets = stretches(zone, day.toordinal() // BLOCK_DAYS)
    found: list[Interval] = []
    for start, end in window.parts:
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


def _part(text: str) -> tuple[int, int]:
    matched = _PAIR.fullmatch(text)
    if matched is None:
        raise InputError(f"{text!r} is not an interval of the day", hint=_EXAMPLE)
    hours = [int(group) for group in matched.groups()]
    start, end = _minute(text, hours[0], hours[1]), _minute(text, hours[2], hours[3])
    if start == DAY_MINUTES:
        raise InputError(f"{text!r} starts at 24:00", hint="a date ends at 24:00: start at 00:00 of the next")
    if start == end:
        raise InputError(f"{text!r} has no length", hint='for the whole day write "00:00-24:00"')
    return start, end if end > start else end + DAY_MINUTES


def _minute(text: str, hour: int, minute: int) -> int:
    if minute >= 60 or hour * 60 + minute > DAY_MINUTES:  # noqa: PLR2004  # minutes of an hour
        raise InputError(f"{hour:02}:{minute:02} in {text!r} is no time of day", hint="times go from 00:00 to 24:00")
    return hour * 60 + minute


def _refuse_overlap(parts: tuple[tuple[int, int], ...]) -> None:
    """Also against the first part of the following date, which an overnight part may run into."""
    first, last = parts[0], parts[-1]
    around = (*parts, (first[0] + DAY_MINUTES, first[1] + DAY_MINUTES)) if len(parts) > 1 else parts
    for (start, end), (following, follows) in pairwise(around):
        if following < end:
            message = f"{_clock(start)}-{_clock(end)} and {_clock(following)}-{_clock(follows)} overlap"
            late = " (over midnight, into the next date)" if last == (start, end) else ""
            raise InputError(message + late, hint="join them into one interval")


def _clock(minutes: int) -> str:
    shown = minutes if minutes <= DAY_MINUTES else minutes - DAY_MINUTES
    return f"{shown // 60:02}:{shown % 60:02}"
