"""Triggered campaigns: whoever's wait is over becomes a member of their local date's run, one chunk at a time.

A chunk is one transaction: rows of ``waiting`` are dealt with as the members they become are written, with slots,
messages and the event that it came from. Whoever is killed in between has done nothing, and the next tick does it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cache
from typing import NamedTuple

from sqlalchemy import Connection, Insert, TextClause, bindparam, text

from orchestrator import metrics
from orchestrator.campaign.spec import Campaign
from orchestrator.campaign.version import Bundle, read_bundle
from orchestrator.clock import span_micros, to_micros
from orchestrator.ledger.restored import stop_if_restored, waits_sent_until
from orchestrator.ledger.runs import Run, enrolling_run, read_run, set_run_state
from orchestrator.ledger.states import RunState
from orchestrator.plan import heard
from orchestrator.plan.brakes import MAX_AUDIENCE
from orchestrator.plan.chunks import next_size
from orchestrator.plan.planner import Planner
from orchestrator.plan.rules import delay
from orchestrator.plan.triggers import NEVER, Listener, listen, listeners, tidy
from orchestrator.policy.resolver import own_date
from orchestrator.store import Store
from orchestrator.store.dialect import among, among_sql, keep_rows_sql, skip_locked_sql
from orchestrator.timing.schedule import ends_at
from orchestrator.timing.window import WHOLE_DAY
from orchestrator.timing.zonedata import LAST_ZONE
from orchestrator.timing.zones import candidates

FIRST_CHUNK = 100
MAX_CHUNK = 2_000


class Ready(NamedTuple):
    """Somebody whose wait is over, and who has done nothing that makes it needless."""

    user_id: int
    zone_key: str


@dataclass(frozen=True, slots=True)
class Joined:
    """Users who became members of a run in one chunk."""

    run: Run
    bundle: Bundle
    users: tuple[int, ...]


class _TooManyError(Exception):
    """The audience would become larger than the campaign allows."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.run = run


