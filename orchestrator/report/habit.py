"""The hours in which a user opens the app, and which hour a campaign would choose for them, and why."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import Connection, select

from orchestrator.audience.aliases import family
from orchestrator.campaign.spec import Arm, Campaign, Step
from orchestrator.experiment.assign import arm_of
from orchestrator.ledger.runs import Occasion
from orchestrator.plan.best_members import draw
from orchestrator.plan.best_slots import open_hours
from orchestrator.plan.rules import rule_for
from orchestrator.policy.resolver import opening
from orchestrator.report.explain import user_of
from orchestrator.store.dialect import BUCKETS
from orchestrator.store.tables import best_hour, users
from orchestrator.timing import besttime
from orchestrator.timing.besttime import Habits, best_of, hour_of_week, nth_of
from orchestrator.timing.opens import ANY, Histogram, count_population, histogram, opens, read_population
from orchestrator.timing.quiet import QuietHours


@dataclass(frozen=True, slots=True)
class Habit:
    """A user's opens for one channel: as counted, as they weigh, the population's share, and both together.

    ``opens``: how many are young enough; ``stored``: the hours that planning goes by, "" for the population's.
    """

    user: str
    zone_key: str
    channel: str
    opens: int
    needed: int
    counts: tuple[int, ...]
    own: tuple[float, ...]
    population: tuple[float, ...]
    mix: tuple[float, ...]
    stored: str
    user_id: int

    @property
    def why(self) -> str:
        """What planning goes by: ``own``, ``population`` (not refreshed yet, or no clock), ``too_little``."""
        if self.stored:
            return "own"
        return "too_little" if self.opens < self.needed else "population"


@dataclass(frozen=True, slots=True)
class Choice:
    """The hour of a step on a date, from ``due``. ``why``: a habit's, or ``explored``, ``window``, ``no_window``."""

    campaign: str
    arm: str
    step: int
    channel: str
    local_date: date
    due: datetime | None
    why: str


def habit_of(connection: Connection, user: str, channel: str, now: datetime, habits: Habits) -> Habit:
    """Counted afresh from the events there are.

    Raises:
        NotFoundError: there is no such user.
    """
    user_id = family(connection, user_of(connection, user))[0]
    row = connection.execute(select(users.c.external_id, users.c.zone_key).where(users.c.id == user_id)).one()
    found = opens(connection, [user_id], now, habits)
    times = [one.at for one in found if one.channel in {ANY, channel}]
    own = besttime.smoothed(histogram(times, row.zone_key, now, habits))
    population = (read_population(connection) or count_population(connection, now, habits)).of(channel)
    before = besttime.prior(population, habits.pseudo)
    return Habit(
        user=row.external_id,
        zone_key=row.zone_key,
        channel=channel,
        opens=len(times),
        needed=habits.least_history,
        counts=_counts(times, row.zone_key),
        own=tuple(own),
        population=tuple(besttime.prior(population, 1.0)),
        mix=tuple(besttime.mixed(own, before)),
        stored=_stored(connection, user_id, channel, now),
        user_id=user_id,
    )


def _counts(times: Iterable[int], zone_key: str) -> tuple[int, ...]:
    counted = [0] * besttime.WEEK_HOURS
    for at in times:
        cell = hour_of_week(at, zone_key)
        if cell is not None:
            counted[cell] += 1
    return tuple(counted)


def _stored(connection: Connection, user_id: int, channel: str, now: datetime) -> str:
    mine = select(best_hour.c.hours).where(best_hour.c.user_id == user_id, best_hour.c.channel.in_([channel, ANY]))
    alive = mine.where(best_hour.c.until > now).order_by(best_hour.c.channel.desc())  # the channel's own before ""
    return connection.execute(alive.limit(1)).scalar() or ""


@dataclass(frozen=True, slots=True)
class Chooser:
    """Which hour a campaign chooses: as the planner, for one user."""

    campaign: Campaign
    occasion: Occasion
    quiet: QuietHours
    population: Histogram
    explore: float

    def choices(self, habit: Habit, country: str, now: datetime) -> list[Choice]:
        """The hour of each step on the habit's channel, for the arm that the user is in."""
        arms = [(arm.name, arm.weight) for arm in self.campaign.arms]
        arm = self.campaign.arm(arm_of(self.campaign.name, habit.user, arms))
        steps = [step for step in self.campaign.steps if step.channel == habit.channel]
        return [self._choice(habit, arm, step, country, now) for step in steps]

    def _choice(self, habit: Habit, arm: Arm, step: Step, country: str, now: datetime) -> Choice:
        rule = rule_for(self.campaign, arm, step, self.occasion)
        door = opening(rule, habit.zone_key, country, self.quiet)
        due = door.allowed.next(now)
        about = (self.campaign.name, arm.name, step.index, step.channel, self.occasion.day)
        best = self.campaign.timing_of(arm, step).best
        if due is None or best is None or not any(self.population):
            return Choice(*about, due, "no_window" if due is None else "window")
        hours = open_hours(rule, door, habit.zone_key, due, self.population)
        if hours is None:
            return Choice(*about, due, "window")
        border = round((self.explore if best.explore is None else best.explore) * BUCKETS)
        drawn = draw(self.campaign.name, self.occasion.key, habit.user)
        own = best_of(habit.stored, hours.weekday, hours.codes)
        code, why = own or hours.codes[0], habit.why if own or not habit.stored else "population"
        if drawn < border:
            code, why = nth_of(drawn, border, hours.codes), "explored"
        return Choice(*about, hours.pieces[code][0], why)
