"""What the demonstration shows: where the day is, how far the messages are, and what holds at the end."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from types import TracebackType
from typing import Self
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table
from rich.text import Text
from sqlalchemy import Connection, text
from typing_extensions import override

from orchestrator.cli.demo.checks import CLOSES, OPENS, Check, Truth
from orchestrator.cli.demo.places import PLACES

LINE_EVERY = timedelta(hours=3)
"""Business time between the lines of a console that cannot move its cursor."""
_CITIES_NAMED = 4
_DAY = timedelta(days=1)
_WEST, _EAST, _NOON = -11, 14, 12


@dataclass(frozen=True, slots=True)
class Count:
    """Messages and members so far."""

    members: int
    sent: int
    accepted: int
    reopened: int
    planned: bool = True
    """Whether the run's plan is complete."""

    @override
    def __str__(self) -> str:
        return (
            f"members {self.members:,} · sent {self.sent:,} · accepted {self.accepted:,} · reopened {self.reopened:,}"
        )


_COUNT = text("""
    SELECT (SELECT count(*) FROM member) AS members, (SELECT count(*) FROM message WHERE sent_at IS NOT NULL) AS sent,
           (SELECT count(*) FROM message WHERE state IN ('accepted', 'delivered', 'undelivered')) AS accepted,
           (SELECT count(*) FROM member WHERE reopened_at IS NOT NULL) AS reopened,
           (SELECT count(*) FROM run WHERE state <> 'planning') AS planned""")


def read_count(connection: Connection) -> Count:
    """How far it is."""
    row = connection.execute(_COUNT).one()
    return Count(row.members, row.sent, row.accepted, row.reopened, bool(row.planned))


def lunch_cities(now: datetime, day: date) -> list[str]:
    """Where it is between 10:30 and 11:45 of that date now."""
    local = {place.zone: now.astimezone(ZoneInfo(place.zone)) for place in PLACES}
    there = [zone for zone, at in local.items() if at.date() == day and OPENS <= at.time() < CLOSES]
    return [zone.rpartition("/")[2].replace("_", " ") for zone in there]


def first_lunch(day: date) -> datetime:
    """When the date's first window opens."""
    return min(datetime.combine(day, OPENS, ZoneInfo(place.zone)) for place in PLACES).astimezone(UTC)


def _first_words(day: date) -> str:
    return f"the first lunch of {day:%d %b} is at {first_lunch(day):%H:%MZ}, in Kiritimati"


def sky(now: datetime) -> str:
    """The world from UTC-11 to UTC+14 with the sun where it is noon."""
    hour = now.astimezone(UTC).hour
    return "".join("☀" if (hour + offset) % 24 == _NOON else "·" for offset in range(_WEST, _EAST + 1))


@dataclass(slots=True)
class Voyage:
    """Progress of the one date around the world: a moving line on a terminal, a line every few hours elsewhere."""

    console: Console
    day: date
    start: datetime
    end: datetime
    _progress: Progress = field(init=False)
    _task: TaskID = field(init=False)
    _live: Live | None = field(default=None, init=False)
    _next_line: datetime = field(init=False)

    def __enter__(self) -> Self:
        columns = (TextColumn("{task.description}"), BarColumn(bar_width=58), TextColumn("{task.percentage:>3.0f} %"))
        self._progress = Progress(*columns, console=self.console)
        self._task = self._progress.add_task("", total=(self.end - self.start).total_seconds())
        self._next_line = self.start
        if self.console.is_terminal:
            self._live = Live(console=self.console, refresh_per_second=8)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def update(self, now: datetime, count: Count) -> None:
        """Show ``count`` at business time ``now``."""
        when = now.strftime("%a %d %b %H:%MZ")
        if self._live is not None:
            self._progress.update(self._task, completed=(now - self.start).total_seconds(), description=when)
            rows = Table.grid()
            rows.add_row(self._progress)
            rows.add_row(Text(f"west {sky(now)} east   {self._lunch(now)}", style="yellow"))
            rows.add_row(Text(str(count)))
            self._live.update(rows)
        elif now >= self._next_line:
            self._next_line = now + LINE_EVERY
            self.console.print(f"{when}  {count}  {self._lunch(now)}", soft_wrap=True)

    def _lunch(self, now: datetime) -> str:
        cities = lunch_cities(now, self.day)
        if cities:
            more = f" +{len(cities) - _CITIES_NAMED}" if len(cities) > _CITIES_NAMED else ""
            return f"lunchtime in {', '.join(cities[:_CITIES_NAMED])}{more}"
        if now >= self.end - _DAY:
            return "lunch is over; whoever comes back within a day counts"
        return "on the way to the next lunch" if now > first_lunch(self.day) else _first_words(self.day)


def truth_table(truths: Iterable[Truth]) -> Table:
    """The simulation's own knowledge, beside which the report's difference can be judged."""
    table = Table(
        title="What only the simulation knows: the true effect of the messages",
        title_justify="left",
        title_style="bold",
        header_style="bold",
        show_edge=False,
        pad_edge=False,
    )
    table.add_column("group", no_wrap=True)
    for name in ("eligible", "reopened", "would have anyway", "true effect"):
        table.add_column(name, justify="right")
    for one in truths:
        effect = f"{100 * one.effect:+.1f} points"
        table.add_row(one.arm, f"{one.members:,}", f"{one.did:,}", f"{one.would_have:,}", effect)
    return table


def print_checks(console: Console, checks: Iterable[Check]) -> bool:
    """A line per check; whether all hold."""
    good = True
    for check in checks:
        mark = Text("ok    ", style="bold green") if check.holds else Text("FAILED ", style="bold red")
        console.print(mark.append(check.words, style="default"), soft_wrap=True)
        good &= check.holds
    return good
