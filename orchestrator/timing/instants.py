"""Sets of instants: what a window, quiet hours and spans are made of before anybody asks "may it leave now?".

All intervals are half-open ``[start, end)`` in UTC, sorted, disjoint and not touching, so that two equal
sets are equal values.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from typing import ClassVar

Interval = tuple[datetime, datetime]
_START = itemgetter(0)


@dataclass(frozen=True, slots=True)
class InstantSet:
    """Instants, as intervals. Make one with :meth:`of`; the constructor trusts that its intervals are in order."""

    intervals: tuple[Interval, ...] = ()

    EMPTY: ClassVar[InstantSet]

    @classmethod
    def of(cls, intervals: Iterable[Interval]) -> InstantSet:
        """The set of all instants in any of ``intervals``, in any order; empty ones (start >= end) vanish."""
        merged: list[Interval] = []
        for start, end in sorted(pair for pair in intervals if pair[0] < pair[1]):
            if merged and start <= merged[-1][1]:
                if end > merged[-1][1]:
                    merged[-1] = (merged[-1][0], end)
            else:
                merged.append((start, end))
        return cls(tuple(merged))

    def __bool__(self) -> bool:
        return bool(self.intervals)

    def __contains__(self, instant: datetime) -> bool:
        return self.interval_at(instant) is not None

    def __and__(self, other: InstantSet) -> InstantSet:
        mine, others = self.intervals, other.intervals
        both: list[Interval] = []
        i = j = 0
        while i < len(mine) and j < len(others):
            start, end = max(mine[i][0], others[j][0]), min(mine[i][1], others[j][1])
            if start < end:
                both.append((start, end))
            if mine[i][1] < others[j][1]:
                i += 1
            else:
                j += 1
        return InstantSet(tuple(both))

    def __or__(self, other: InstantSet) -> InstantSet:
        return InstantSet.of(self.intervals + other.intervals)

    def __sub__(self, other: InstantSet) -> InstantSet:
        left: list[Interval] = []
        for start, end in self.intervals:
            at = start
            for cut_start, cut_end in other.intervals:
                if cut_end <= at or cut_start >= end:
                    continue
                if at < cut_start:
                    left.append((at, cut_start))
                at = cut_end
            if at < end:
                left.append((at, end))
        return InstantSet(tuple(left))

    def clip(self, start: datetime, end: datetime) -> InstantSet:
        """The part within ``[start, end)``."""
        return self & InstantSet(((start, end),)) if start < end else InstantSet()

    def next(self, instant: datetime) -> datetime | None:
        """The first instant at or after ``instant`` that is inside; None when there is none left."""
        at = bisect_right(self.intervals, instant, key=_START)
        if at and instant < self.intervals[at - 1][1]:
            return instant
        return self.intervals[at][0] if at < len(self.intervals) else None

    def interval_at(self, instant: datetime) -> Interval | None:
        """The interval that ``instant`` is in."""
        at = bisect_right(self.intervals, instant, key=_START)
        return self.intervals[at - 1] if at and instant < self.intervals[at - 1][1] else None


InstantSet.EMPTY = InstantSet()
