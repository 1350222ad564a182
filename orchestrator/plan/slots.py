"""The slot table: the resolver's answer for every class of members, computed before a run's members are planned.

A class is (zone, country, arm). Step 0 stands for the campaign's own timing: its due time is the *anchor*, the instant
the run opened for that class, which all arms and the holdout share.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection, Row, bindparam, insert, text

from orchestrator.campaign.spec import Campaign
from orchestrator.clock import span_micros
from orchestrator.ledger.runs import Occasion, Run
from orchestrator.plan.rules import rule_for, rule_of
from orchestrator.policy.resolver import Drop, Hold, Rule, opening, resolve
from orchestrator.store.dialect import among, among_sql
from orchestrator.store.tables import slot
from orchestrator.timing.quiet import QuietHours

ANCHOR_STEP = 0
SlotRow = dict[str, object]
_StepRule = tuple[int, str, Rule, float]
"""Step, arm, rule, and the share of the opening over which due times are spread."""

_CLASSES = text("SELECT DISTINCT zone_key, coalesce(country, '') AS country FROM users")


@dataclass(frozen=True, slots=True)
class Slot:
    """When a class gets a step: from ``due_at``, spread over ``spread``, never at or after ``deadline``."""

    due_at: datetime | None
    spread: timedelta
    deadline: datetime | None
    reason: str | None


def find_slot(rule: Rule, spread: float, zone_key: str, country: str, quiet: QuietHours, now: datetime) -> Slot:
    """The slot of one class at ``now``; ``spread``: the share of its opening over which due times are spread."""
    door = opening(rule, zone_key, country, quiet)
    answer = resolve(door, now)
    if isinstance(answer, Drop):
        return Slot(None, timedelta(0), None, answer.reason)
    due = answer.until if isinstance(answer, Hold) else now
    current = door.allowed.interval_at(due)
    assert current is not None, "an opening holds every instant it answers"
    return Slot(due, (current[1] - due) * spread, door.allowed.intervals[-1][1], None)


def first_slots(
    connection: Connection, run_id: int, campaign: Campaign, occasion: Occasion, quiet: QuietHours, now: datetime
) -> list[SlotRow]:
    """The slots of a run for every class among the users: to be asked before a transaction that writes."""
    return _of_classes(connection.execute(_CLASSES).all(), run_id, campaign, occasion, quiet, now)


_SLOT = text("""
    INSERT INTO slot (run_id, step, arm, zone_key, country, due_at, spread, deadline, reason)
    VALUES (:run_id, :step, :arm, :zone_key, :country, :due_at, :spread, :deadline, :reason) ON CONFLICT DO NOTHING
