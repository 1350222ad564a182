"""Everybody's best hours, kept in the database: who has new opens is computed again, a few hundred users at a time.

Zones are no work for SQL, so users are streamed through Python by their ids. A pass may be cut short anywhere: what
it wrote stands, and how far it came is committed with it. Nothing is added up, so a pass may be repeated: every row
is computed from all the events of its user. A first pass, and one after very many events, goes over all users; later
ones over those of the events after the watermark (a little before it: ids of PostgreSQL become visible out of order),
and over rows that are old, since opens fade. The population is counted from a sample, once a day.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache

from sqlalchemy import Connection, TextClause, func, select, text

from orchestrator.clock import to_micros
from orchestrator.store import Store
from orchestrator.store.dialect import among, among_sql
from orchestrator.store.remember import recall, remember
from orchestrator.store.tables import event
from orchestrator.timing.besttime import Habits
from orchestrator.timing.opens import (
    BY_PERSON,
    Keys,
    Population,
    best_rows,
    by_id,
    count_population,
    keep_population,
    opens,
    read_population,
)

PAGE = 500
"""Users in one transaction."""
EVENTS = 5_000
"""New events whose users are looked at before it is remembered."""
MANY = 200_000
"""After more new events than that all users are gone through: most of them have several."""
OVERLAP = 500
POPULATION_FOR = timedelta(days=1)
STATE = "besttime"
"""The key in ``meta``."""


@dataclass(frozen=True, slots=True)
class _State:
    """``seen``: events up to that id are in; ``through``: of a pass over all users, how far it is; None: none is on."""

    seen: int
    through: int | None = None


def refresh(store: Store, now: datetime, habits: Habits, go_on: Callable[[int], bool] = lambda _: True) -> int:
    """Bring everybody's best hours up to date; returns how many users were looked at.

    ``go_on`` is asked after every transaction, with how many it was; when it says no, the next call takes it up there.
    """
    work = _Work(store, now, habits, go_on)
    with store.read() as connection:
        state = _read_state(connection)
        newest = connection.execute(select(func.max(event.c.id))).scalar() or 0
    if state is None or (state.through is None and newest - state.seen > MANY):
        state = _State(newest, 0)
    work.read_population()
    state = work.everybody(state)
    if state is not None and newest != state.seen:
        work.lately(state, newest)
    work.faded()
    return work.looked_at


@dataclass(slots=True)
class _Work:
    """One pass."""

    store: Store
    now: datetime
    habits: Habits
    go_on: Callable[[int], bool]
    looked_at: int = 0
    stopped: bool = False
    _population: Population | None = None

    def read_population(self) -> None:
        with self.store.read() as connection:
            known = read_population(connection)
            if known is not None and known.at <= self.now < known.at + POPULATION_FOR:
                self._population = known
                return
            self._population = count_population(connection, self.now, self.habits)
        with self.store.write() as connection:
            keep_population(connection, self._population)

    def everybody(self, state: _State) -> _State | None:
        """The rest of a pass over all users, if one is on; None when it was cut short."""
        while state.through is not None:
            with self.store.read() as connection:
                page = by_id(connection.execute(_USERS, {"low": state.through, "n": PAGE}))
            state = _State(state.seen, max(page) if page else None)
            self._page(page, state)
            if self.stopped and page:
                return None
        return state

    def lately(self, state: _State, newest: int) -> None:
        """Users with events since the watermark."""
        for low in range(max(0, min(state.seen, newest) - OVERLAP), newest, EVENTS):
            high = min(low + EVENTS, newest)
            with self.store.read() as connection:
                named = {"low": low, "high": high, "app": self.habits.event}
                found = sorted(connection.execute(_LATELY, named).scalars())
            for some in _slices(found):
                self._page(self._keys(some))
            if self.stopped:
                return
            with self.store.write() as connection:
                _write_state(connection, _State(high))

    def faded(self) -> None:
        """Users whose rows are older than a half-life, or were put down to be looked at."""
        before = to_micros(self.now - self.habits.half_life)
        while not self.stopped:
            with self.store.read() as connection:
                found = sorted(connection.execute(_FADED, {"before": before, "n": PAGE}).scalars())
            if not found:
                return
            self._page(self._keys(found))

    def _keys(self, ids: Sequence[int]) -> Keys:
        with self.store.read() as connection:
            keys = by_id(connection.execute(_keys_sql(self.store.dialect), {"ids": among(ids)}))
        return dict.fromkeys(ids, "") | keys  # who is gone has no zone, no opens, and soon no row

    def _page(self, keys: Keys, state: _State | None = None) -> None:
        """Compute these users' rows, and write them in the place of those there are."""
        with self.store.read() as connection:
            found = list(opens(connection, keys, self.now, self.habits))
        assert self._population is not None
        rows = list(best_rows(found, keys, self._population, self.now, self.habits))
        with self.store.write() as connection:
            connection.execute(_forget_sql(self.store.dialect), {"ids": among(keys)})
            if rows:
                connection.execute(_KEEP, rows)
            if state is not None:
                _write_state(connection, state)
        self.looked_at += len(keys)
        self.stopped = self.stopped or not self.go_on(len(keys))


# --- SQL -------------------------------------------------------------------------------------------------------------

_USERS = text("SELECT id, zone_key FROM users WHERE id > :low ORDER BY id LIMIT :n")
_LATELY = text(f"""
    SELECT DISTINCT user_id FROM event
    WHERE id > :low AND id <= :high AND name IN (:app, '{BY_PERSON[0]}', '{BY_PERSON[1]}')""")
_FADED = text("SELECT user_id FROM best_hour WHERE computed_at < :before ORDER BY computed_at LIMIT :n")
_KEEP = text("""
    INSERT INTO best_hour (user_id, channel, hours, opens, until, computed_at)
    VALUES (:user_id, :channel, :hours, :opens, :until, :computed_at)
    ON CONFLICT (user_id, channel) DO UPDATE SET hours = excluded.hours, opens = excluded.opens,
        until = excluded.until, computed_at = excluded.computed_at""")  # two daemons may look at one user at once


@cache
def _keys_sql(dialect: str) -> TextClause:
    return text(f"SELECT id, zone_key FROM users WHERE id IN {among_sql(dialect, 'ids')}")


@cache
def _forget_sql(dialect: str) -> TextClause:
    return text(f"DELETE FROM best_hour WHERE user_id IN {among_sql(dialect, 'ids')}")


def _slices(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    return (ids[at : at + PAGE] for at in range(0, len(ids), PAGE))


def _read_state(connection: Connection) -> _State | None:
    found = recall(connection, STATE)
    return None if found is None else _State(**json.loads(found))


def _write_state(connection: Connection, state: _State) -> None:
    said = {"seen": state.seen, "through": state.through}
    remember(connection, STATE, json.dumps(said))
