"""Who stays: daily, weekly and monthly active users, return after 1, 7 and 30 days, churn, and the cohorts' heat map.

Of one kind of event (``app_open`` unless told otherwise), in whole calendar days of one zone, through yesterday:

* *active* on a day: at least one event; *weekly* and *monthly*: on at least one of the 7 or 30 days that end with it.
* *first seen*: the day of the first such event that the ledger has; a cohort are those first seen in one week.
* *day-N retention*: active on exactly the Nth day after the first. Only cohorts whose Nth day is over count.
* *week k* of a cohort: active on at least one of the days 7k to 7k+6 after the own first day.
* *churned* on a day: active in the 30 days before the last 30, and not in the last 30.

The database groups; what it hands over is a row per day, per cohort's day and day, and per *silence*: two successive
days of one user more than a week apart. Between silences a user stays among the weekly active, so that all series
follow from where silences begin and end, and no day's users are ever counted twice or held in memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, func, select

from orchestrator.errors import InputError, NotFoundError, did_you_mean
from orchestrator.report.days import date_of, day_sql, number_of, start_of
from orchestrator.report.past import AT, Cell, Past, Silence
from orchestrator.report.statistics import Share, share
from orchestrator.store.tables import event

AFTER = (1, 7, 30)
"""Days after the first on which it is asked who is back."""
WEEK, MONTH, TWO_MONTHS = 7, 30, 60
NEVER = -1
"""No day: where those leave who were not there before."""
DEFAULT_SPAN = timedelta(weeks=26)


@dataclass(frozen=True, slots=True)
class DayCount:
    """One day. ``before`` are those active in the 30 days before the last 30, of whom ``churned`` are silent since."""

    day: date
    active: int
    new: int
    weekly: int
    monthly: int
    before: int
    churned: int


@dataclass(frozen=True, slots=True)
class Cohort:
    """Those first seen in one week, from Monday.

    ``back`` has for 1, 7 and 30 days (how many were active then, of how many whose day is over). ``weeks`` has how many
    were active in each of their own weeks; None: not over for all of them.
    """

    week: date
    size: int
    back: Mapping[int, tuple[int, int]]
    weeks: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Retention:
    """``days`` and ``cohorts`` from ``since`` to before ``until``; ``recorded`` is the first day of any such event.

    ``back`` is day-N retention of all users first seen in that span together.
    """

    event: str
    zone: str
    since: date
    until: date
    as_of: datetime
    recorded: date
    users: int
    days: tuple[DayCount, ...]
    cohorts: tuple[Cohort, ...]
    back: Mapping[int, Share]

    @property
    def last(self) -> DayCount:
        """The newest whole day."""
        return self.days[-1]


def retention(
    connection: Connection,
    now: datetime,
    *,
    name: str = "app_open",
    zone: str = "UTC",
    since: date | None = None,
    until: date | None = None,
) -> Retention:
    """Count everything; ``connection`` is one transaction. ``until`` (today) is not included: it is not over.

    Raises:
        NotFoundError: there is no event of that name; with the nearest that there is.
        InputError: there are no days between ``since`` and ``until``.
    """
    where, today = ZoneInfo(zone), now.astimezone(ZoneInfo(zone)).date()
    end = min(until or today, today)
    first = _first(connection, name)
    recorded = first.astimezone(where).date()
    begin = _monday(max(since or end - DEFAULT_SPAN, recorded))
    if max(begin, recorded) >= end:
        raise InputError(
            f"no whole day between {max(begin, recorded)} and {end}", hint="give an earlier --since, or wait a day"
        )
    past = Past(connection, name, day_sql(AT, where, first, now), start_of(end, where))
    born, cells = past.born(), list(past.cohorts(number_of(begin)))
    return Retention(
        event=name,
        zone=zone,
        since=begin,
        until=end,
        as_of=now,
        recorded=recorded,
        users=born.total(),
        days=tuple(_days(past, born, begin, end, start_of(begin - timedelta(days=TWO_MONTHS), where))),
        cohorts=tuple(_cohorts(cells, past.weeks(number_of(begin)), begin, end)),
        back={after: share(*_back(cells, after, number_of(begin), number_of(end))) for after in AFTER},
    )


def _monday(day: date) -> date:
    return day - timedelta(days=day.weekday())


def _first(connection: Connection, name: str) -> datetime:
    found: datetime | None = connection.execute(select(func.min(event.c.at)).where(event.c.name == name)).scalar()
    if found is not None:
        return found
    names = connection.execute(select(event.c.name).distinct().limit(200)).scalars()
    hint = did_you_mean(name, names) or "`orchestrator import events` brings them in"
    raise NotFoundError(f"there are no events called {name!r}", hint=hint)


def _running(arriving: Counter[int], leaving: Counter[int]) -> Counter[int]:
    """How many there are on each day, from those who come and those who go."""
    changes = Counter(arriving)
    changes.subtract(leaving)
    present, there = Counter[int](), 0
    for day in range(min(changes, default=0), max(changes, default=-1) + 1):
        there += changes[day]
        present[day] = there
    return present


def _days(past: Past, born: Counter[int], begin: date, end: date, earliest: datetime) -> Iterator[DayCount]:
    silences, final = past.silences(earliest), past.final(earliest)
    active = past.active(number_of(begin))
    weekly, monthly = (_present(silences, final, span) for span in (WEEK, MONTH))
    silent = _silent(silences, final)
    for day in range(number_of(begin), number_of(end)):
        before = monthly[day - MONTH]
        yield DayCount(date_of(day), active[day], born[day], weekly[day], monthly[day], before, silent[day])


def _present(silences: Sequence[Silence], final: Counter[int], span: int) -> Counter[int]:
    """How many were active on at least one of the ``span`` days that end with each day."""
    coming, going = Counter[int](), Counter({day + span: people for day, people in final.items()})
    for one in silences:
        if one.before is None or one.day - one.before > span:
            coming[one.day] += one.people
            going[one.before + span if one.before is not None else NEVER] += one.people
    del going[NEVER]
    return _running(coming, going)


def _silent(silences: Sequence[Silence], final: Counter[int]) -> Counter[int]:
    """How many were last active 30 to 59 days before each day."""
    coming = Counter({day + MONTH: people for day, people in final.items()})
    going = Counter({day + TWO_MONTHS: people for day, people in final.items()})
    for one in silences:
        if one.before is not None and one.day - one.before > MONTH:
            coming[one.before + MONTH] += one.people
            going[min(one.day, one.before + TWO_MONTHS)] += one.people
    return _running(coming, going)


def _back(cells: Iterable[Cell], after: int, begin: int, end: int) -> tuple[int, int]:
    """(active so many days after the first, of how many), of those first seen from ``begin`` whose day is over."""
    there = people = 0
    for cell in cells:
        if begin <= cell.first < end - after:
            there += cell.people if cell.place == after else 0
            people += cell.people if cell.place == 0 else 0
    return there, people


def _cohorts(days: Iterable[Cell], weeks: Iterable[Cell], begin: date, end: date) -> Iterator[Cohort]:
    of_days, of_weeks = (_by_cohort(cells, number_of(begin)) for cells in (days, weeks))
    for place in range(-(-(end - begin).days // WEEK)):
        start = begin + timedelta(weeks=place)
        yield _cohort(of_days.get(place, []), of_weeks.get(place, []), start, number_of(end))


def _by_cohort(cells: Iterable[Cell], begin: int) -> dict[int, list[Cell]]:
    found: dict[int, list[Cell]] = {}
    for cell in cells:
        found.setdefault((cell.first - begin) // WEEK, []).append(cell)
    return found


def _cohort(days: Sequence[Cell], weeks: Sequence[Cell], week: date, end: int) -> Cohort:
    start = number_of(week)
    counts: Counter[int] = Counter()
    for cell in weeks:
        counts[cell.place] += cell.people
    return Cohort(
        week=week,
        size=counts[0],
        back={after: _back(days, after, start, end) for after in AFTER},
        weeks=tuple(counts[k] if _over(start, k) <= end else None for k in range(-(-(end - start) // WEEK))),
    )


def _over(start: int, week: int) -> int:
    """The day from which on a week is over for everybody first seen in the seven days from ``start``."""
    return start + WEEK - 1 + (week + 1) * WEEK