""").bindparams(*(bindparam(name, type_=slot.c[name].type) for name in ("due_at", "deadline")))
"""Another planner of the run may have met the class a moment ago: what it said holds."""


def write_slots(connection: Connection, rows: Sequence[SlotRow]) -> None:
    """Add slots that are not there yet."""
    if rows:
        connection.execute(_SLOT, rows)


def write_new_slots(
    connection: Connection,
    run_id: int,
    campaign: Campaign,
    occasion: Occasion,
    quiet: QuietHours,
    now: datetime,
    span: tuple[int, int],
    *,
    every: bool = False,
) -> None:
    """Add the classes of members of a chunk that nobody belonged to when the run began, and their anchors.

    ``every``: also those of members who have an anchor; the run's slots were deleted.
    """
    values = {"run": run_id, "low": span[0], "high": span[1]}
    found = connection.execute(_ALL_CLASSES if every else _NEW_CLASSES, values).all()
    if found:
        write_slots(connection, _of_classes(sorted(found), run_id, campaign, occasion, quiet, now))
        connection.execute(_NEW_ANCHORS, values)


def renew_slots(  # one value each
    connection: Connection,
    item: Run,
    campaign: Campaign,
    place: str,
    quiet: QuietHours,
    now: datetime,
    users: Sequence[int],
) -> None:
    """The slots of these users' classes as of now, in place of what they were for those who joined the run earlier.

    Of a triggered campaign. All that is said of one class: the run opens for it now, or when it next may (the anchor),
    and the steps go by that instant. ``place``: SQL for where a user is.
    """
    asked = f"SELECT DISTINCT zone_key, {place} FROM users WHERE id IN {among_sql(connection.dialect.name, 'some')}"
    classes = connection.execute(text(asked), {"some": among(users)}).all()
    rows = [row for key, country in classes for row in _joining(item, campaign, key, country, quiet, now)]
    if rows:
        connection.execute(_FORGET, [{"run": item.id, "key": key, "country": country} for key, country in classes])
        connection.execute(insert(slot), rows)


_FORGET = text("DELETE FROM slot WHERE run_id = :run AND zone_key = :key AND country = :country")


def _joining(
    item: Run, campaign: Campaign, zone_key: str, country: str, quiet: QuietHours, now: datetime
) -> Iterator[SlotRow]:
    """The slots of a class at ``now``; what may leave at once is not spread. Without an anchor there are none."""
    timing, channel = campaign.timing, campaign.steps[0].channel
    first = find_slot(
        rule_of(campaign, timing, channel, Occasion(item.local_date, now)), 0, zone_key, country, quiet, now
    )
    anchor = first.due_at
    for step, arm, rule, spread in _rules(campaign, Occasion(item.local_date, anchor or now)):
        found = find_slot(rule, spread, zone_key, country, quiet, anchor) if anchor else first
        if found.due_at == now:
            found = replace(found, spread=timedelta(0))
        yield _row(item.id, step, arm, zone_key, country, found)


_CLASSES_IN = """
    SELECT DISTINCT member.zone_key, member.country FROM member
    WHERE member.run_id = :run AND member.user_id > :low AND member.user_id <= :high {}
      AND NOT EXISTS (SELECT 1 FROM slot WHERE slot.run_id = member.run_id AND slot.step = 0 AND slot.arm = ''
                      AND slot.zone_key = member.zone_key AND slot.country = member.country {})"""
_ALL_CLASSES = text(_CLASSES_IN.format("", ""))
_NEW_CLASSES = text(_CLASSES_IN.format("AND member.anchor IS NULL", "AND slot.due_at IS NULL"))
"""Also those that another planner of the run has met since the members were written: they have no anchor yet."""
_NEW_ANCHORS = text("""
    UPDATE member SET anchor = (SELECT slot.due_at FROM slot WHERE slot.run_id = member.run_id AND slot.step = 0
        AND slot.arm = '' AND slot.zone_key = member.zone_key AND slot.country = member.country)
    WHERE member.run_id = :run AND member.user_id > :low AND member.user_id <= :high AND member.anchor IS NULL""")


def _of_classes(
    classes: Iterable[Row[str, str]],
    run_id: int,
    campaign: Campaign,
    occasion: Occasion,
    quiet: QuietHours,
    now: datetime,
) -> list[SlotRow]:
    rules = list(_rules(campaign, occasion))
    return [row for key, country in classes for row in _rows(run_id, rules, key, country, quiet, now)]


def _rows(
    run_id: int, rules: Sequence[_StepRule], zone_key: str, country: str, quiet: QuietHours, now: datetime
) -> Iterator[SlotRow]:
    for step, arm, rule, spread in rules:
        found = find_slot(rule, spread, zone_key, country, quiet, now)
        yield _row(run_id, step, arm, zone_key, country, found)


def _row(run_id: int, step: int, arm: str, zone_key: str, country: str, found: Slot) -> SlotRow:
    key = {"run_id": run_id, "step": step, "arm": arm, "zone_key": zone_key, "country": country}
    times = {"due_at": found.due_at, "spread": span_micros(found.spread), "deadline": found.deadline}
    return {**key, **times, "reason": found.reason}


def _rules(campaign: Campaign, occasion: Occasion) -> Iterator[_StepRule]:
    own = campaign.timing
    yield ANCHOR_STEP, "", rule_of(campaign, own, campaign.steps[0].channel, occasion), own.spread
    for arm in campaign.arms:
        for step in campaign.steps:
            spread = campaign.timing_of(arm, step).spread
            yield step.index, arm.name, rule_for(campaign, arm, step, occasion), spread
