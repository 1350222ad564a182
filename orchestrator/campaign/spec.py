"""A campaign as the rest of the house sees it: frozen, checked, free of YAML.

Made by :mod:`orchestrator.campaign.load` from files, or by :mod:`orchestrator.campaign.version` from what was launched.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from enum import StrEnum

from orchestrator.timing.calendars import Calendar, Holidays
from orchestrator.timing.window import Window


class Late(StrEnum):
    """What becomes of a message whose window has passed."""

    SKIP = "skip"
    NEXT = "next"


@dataclass(frozen=True, slots=True)
class BestTime:
    """Whether each user's best hour within the window is taken, and which share gets any (None: the deployment's)."""

    within_window: bool = True
    explore: float | None = None


@dataclass(frozen=True, slots=True)
class Timing:
    """When a message may leave, on the recipient's wall clock.

    ``spread`` is the share of the opening (0 to 0.9) over which due times are spread; with ``best`` of the hour.
    """

    window: Window
    late: Late = Late.SKIP
    expires_after: timedelta = timedelta(hours=24)
    spread: float = 0.5
    best: BestTime | None = None


@dataclass(frozen=True, slots=True)
class Schedule:
    """Which local dates fire: ``weekdays`` (0 = Monday) between ``first`` and ``last`` inclusive, or ``dates``.

    ``workdays``: those of ``calendar`` instead of weekdays. ``holidays`` are the calendar's; without one, those of each
    member's own country, which the policy asks for.
    """

    weekdays: frozenset[int] = frozenset()
    first: date | None = None
    last: date | None = None
    dates: frozenset[date] = frozenset()
    workdays: bool = False
    calendar: Calendar | None = None
    holidays: Holidays = Holidays.IGNORE

    def fires_on(self, day: date) -> bool:
        """Whether a run belongs to this local date."""
        if self.calendar is not None and not self.holidays.permit(self.calendar, day):
            return False
        if day in self.dates:
            return True
        within = (self.first is None or day >= self.first) and (self.last is None or day <= self.last)
        return within and (self._is_workday(day) if self.workdays else day.weekday() in self.weekdays)

    def _is_workday(self, day: date) -> bool:
        return self.calendar is not None and self.calendar.is_workday(day)

    @property
    def members_holidays(self) -> Holidays:
        """What is made of the holidays of each member's own country."""
        return self.holidays if self.calendar is None else Holidays.IGNORE


@dataclass(frozen=True, slots=True)
class When:
    """A later step's condition: so long after the step before was due, and not if the user has reopened the app."""

    not_reopened: bool = True
    after: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True)
class Step:
    """One leg, ``index`` from 1. ``rate``: messages a second (None: the account's); ``timing`` None: the campaign's."""

    index: int
    channel: str
    template: str
    account: str | None = None
    rate: float | None = None
    when: When | None = None
    timing: Timing | None = None
    best: BestTime | None = None


@dataclass(frozen=True, slots=True)
class Conversion:
    """What counts as success beyond coming back; ``value`` names the numeric event property that is summed."""

    event: str
    within: timedelta
    value: str | None = None


@dataclass(frozen=True, slots=True)
class Goal:
    """The event that is a reopen, and how long after the run's opening for a member it counts."""

    event: str = "app_open"
    within: timedelta = timedelta(hours=24)
    conversion: Conversion | None = None


@dataclass(frozen=True, slots=True)
class Arm:
    """A variant. What it does not set is the campaign's own. A campaign without arms has one, called ``all``."""

    name: str
    weight: int = 1
    template: str | None = None
    timing: Timing | None = None
    best: BestTime | None = None


@dataclass(frozen=True, slots=True)
class Budget:
    """What the campaign's SMS may come to, as messages and as billed parts; over all runs, or each run for itself."""

    sms: int | None = None
    sms_parts: int | None = None
    each_run: bool = False


@dataclass(frozen=True, slots=True)
class Campaign:
    """One campaign. ``holdout`` is a share (0 to 0.9); ``title`` is by locale."""

    name: str
    title: Mapping[str, str]
    topic: str
    segment: str
    exclude: tuple[str, ...]
    schedule: Schedule
    timing: Timing
    steps: tuple[Step, ...]
    goal: Goal
    arms: tuple[Arm, ...]
    priority: int = 50
    holdout: float = 0.0
    drop_if_back: bool = True
    max_audience: int | None = None
    budget: Budget | None = None
    seeds: tuple[str, ...] = ()
    """The app's own ids of users who get a copy of every arm's messages of each run; never counted."""
    best_time: BestTime | None = None
    rate: float | None = None
    """Messages a second, of all steps and accounts together."""
    tags: tuple[str, ...] = ()
    """What frequency caps know it by; :attr:`tagged` has the topic where there are none."""
    recheck: bool = False
    """Whether the segment is evaluated again at the door."""

    @property
    def tagged(self) -> tuple[str, ...]:
        """What frequency caps count its messages by."""
        return self.tags or (self.topic,)

    def timing_of(self, arm: Arm, step: Step) -> Timing:
        """The step's own timing, else the arm's, else the campaign's; and in the same way, by itself, its best time."""
        timing, best = step.timing or arm.timing or self.timing, step.best or arm.best or self.best_time
        return replace(timing, best=best) if best is not None and best.within_window else timing

    @property
    def at_best_hours(self) -> bool:
        """Whether any message of it is for its user's best hour."""
        return any(self.timing_of(arm, step).best for arm in self.arms for step in self.steps)

    def template_of(self, arm: Arm, step: Step) -> str:
        """The arm's template, else the step's."""
        return arm.template or step.template

    def arm(self, name: str) -> Arm:
        """The arm of that name; the holdout's members keep theirs."""
        return next(arm for arm in self.arms if arm.name == name)
