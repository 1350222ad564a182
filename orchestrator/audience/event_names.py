"""What events are called: by those that came in last, and by what segments ask about.

There is no index by name, and a table of many millions is not read through for a hint: the newest events by id are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, text

from orchestrator.audience.condition import KINDS, Condition
from orchestrator.audience.fault import Place
from orchestrator.audience.segment import parts_of
from orchestrator.audience.terms import Part

NEWEST = 100_000
"""Events whose names are looked at: 50 ms on SQLite, however many there are."""


@dataclass(frozen=True, slots=True)
class EventNames:
    """The names of the newest events; ``every``: of all there are."""

    names: frozenset[str]
    every: bool


def names_of_newest(connection: Connection, most: int = NEWEST) -> EventNames:
    """What the newest events are called."""
    rows = connection.execute(_NEWEST, {"n": most}).all()
    return EventNames(frozenset(row.name for row in rows), sum(row.events for row in rows) < most)


_NEWEST = text("""
    SELECT name, count(*) AS events FROM (SELECT name FROM event ORDER BY id DESC LIMIT :n) AS newest GROUP BY name""")


def events_asked(condition: Condition) -> Iterator[tuple[Place, str]]:
    """The events that a segment's own conditions ask about, with their places; other segments are not entered."""
    for place, part in parts_of(condition):
        if (word := _WORDS.get(type(part))) is not None:
            yield (*place, word), getattr(part, word)


_WORDS: Mapping[type[Part], str] = {KINDS[word]: word for word in ("did", "did_not", "last", "first", "sum", "average")}
"""Conditions on events, each with the word behind which the event's name stands."""