@dataclass(slots=True)
class Enroller:
    """Lets users join. It keeps what it has compiled: make one, and let it tick."""

    store: Store
    planner: Planner
    stopping: Callable[[], bool] = lambda: False
    """Whether the process is to end: the next chunk is left to the next one."""
    _statements: dict[str, Insert] = field(default_factory=dict, init=False)

    def tick(self) -> list[Joined]:
        """Hear what is new, and enrol whoever is due; returns who joined."""
        clock = self.planner.clock
        settled = heard.settled(clock)
        with self.store.read() as connection:
            found = listeners(connection, clock.now())
        listen(self.store, clock, found, settled)
        return [joined for one in found if one.running for joined in self._enrol(one)]

    def _enrol(self, one: Listener) -> Iterator[Joined]:
        size = FIRST_CHUNK
        with self.store.read() as connection:
            waits = connection.execute(_WAITS, self._now(one)).first() is not None
        while waits and not self.stopping():
            began = time.perf_counter()
            try:
                with self.store.write() as connection:
                    done, joined = self._chunk(connection, one, size)
            except _TooManyError as error:
                self._stop(error.run)
                continue
            yield from joined
            waits = done >= size
            size = next_size(size, time.perf_counter() - began, MAX_CHUNK)

    def _stop(self, run: Run) -> None:
        with self.store.write() as connection:
            set_run_state(connection, run.id, RunState.STOPPED, self.planner.clock.now(), MAX_AUDIENCE)

    def _now(self, one: Listener) -> dict[str, object]:
        return {"campaign": one.name, "now": to_micros(self.planner.clock.now())}

    def _chunk(self, connection: Connection, one: Listener, size: int) -> tuple[int, list[Joined]]:
        """Deal with up to ``size`` users who are due; how many there were, and who of them joined."""
        dialect, joined = connection.dialect.name, list[Joined | None]()
        if connection.execute(_as_heard_sql(dialect), {"campaign": one.name, "version": one.version}).first() is None:
            return 0, []
        due = list(connection.execute(_take_sql(dialect), {**self._now(one), "n": size}).scalars())
        ready = self._ready(connection, one, due)
        for day, users in sorted(_by_date(one.bundle.campaign, ready, self.planner.clock.now()).items()):
            if one.bundle.campaign.schedule.fires_on(day):
                joined.append(self._join(connection, one, day, users))
        connection.execute(_dealt_sql(dialect), {"campaign": one.name, "some": among(due), "never": to_micros(NEVER)})
        tidy(connection, one.name)
        return len(due), [found for found in joined if found is not None]

    def _ready(self, connection: Connection, one: Listener, due: Sequence[int]) -> list[Ready]:
        expires = span_micros(one.bundle.campaign.timing.expires_after)
        now = to_micros(self.planner.clock.now())
        fresh = max(now - expires, waits_sent_until(connection, one.name))
        values = {"campaign": one.name, "some": among(due), "event": one.trigger.event, "fresh": fresh}
        asked = {**values, "unless": one.trigger.unless or _NOTHING}
        return [Ready(*row) for row in connection.execute(_ready_sql(connection.dialect.name), asked)]

    def _join(self, connection: Connection, one: Listener, day: date, users: Sequence[int]) -> Joined | None:
        """Users into the run of a date; none where it is stopped."""
        now, dialect = self.planner.clock.now(), connection.dialect.name
        until = enrols_until(one.bundle.campaign, day)
        times = {"now": now, "enrols_until": until, "closes_at": closes_at(one.bundle.campaign, day)}
        run = enrolling_run(connection, one.name, one.version, day, **times)
        if run is None or run.state is not RunState.ACTIVE or stop_if_restored(connection, run, now):
            return None
        bundle = read_bundle(connection, run.version)
        again = to_micros(now - one.trigger.again_after)
        values = {"campaign": one.name, "run": run.id, "some": among(users), "again": again}
        before = set(connection.execute(_before_sql(dialect), values).scalars())
        new = [user for user in users if user not in before]
        if not new or not self.planner.join(connection, self._statement(run, bundle, dialect), run, bundle, new):
            return None
        values["some"] = among(new)
        members = tuple(connection.execute(_enrolled_sql(dialect), values).scalars())
        run = read_run(connection, run.id)
        if bundle.campaign.max_audience is not None and run.audience > bundle.campaign.max_audience:
            raise _TooManyError(run)
        _count(connection, values)
        return Joined(run, bundle, members)

    def _statement(self, run: Run, bundle: Bundle, dialect: str) -> Insert:
        if run.version not in self._statements:
            self._statements[run.version] = self.planner.statement(bundle, dialect, run.local_date, some=True)
        return self._statements[run.version]


# --- which date ------------------------------------------------------------------------------------------------------


def _by_date(campaign: Campaign, ready: Sequence[Ready], now: datetime) -> Mapping[date, list[int]]:
    days = {key: date_at(campaign, key, now) for key in {one.zone_key for one in ready}}
    found: dict[date, list[int]] = {}
    for one in ready:
        found.setdefault(days[one.zone_key], []).append(one.user_id)
    return found


def date_at(campaign: Campaign, zone_key: str, now: datetime) -> date:
    """The local date whose run somebody joins: the earliest of the zones they may be in.

    While a window over midnight is open, that of the date on which it began.
    """
    return min(own_date(campaign.timing.window, now, zone) for zone in candidates(zone_key))


def enrols_until(campaign: Campaign, day: date) -> datetime:
    """Until when somebody may join the run of a date: until it ends everywhere, and its window over midnight too."""
    windows = [WHOLE_DAY] if campaign.timing.window is None else [WHOLE_DAY, campaign.timing.window]
    return max(end for window in windows for _, end in window.on(day, LAST_ZONE).intervals)


def closes_at(campaign: Campaign, day: date) -> datetime:
    """When nothing of the run of a date may leave any more: the longest that anybody's wait and steps may last."""
    steps = [(campaign.timing_of(arm, step), step) for arm in campaign.arms for step in campaign.steps]
    last = max(delay(campaign, step) + timing.expires_after for timing, step in steps)
    return ends_at(day) + campaign.timing.expires_after + last


