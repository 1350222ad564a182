"""What the database counts about everybody's past: one kind of event, by day.

Every query goes over the index of events (user, name, instant) alone, and once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Connection, Subquery, func, or_, select, type_coerce

from orchestrator.clock import to_micros
from orchestrator.store.tables import event

AT = type_coerce(event.c.at, BigInteger)
"""The instant of an event, in microseconds."""
LONG = 7
"""Days between two active days from which on they count as a silence."""


@dataclass(frozen=True, slots=True)
class Silence:
    """So many users were active on ``day`` for the first time since ``before`` (None: at all)."""

    before: int | None
    day: int
    people: int


@dataclass(frozen=True, slots=True)
class Cell:
    """Of those first seen on day ``first``, so many were active in that ``place``: a day or week after it."""

    first: int
    place: int
    people: int


@dataclass(frozen=True, slots=True)
class Past:
    """Events called ``name`` before ``until``; ``day`` is the SQL for the day that an event belongs to."""

    connection: Connection
    name: str
    day: ColumnElement[int]
    until: datetime

    def _mine(self) -> tuple[ColumnElement[bool], ...]:
        return event.c.name == self.name, to_micros(self.until) > AT

    def born(self) -> Counter[int]:
        """Users by the day they were first seen."""
        first = self._edge(func.min(self.day)).subquery("born")
        return self._counter(select(first.c.edge, func.count()).group_by(first.c.edge))

    def active(self, begin: int) -> Counter[int]:
        """Users by day, from a day on."""
        there = self._there().subquery("there")
        return self._counter(select(there.c.day, func.count()).where(there.c.day >= begin).group_by(there.c.day))

    def silences(self, earliest: datetime) -> list[Silence]:
        """Everything that ended a silence, as if there was nothing before ``earliest``."""
        moment = (
            select(event.c.user_id, event.c.name, AT.label("at"), self.day.label("day"))
            .where(*self._mine(), to_micros(earliest) <= AT)
            .subquery("moment")
        )
        # partition and order are those of the index: nothing has to be sorted
        before = func.lag(moment.c.day).over(partition_by=(moment.c.user_id, moment.c.name), order_by=moment.c.at)
        pair = select(moment.c.day, before.label("before")).subquery("pair")
        ended = or_(pair.c.before.is_(None), pair.c.day - pair.c.before > LONG)
        key = (pair.c.before, pair.c.day)
        rows = self.connection.execute(select(*key, func.count()).where(ended).group_by(*key))
        return [Silence(*row) for row in rows]

    def final(self, earliest: datetime) -> Counter[int]:
        """Users by the last day they were seen on, of those seen from ``earliest`` on."""
        last = self._edge(func.max(self.day)).where(to_micros(earliest) <= AT).subquery("last")
        return self._counter(select(last.c.edge, func.count()).group_by(last.c.edge))

    def cohorts(self, begin: int) -> Iterator[Cell]:
        """Users first seen from a day on, by the days on which they were active."""
        own = self._own(begin)
        yield from self._cells(own, own.c.day - own.c.first)

    def weeks(self, begin: int) -> Iterator[Cell]:
        """The same by the week of their own."""
        own = self._own(begin)
        week = ((own.c.day - own.c.first) // 7).label("day")
        weekly = select(own.c.user_id, own.c.first, week).distinct().subquery("weekly")
        yield from self._cells(weekly, weekly.c.day)

    def _edge(self, edge: Any) -> Any:
        return select(event.c.user_id, edge.label("edge")).where(*self._mine()).group_by(event.c.user_id)

    def _there(self) -> Any:
        return select(event.c.user_id, self.day.label("day")).where(*self._mine()).distinct()

    def _own(self, begin: int) -> Subquery:
        """(user, day, the user's first day), each day once, of those first seen from ``begin`` on."""
        first, there = self._edge(func.min(self.day)).subquery("born"), self._there().subquery("there")
        joined = there.join(first, first.c.user_id == there.c.user_id)
        columns = (there.c.user_id, there.c.day, first.c.edge.label("first"))
        return select(*columns).select_from(joined).where(first.c.edge >= begin).subquery("own")

    def _cells(self, rows: Subquery, place: Any) -> Iterator[Cell]:
        query = select(rows.c.first, place, func.count()).group_by(rows.c.first, place)
        yield from (Cell(*row) for row in self.connection.execute(query))

    def _counter(self, query: Any) -> Counter[int]:
        return Counter({int(day): int(people) for day, people in self.connection.execute(query)})
