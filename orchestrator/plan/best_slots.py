"""The open hours of a class: what a slot is cut into where a campaign asks for everybody's best hour.

An hour is the wall clock's, of the local date whose window the class gets: the instants of the window at which the
clock (of every zone they may be in) shows it. In a gap it is missing, in a fold its first part counts. Hours of
which little is open are left out if others are not, so that nobody is crowded into a few minutes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, select, update

from orchestrator.campaign.spec import Campaign, Timing
from orchestrator.clock import span_micros
from orchestrator.ledger.runs import Occasion
from orchestrator.plan.rules import rule_for
from orchestrator.policy.resolver import Opening, Rule, dates_of, opening
from orchestrator.store.dialect import BUCKETS
from orchestrator.store.tables import slot, slot_hour
from orchestrator.timing.besttime import CODES, ordered
from orchestrator.timing.instants import InstantSet, Interval
from orchestrator.timing.opens import Histogram, Population, read_population
from orchestrator.timing.quiet import QuietHours
from orchestrator.timing.window import WHOLE_DAY, Part, Window
from orchestrator.timing.zones import on_all

ENOUGH = timedelta(minutes=10)
_MINUTES = 60


@dataclass(frozen=True, slots=True)
class OpenHours:
    """``pieces``: what is open of each hour, by its code, the population's best first; of a date of ``weekday``."""

    weekday: int
    pieces: dict[str, Interval]

    @property
    def codes(self) -> str:
        """The open hours, best first."""
        return "".join(self.pieces)

    @property
    def shut(self) -> str:
        """All others."""
        return "".join(code for code in CODES if code not in self.pieces)


def open_hours(rule: Rule, door: Opening, zone_key: str, due: datetime, population: Histogram) -> OpenHours | None:
    """The hours in which a class that is due at ``due`` may get its message; None when its clocks agree on none."""
    for day in dates_of(rule, due):
        inside = on_all(rule.window or WHOLE_DAY, day, zone_key)
        if due in inside:
            left = (door.allowed & inside).clip(due, inside.intervals[-1][1])
            return _cut(left, day, zone_key, population)
    return None


def _cut(left: InstantSet, day: date, zone_key: str, population: Histogram) -> OpenHours | None:
    found: dict[str, Interval] = {}
    for code in ordered(population, day.weekday()):
        piece = left & on_all(_hour(code), day, zone_key)
        if piece:
            found[code] = piece.intervals[0]
    enough = {code: (start, end) for code, (start, end) in found.items() if end - start >= ENOUGH}
    return OpenHours(day.weekday(), enough or found) if found else None


@cache
def _hour(code: str) -> Window:
    start = CODES.index(code) * _MINUTES
    return Window((Part(start, start + _MINUTES),))


def cut_slots(
    connection: Connection, run_id: int, campaign: Campaign, occasion: Occasion, quiet: QuietHours, explore: float
) -> None:
    """Cut those slots of a run into hours that ask for it and are whole yet; ``explore``: where the campaign is silent.

    Nothing is cut as long as nothing is known of the population: sending is then spread over the window, as without.
    """
    population = read_population(connection)
    if population is None:
        return
    whole = select(slot).where(slot.c.run_id == run_id, slot.c.step > 0, slot.c.weekday.is_(None))
    cuts, hours = [], []
    for row in connection.execute(whole.where(slot.c.due_at.is_not(None))).all():
        timing = campaign.timing_of(campaign.arm(row.arm), campaign.steps[row.step - 1])
        if timing.best is not None:
            found = _of_slot(row, campaign, occasion, quiet, population)
            cuts.append(_cut_row(row, found, occasion.day, timing.best.explore, explore))
            hours += _hour_rows(row, timing, found)
    if cuts:
        connection.execute(_CUT, cuts)
    if hours:
        connection.execute(insert(slot_hour), hours)


def _of_slot(
    row: Row[Any], campaign: Campaign, occasion: Occasion, quiet: QuietHours, population: Population
) -> OpenHours | None:
    step = campaign.steps[row.step - 1]
    counted = population.of(step.channel)
    if not any(counted):
        return None
    rule = rule_for(campaign, campaign.arm(row.arm), step, occasion)
    return open_hours(rule, opening(rule, row.zone_key, row.country, quiet), row.zone_key, row.due_at, counted)


_KEY = ("run_id", "step", "arm", "zone_key", "country")
_CUT = (
    update(slot)
    .where(*(slot.c[name] == bindparam(f"of_{name}") for name in _KEY))
    .values(**{name: bindparam(f"its_{name}") for name in ("weekday", "hours", "shut", "explore")})
)


def _cut_row(row: Row[Any], found: OpenHours | None, day: date, own: float | None, usual: float) -> dict[str, object]:
    border = round((usual if own is None else own) * BUCKETS)
    weekday, codes, shut = (day.weekday(), None, None) if found is None else (found.weekday, found.codes, found.shut)
    values = {"its_weekday": weekday, "its_hours": codes, "its_shut": shut, "its_explore": border}
    return {**values, **{f"of_{name}": getattr(row, name) for name in _KEY}}


def _hour_rows(row: Row[Any], timing: Timing, found: OpenHours | None) -> list[dict[str, object]]:
    key = {name: getattr(row, name) for name in _KEY}
    return [
        {**key, "hour": code, "due_at": start, "spread": span_micros((end - start) * timing.spread)}
        for code, (start, end) in (found.pieces if found else {}).items()
    ]
