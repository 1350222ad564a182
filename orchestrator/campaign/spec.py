"""A campaign as the rest of the house sees it: frozen, checked, free of YAML.

Made by :mod:`orchestrator.campaign.load` from files, or by :mod:`orchestrator.campaign.version` from what was launched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from itertools import takewhile
from typing import Any
from zoneinfo import ZoneInfo

from orchestrator.timing.calendars import Calendar, Holidays
from orchestrator.timing.cron import Cron
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
    Without a ``window``: at any time of the day, for ``expires_after``.
    """

    window: Window | None
    late: Late = Late.SKIP
    expires_after: timedelta = timedelta(hours=24)
    spread: float = 0.5
    best: BestTime | None = None


@dataclass(frozen=True, slots=True)
class RelativeTo:
    """Each user's own date: that of an ``attribute`` (``yearly``: every year), or of their last ``event``.

    The run that is theirs is the one ``offset`` (whole days) after it; below zero: before it.
    """

    attribute: str | None = None
    event: str | None = None
    yearly: bool = False
    offset: timedelta = timedelta(0)

    @property
    def name(self) -> str:
        """The attribute or the event."""
        return self.attribute or self.event or ""

    def dated(self, day: date) -> date:
        """The own date of those who are members of the run of ``day``."""
        return day - self.offset


@dataclass(frozen=True, slots=True)
class Trigger:
    """Who did ``event`` is sent to ``after`` that; the last time counts, and nothing if they do one of ``unless``.

    Nobody becomes a member again before ``again_after``, nor twice on a local date. ``properties``: examples of those
    of the event that templates may name.
    """

    event: str
    after: timedelta = timedelta(0)
    unless: tuple[str, ...] = ()
    again_after: timedelta = timedelta(hours=24)
    properties: Mapping[str, Any] = field(default_factory=dict)


_EARLIEST, _LATEST = timedelta(hours=25), timedelta(hours=49)
"""Before a date begins in UTC, and after, there is none of it anywhere."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """Which local dates fire: ``weekdays`` (0 = Monday) between ``first`` and ``last`` inclusive, or ``dates``.

    Or which instants: ``at`` (each with the offset it was written with), or those of ``cron``.
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
    relative_to: RelativeTo | None = None
    """Of everybody in the segment, only those whose own date it is."""
    at: tuple[datetime, ...] = ()
    cron: Cron | None = None
    trigger: Trigger | None = None
    """A run of every date, which members join one by one, by an event of their own."""

    def fires_on(self, day: date) -> bool:
        """Whether a run belongs to this local date; of instants: whether one has it, where it was written."""
        if not self._free(day):
            return False
        if day in self.dates or any(instant.date() == day for instant in self.at):
            return True
        return self._within(day) and self._goes_on(day)

    @property
    def of_instants(self) -> bool:
        """Whether its runs are those of instants, and not of local dates."""
        return bool(self.at) or self.cron is not None

    def instants(self, after: datetime, until: datetime) -> Iterator[datetime]:
        """The instants that fire after ``after`` and not after ``until``, in order, each in its written clock."""
        found = iter(self.at) if self.cron is None else self.cron.after(after)
        for instant in takewhile(lambda one: one <= until, found):
            written = self.written(instant)
            if instant > after and self._free(written.date()) and (self.cron is None or self._within(written.date())):
                yield written

    def instants_on(self, day: date) -> list[datetime]:
        """The instants of a date, where it was written."""
        begin = datetime.combine(day, time(), tzinfo=UTC)
        around = self.instants(begin - _EARLIEST, begin + _LATEST)
        return [instant for instant in around if instant.date() == day]

    def written(self, instant: datetime) -> datetime:
        """An instant in the clock in which the schedule is written; UTC if it is none of its own."""
        if self.cron is not None:
            return instant.astimezone(ZoneInfo(self.cron.zone))
        return next((one for one in self.at if one == instant), instant)

    def _goes_on(self, day: date) -> bool:
        """Whether a schedule without an end of its own has this date."""
        if self.cron is not None:
            return self.cron.on(day)
        if self.workdays:
            return self.calendar is not None and self.calendar.is_workday(day)
        return self.trigger is not None or day.weekday() in self.weekdays

    def _free(self, day: date) -> bool:
        return self.calendar is None or self.holidays.permit(self.calendar, day)

    def _within(self, day: date) -> bool:
        return (self.first is None or day >= self.first) and (self.last is None or day <= self.last)

    @property
    def members_holidays(self) -> Holidays:
        """What is made of the holidays of each member's own country."""
        return self.holidays if self.calendar is None else Holidays.IGNORE


@dataclass(frozen=True, slots=True)
class When:
    """A later step's condition: so long ``after`` the step before was due, by what has happened (words of the file).

    ``unless``: not if that has happened; ``needs``: only if it has. ``wait_for``: as soon as it does, if that is
    ``within`` so long of the step before; ``after`` then counts from when it happened.
    """

    after: timedelta = timedelta(0)
    unless: str | None = None
    needs: str | None = None
    wait_for: str | None = None
    within: timedelta = timedelta(0)

    @property
    def cues(self) -> dict[str, str]:
        """What it asks about, by the file's field."""
        asked = {"not": self.unless, "is": self.needs, "wait_for": self.wait_for}
        return {field: word for field, word in asked.items() if word is not None}

    @property
    def soonest(self) -> timedelta:
        """How long after the step before it is due at the earliest."""
        return timedelta(0) if self.wait_for else self.after

    @property
    def latest(self) -> timedelta:
        """How long after the step before it is decided at the latest: what a step after it counts from."""
        return self.within if self.wait_for else self.after


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
    exit_on_conversion: bool = False
    """Whether who has converted gets nothing more of the run."""

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
