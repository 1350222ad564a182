"""Caps, back-off and the segment asked again: which of a batch may not leave after all, at the mark.

Decided in the transaction that marks the others, with the batch's users locked: two workers never take the same slot.
Held-out members are judged like the treated, and take none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime

from sqlalchemy import Connection, Select, bindparam, false, or_, select

from orchestrator.audience.segment import clause
from orchestrator.campaign.spec import Campaign, Step
from orchestrator.campaign.version import KEPT, Bundle, read_bundle
from orchestrator.dispatch.compose import Composed
from orchestrator.ledger.claim import Lane
from orchestrator.ledger.runs import read_run
from orchestrator.ledger.states import State
from orchestrator.plan.audience import audience
from orchestrator.policy.caps import Caps, Restraint, strictest
from orchestrator.policy.caps_sql import Sender, lock_users, read_records
from orchestrator.policy.gate import Leave
from orchestrator.policy.resolver import Hold, Opening
from orchestrator.store.tables import users

MOVED_ON = "no_longer_in_segment"
CapsNow = Callable[[], Caps]
"""The caps as they are at this moment."""
Openings = Callable[[Composed], Opening]
"""When a message may leave, for all that windows say."""
_rechecks: dict[tuple[str, date | None], Select[tuple[int, bool]]] = {}
"""By version, and by the run's date where it makes a difference: what a hash names never changes."""


def restrained(  # one value each
    connection: Connection,
    caps: Caps,
    campaign: Campaign,
    step: Step,
    leaving: Sequence[Composed],
    now: datetime,
    opening: Openings,
) -> dict[int, Hold | Leave]:
    """What becomes of those who have had enough, by the messages' ids; ``leaving`` has the held out ones too."""
    rules = caps.rules_for(step.channel, campaign.tagged)
    backoff = caps.backoff_for(step.channel, campaign.tagged)
    if not leaving or not (rules or backoff):
        return {}
    people = sorted({item.message.user_id for item in leaving})
    lock_users(connection, people)
    sender = Sender(campaign.name, campaign.priority, campaign.goal.event)
    batch = [item.message.id for item in leaving]
    records = read_records(connection, caps, rules, backoff, people, batch, sender, now)
    found: dict[int, Hold | Leave] = {}
    for item in leaving:
        record = records[item.message.user_id]
        held = strictest(record.said(rules, backoff, now))
        if held is not None:
            found[item.message.id] = wait_or_leave(held, item.message.deadline, opening(item))
        elif not item.message.held_out:
            record.leaves(rules, now)
    return found


def wait_or_leave(held: Restraint, deadline: datetime, door: Opening) -> Hold | Leave:
    """Until there is room and the window is open; out at once when that is too late."""
    again = None if held.until is None else door.allowed.next(held.until)
    return Leave(State.SKIPPED, held.reason) if again is None or again >= deadline else Hold(again, held.reason)


def moved_on(connection: Connection, lane: Lane, leaving: Sequence[Composed], now: datetime) -> dict[int, Leave]:
    """With ``recheck: segment``: those whom the segment would not select now, or an excluded one would."""
    bundle = read_bundle(connection, lane.version)
    if not bundle.campaign.recheck or not leaving:
        return {}
    people = sorted({item.message.user_id for item in leaving})
    reasons = no_longer(connection, lane.version, bundle, people, now, _day(connection, lane, bundle))
    left = ((item.message.id, reasons.get(item.message.user_id)) for item in leaving)
    return {number: Leave(State.SKIPPED, reason) for number, reason in left if reason is not None}


def _day(connection: Connection, lane: Lane, bundle: Bundle) -> date | None:
    """The local date of the lane's run, where the audience depends on it."""
    relative = bundle.campaign.schedule.relative_to
    return None if relative is None else read_run(connection, lane.run_id).local_date


def no_longer(  # one value each
    connection: Connection, version: str, bundle: Bundle, people: Sequence[int], now: datetime, day: date | None
) -> dict[int, str]:
    """Whom of these users the campaign would not have now in its run of a local date, and why."""
    rows = connection.execute(_recheck(version, bundle, day), {"some": list(people), "as_of": now})
    found = {row.id: "excluded" if row.excluded else None for row in rows}
    reasons = ((user, found.get(user, MOVED_ON)) for user in people)
    return {user: reason for user, reason in reasons if reason is not None}


def _recheck(version: str, bundle: Bundle, day: date | None) -> Select[tuple[int, bool]]:
    """Those of ``:some`` who are in the audience, and whether an excluded segment has them; checked once a version."""
    made = _rechecks.get((version, day))
    if made is None:
        campaign, segments = bundle.campaign, bundle.segments
        out = or_(false(), *(clause(name, segments) for name in campaign.exclude))
        some = users.c.id.in_(bindparam("some", expanding=True))
        while len(_rechecks) >= KEPT:
            _rechecks.pop(next(iter(_rechecks)), None)
        wanted = audience(bundle, [] if day is None else [day])
        made = _rechecks[version, day] = select(users.c.id, out.label("excluded")).where(some, wanted)
    return made
