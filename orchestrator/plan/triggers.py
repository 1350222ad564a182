"""Triggered campaigns listen: whose trigger event has happened, and for whom the wait has not ended yet.

A row of ``waiting`` is a user's latest such event. One that has been dealt with stays, due :data:`NEVER`, until its
event is not read again (:mod:`orchestrator.plan.heard` reads some twice): else it would be dealt with twice.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, bindparam, select, text

from orchestrator.campaign.spec import Trigger
from orchestrator.campaign.version import Bundle, read_bundle
from orchestrator.clock import Clock, from_micros, to_micros
from orchestrator.errors import OrchestratorError
from orchestrator.ledger.states import CampaignState
from orchestrator.plan import heard
from orchestrator.plan.heard import Happened
from orchestrator.store import Store
from orchestrator.store.tables import campaign

log = logging.getLogger(__name__)

READER = "triggers"
NEVER = datetime(9999, 1, 1, tzinfo=UTC)
"""When what has been dealt with is due."""
AHEAD = timedelta(minutes=5)
"""How far in the future an event may lie when it comes in."""
_FORGOTTEN = 1_000
_LIVE = (CampaignState.RUNNING, CampaignState.PAUSED)


@dataclass(frozen=True, slots=True)
class Listener:
    """A launched campaign with a trigger, as last launched. It has listened from ``since`` on."""

    name: str
    version: str
    bundle: Bundle
    trigger: Trigger
    since: datetime
    running: bool

    @property
    def worth(self) -> timedelta:
        """How long after its event a message is worth planning at the most."""
        return self.trigger.after + self.bundle.campaign.timing.expires_after


def listeners(connection: Connection, now: datetime) -> list[Listener]:
    """The triggered campaigns that run or are paused."""
    chosen = select(campaign).where(campaign.c.state.in_(_LIVE)).order_by(campaign.c.name)
    found = []
    for row in connection.execute(chosen).all():
        try:
            bundle = read_bundle(connection, row.version)
        except OrchestratorError:  # said by `due_runs`
            continue
        if (trigger := bundle.campaign.schedule.trigger) is not None:
            worth = trigger.after + bundle.campaign.timing.expires_after
            since = listening_since(connection, row.name, row.launched_at, now - worth)
            running = row.state == CampaignState.RUNNING
            found.append(Listener(row.name, row.version, bundle, trigger, since, running))
    return found


_LAUNCHES = text("""
    SELECT at, old, (SELECT min(hash) FROM version WHERE version.campaign = transition.campaign
                     AND 'version ' || substr(version.hash, 1, 12) = transition.reason) AS version
    FROM transition WHERE campaign = :campaign AND message_id IS NULL AND new = 'running' AND reason LIKE 'version %'
    ORDER BY at DESC, id DESC""")


def listening_since(connection: Connection, name: str, launched_at: datetime, enough: datetime) -> datetime:
    """The first of the launches up to now between which the campaign was never stopped, and always had a trigger.

    An edit is a launch too, and must not make a campaign deaf to what happened just before. ``enough``: what lies
    before makes no difference.
    """
    since = launched_at
    if since <= enough:
        return since
    for row in connection.execute(_LAUNCHES, {"campaign": name}):
        if row.version is None or not _has_trigger(connection, row.version):
            break
        since = from_micros(row.at)
        if row.old not in _LIVE or since <= enough:
            break
    return since


def _has_trigger(connection: Connection, version: str) -> bool:
    try:
        return read_bundle(connection, version).campaign.schedule.trigger is not None
    except OrchestratorError:
        return False


# --- listening -------------------------------------------------------------------------------------------------------


def listen(store: Store, clock: Clock, found: Sequence[Listener], settled: datetime | None = None) -> None:
    """Take note of the new events that campaigns listen for; transactions are short, and repeating it is harmless.

    ``settled``: of when ``found`` was asked for. Nothing that came in since is passed for good: there may be others
    who listen by now.
    """
    settled = heard.settled(clock) if settled is None else settled
    names = [one.name for one in found] or _NOBODY
    with store.read() as connection:
        stale = connection.execute(_STALE, {"names": names}).first() is not None
        news = heard.has_news(connection, READER)
    if stale:
        with store.write() as connection:  # asked anew: whoever was frozen knows nothing of launches since
            live = [one.name for one in listeners(connection, clock.now())] or _NOBODY
            connection.execute(_CLEAR, {"names": live, "n": _FORGOTTEN})
    if not found:
        return
    events = {one.trigger.event for one in found}
    since = min(max(one.since, clock.now() - one.worth - AHEAD) for one in found)
    after = None
    while news:
        with store.write() as connection:
            page = heard.read(connection, READER, events, since=since, settled=settled, after=after)
            _wait(connection, found, page.events, clock.now())
        news, after = page.more, page.through


def _wait(connection: Connection, found: Sequence[Listener], events: Collection[Happened], now: datetime) -> None:
    rows = [row for one in found for row in _rows(one, events, now)]
    if rows:
        connection.execute(_WAIT, rows)


def _rows(one: Listener, events: Collection[Happened], now: datetime) -> Iterator[dict[str, object]]:
    """What a campaign waits for: nothing from before its launch, and nothing that would be too late already."""
    for event in events:
        if event.name == one.trigger.event and event.at >= one.since and event.at + one.worth > now:
            at, due = to_micros(event.at), to_micros(event.at + one.trigger.after)
            yield {"campaign": one.name, "user": event.user_id, "event": event.id, "at": at, "due": due}


_WAIT = text("""
    INSERT INTO waiting (campaign, user_id, event_id, event_at, due_at) VALUES (:campaign, :user, :event, :at, :due)
    ON CONFLICT (campaign, user_id) DO UPDATE
        SET event_id = excluded.event_id, event_at = excluded.event_at, due_at = excluded.due_at
        WHERE excluded.event_at > waiting.event_at
           OR (excluded.event_at = waiting.event_at AND excluded.event_id > waiting.event_id)""")


# --- what is over ----------------------------------------------------------------------------------------------------

_NOBODY = [""]
"""No campaign's name: an empty list has no type on PostgreSQL."""
# nobody waits for campaigns that are stopped, or have no trigger any more
_STALE = text("SELECT 1 FROM waiting WHERE campaign NOT IN :names LIMIT 1").bindparams(
    bindparam("names", expanding=True)
)
_CLEAR = text("""
    DELETE FROM waiting WHERE campaign NOT IN :names AND (campaign, user_id) IN (
        SELECT campaign, user_id FROM waiting WHERE campaign NOT IN :names LIMIT :n)""").bindparams(
    bindparam("names", expanding=True)
)
_TIDY = text("""
    DELETE FROM waiting WHERE campaign = :campaign AND user_id IN (
        SELECT user_id FROM waiting WHERE campaign = :campaign AND due_at = :never AND event_id <= :passed LIMIT :n)
    AND due_at = :never""")


def tidy(connection: Connection, name: str) -> None:
    """Forget what has been dealt with and is not read again."""
    values = {"campaign": name, "never": to_micros(NEVER), "passed": heard.passed(connection, READER)}
    connection.execute(_TIDY, {**values, "n": _FORGOTTEN})


_NEXT = text("""
    SELECT min(waiting.due_at) FROM waiting JOIN campaign ON campaign.name = waiting.campaign
    WHERE campaign.state = 'running' AND waiting.due_at < :never""")


def next_wait(connection: Connection) -> datetime | None:
    """When the next wait is over; None when nobody waits."""
    found = connection.execute(_NEXT, {"never": to_micros(NEVER)}).scalar()
    return None if found is None else from_micros(found)
