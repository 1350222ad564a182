"""The slot table: the resolver's answer for every class of members, computed before a run's members are planned.

A class is (zone, country, arm). Step 0 stands for the campaign's own timing: its due time is the *anchor*, the instant
the run opened for that class, which all arms and the holdout share.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy import Connection, Row, insert, text

from orchestrator.campaign.spec import Campaign, Timing
from orchestrator.clock import span_micros
from orchestrator.plan.rules import rule_of
from orchestrator.policy.resolver import Drop, Hold, opening, resolve
from orchestrator.store.tables import slot
from orchestrator.timing.quiet import QuietHours

ANCHOR_STEP = 0

_CLASSES = text("SELECT DISTINCT zone_key, coalesce(country, '') AS country FROM users")


@dataclass(frozen=True, slots=True)
class Slot:
    """When a class gets a step: from ``due_at``, spread over ``spread``, never at or after ``deadline``."""

    due_at: datetime | None
    spread: timedelta
    deadline: datetime | None
    reason: str | None


def find_slot(
    campaign: Campaign,
    timing: Timing,
    channel: str,
    day: date,
    zone_key: str,
    country: str,
    quiet: QuietHours,
    now: datetime,
) -> Slot:
    """The slot of one class at ``now``."""
    door = opening(rule_of(campaign, timing, channel, day), zone_key, country, quiet)
    answer = resolve(door, now)
    if isinstance(answer, Drop):
        return Slot(None, timedelta(0), None, answer.reason)
    due = answer.until if isinstance(answer, Hold) else now
    current = door.allowed.interval_at(due)
    assert current is not None, "an opening holds every instant it answers"
    return Slot(due, (current[1] - due) * timing.spread, door.allowed.intervals[-1][1], None)


def write_slots(
    connection: Connection, run_id: int, campaign: Campaign, day: date, quiet: QuietHours, now: datetime
) -> None:
    """Fill the slot table of a run for every class among the users."""
    _write(connection, connection.execute(_CLASSES).all(), run_id, campaign, day, quiet, now)


def write_new_slots(
    connection: Connection,
    run_id: int,
    campaign: Campaign,
    day: date,
    quiet: QuietHours,
    now: datetime,
    span: tuple[int, int],
) -> None:
    """Add the classes of members of a chunk that nobody belonged to when the run began, and their anchors."""
    values = {"run": run_id, "low": span[0], "high": span[1]}
    found = connection.execute(_NEW_CLASSES, values).all()
    if found:
        _write(connection, found, run_id, campaign, day, quiet, now)
        connection.execute(_NEW_ANCHORS, values)


_NEW_CLASSES = text("""
    SELECT DISTINCT member.zone_key, member.country FROM member
    WHERE member.run_id = :run AND member.user_id > :low AND member.user_id <= :high AND member.anchor IS NULL
      AND NOT EXISTS (SELECT 1 FROM slot WHERE slot.run_id = member.run_id AND slot.step = 0 AND slot.arm = ''
                      AND slot.zone_key = member.zone_key AND slot.country = member.country)""")
_NEW_ANCHORS = text("""
    UPDATE member SET anchor = (SELECT slot.due_at FROM slot WHERE slot.run_id = member.run_id AND slot.step = 0
        AND slot.arm = '' AND slot.zone_key = member.zone_key AND slot.country = member.country)
    WHERE member.run_id = :run AND member.user_id > :low AND member.user_id <= :high AND member.anchor IS NULL""")


def _write(
    connection: Connection,
    classes: Iterable[Row[str, str]],
    run_id: int,
    campaign: Campaign,
    day: date,
    quiet: QuietHours,
    now: datetime,
) -> None:
    rows = [row for key, country in classes for row in _rows(run_id, campaign, day, key, country, quiet, now)]
    if rows:
        connection.execute(insert(slot), rows)


def _rows(
    run_id: int, campaign: Campaign, day: date, zone_key: str, country: str, quiet: QuietHours, now: datetime
) -> Iterator[dict[str, object]]:
    for step, arm, timing, channel in _timings(campaign):
        found = find_slot(campaign, timing, channel, day, zone_key, country, quiet, now)
        key = {"run_id": run_id, "step": step, "arm": arm, "zone_key": zone_key, "country": country}
        times = {"due_at": found.due_at, "spread": span_micros(found.spread), "deadline": found.deadline}
        yield {**key, **times, "reason": found.reason}


def _timings(campaign: Campaign) -> Iterator[tuple[int, str, Timing, str]]:
    yield ANCHOR_STEP, "", campaign.timing, campaign.steps[0].channel
    for arm in campaign.arms:
        for step in campaign.steps:
            yield step.index, arm.name, campaign.timing_of(arm, step), step.channel
