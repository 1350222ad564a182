"""One of those who plan runs in shards: the leader, and every worker's process beside sending."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import date
from typing import Protocol

from sqlalchemy import Connection, Insert

from orchestrator import metrics, traces
from orchestrator.campaign.version import Bundle, read_bundle
from orchestrator.clock import Clock
from orchestrator.errors import OrchestratorError
from orchestrator.ledger.runs import Run
from orchestrator.ledger.shards import RunTurnedError, Shard, end, take, went_on
from orchestrator.plan.chunks import FIRST_CHUNK, begin_chunk, chunk_end, count_members, next_size
from orchestrator.plan.members import Range
from orchestrator.store import Store

_VERSIONS = 8
"""Of so many runs the statement is kept: it is read and checked in the making, which takes longer than a chunk."""


class Plans(Protocol):
    """What plans the users of a chunk. It blocks as long as a chunk takes, and raises what the database does."""

    @property
    def clock(self) -> Clock:
        """Business time."""

    def statement(self, bundle: Bundle, dialect: str, day: date) -> Insert:
        """What writes the members of a chunk of a local date's run."""

    def anew(self, connection: Connection, statement: Insert, item: Run, bundle: Bundle, span: Range) -> int:
        """Plan the users of a chunk, in place of what is there of it; by how many members the run grew."""


@dataclass(slots=True)
class ShardPlanner:
    """Plans chunk after chunk of whatever shards nobody else has in hand. For one thread."""

    store: Store
    plans: Plans
    _mine: Shard | None = field(default=None, init=False)
    _size: int = field(default=FIRST_CHUNK, init=False)
    _known: dict[tuple[int, str], tuple[Bundle, Insert]] = field(default_factory=dict, init=False)
    _unreadable: set[int] = field(default_factory=set, init=False)

    def chunk(self, only: int | None = None) -> int | None:
        """Plan a chunk, of the run ``only`` if one is named; at how many users it looked, None when no shard is free.

        Raises:
            OrchestratorError: this release cannot read a run's version; it is left to others from now on.
        """
        size = self._size
        try:
            with self.store.write() as connection:
                began = time.perf_counter()
                begin_chunk(connection)
                self._mine = found = take(connection, self._mine, only, self._unreadable)
                if found is None:
                    return None
                known = self._known.get(_key(found.run))
                active = known is not None and self._go_on(connection, found, *known)
                worked = time.perf_counter() - began
        except RunTurnedError:
            return 0
        if known is None:
            self._learn(found.run)
            return 0
        metrics.plan_seconds.observe(time.perf_counter() - began)
        self._size = next_size(size, worked)
        if active:
            count_members(self.store, found.run.id)
        return size

    def _go_on(self, connection: Connection, found: Shard, bundle: Bundle, statement: Insert) -> bool:
        """Plan the next users of a shard; whether they were the last of the run."""
        with traces.span("plan chunk", campaign=found.run.campaign, run=found.run.id):
            high = chunk_end(connection, found.through, self._size, found.high)
            if high is None:
                return end(connection, found, self.plans.clock.now())
            added = self.plans.anew(connection, statement, found.run, bundle, (found.through, high))
            went_on(connection, found, high, added)
            return False

    def _learn(self, item: Run) -> None:
        """Read a run's version, while no transaction waits for it."""
        try:
            with self.store.read() as connection:
                bundle = read_bundle(connection, item.version)
            statement = self.plans.statement(bundle, self.store.dialect, item.local_date)
        except OrchestratorError:
            self._unreadable.add(item.id)
            raise
        if len(self._known) >= _VERSIONS:
            self._known.clear()
        self._known[_key(item)] = (bundle, statement)


def _key(item: Run) -> tuple[int, str]:
    return item.id, item.version