# --- SQL -------------------------------------------------------------------------------------------------------------

_NOTHING = ("",)
"""No event's name: an empty list has no type on PostgreSQL."""
_WAITS = text("SELECT 1 FROM waiting WHERE campaign = :campaign AND due_at <= :now LIMIT 1")


@cache
def _as_heard_sql(dialect: str) -> TextClause:
    """Whether the campaign still runs under the version that was read: a run made now under another would keep it.

    It stays so until the end of the transaction: a launch finds every run there is.
    """
    return text(f"""
        SELECT 1 FROM campaign WHERE name = :campaign AND state = 'running' AND version = :version
        {keep_rows_sql(dialect)}""")


@cache
def _take_sql(dialect: str) -> TextClause:
    """Who is due, the longest waiting first; another process that ticks at the same moment takes others."""
    return text(f"""
        SELECT user_id FROM waiting WHERE campaign = :campaign AND due_at <= :now
        ORDER BY due_at, user_id LIMIT :n {skip_locked_sql(dialect)}""")


@cache
def _ready_sql(dialect: str) -> TextClause:
    """Of those the ones who count: not late, not sent to before a restore, the event there, and still wanted.

    They are asked about in the order of their ids.
    """
    return text(f"""
        SELECT waiting.user_id, users.zone_key FROM waiting
        JOIN users ON users.id = waiting.user_id
        JOIN event ON event.id = waiting.event_id AND event.user_id = waiting.user_id AND event.name = :event
        WHERE waiting.campaign = :campaign AND waiting.user_id IN {among_sql(dialect, "some")}
          AND waiting.due_at > :fresh AND NOT EXISTS (
            SELECT 1 FROM event AS other WHERE other.user_id = waiting.user_id AND other.name IN :unless
              AND other.at >= waiting.event_at)
        ORDER BY waiting.user_id""").bindparams(bindparam("unless", expanding=True))


@cache
def _before_sql(dialect: str) -> TextClause:
    """Who of them is a member of this run, or was one of another and too lately; under any of their names."""
    named = f"IN {among_sql(dialect, 'some')}"
    young = "run.campaign = :campaign AND run.closes_at > :again AND (run.id = :run OR member.anchor > :again)"
    return text(f"""
        SELECT member.user_id FROM run JOIN member ON member.run_id = run.id
        WHERE {young} AND member.user_id {named}
        UNION ALL SELECT user_alias.user_id FROM user_alias
        JOIN run ON run.campaign = :campaign
        JOIN member ON member.run_id = run.id AND member.user_id = user_alias.old_user_id
        WHERE {young} AND user_alias.user_id {named}""")


@cache
def _enrolled_sql(dialect: str) -> TextClause:
    return text(f"""
        INSERT INTO enrolled (run_id, user_id, event_id)
        SELECT member.run_id, member.user_id, waiting.event_id FROM member
        JOIN waiting ON waiting.campaign = :campaign AND waiting.user_id = member.user_id
        WHERE member.run_id = :run AND member.user_id IN {among_sql(dialect, "some")}
        ON CONFLICT DO NOTHING RETURNING user_id""")


@cache
def _dealt_sql(dialect: str) -> TextClause:
    return text(f"""
        UPDATE waiting SET due_at = :never
        WHERE campaign = :campaign AND user_id IN {among_sql(dialect, "some")}""")


def _count(connection: Connection, values: Mapping[str, object]) -> None:
    sql = text(f"""
        SELECT decision, coalesce(reason, ''), count(*) FROM member
        WHERE run_id = :run AND user_id IN {among_sql(connection.dialect.name, "some")} GROUP BY 1, 2""")
    for decision, reason, n in connection.execute(sql, {"run": values["run"], "some": values["some"]}):
        metrics.members.labels(decision, reason).inc(n)
