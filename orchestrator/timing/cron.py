"""Cron strings: the instants they mean, in a zone that is named beside them.

Only the wall clock is asked of cronsim, which numbers weekdays as cron does (0 and 7 are Sunday) and knows names,
lists, steps, ``L`` and ``#``. What a wall clock means on the days on which it is put forward or back is said here: a
time that is left out fires at the instant that the old offset gives (02:30 becomes 03:30), and one that comes twice
fires the first time alone. Whoever fires in every hour of such a night has one firing fewer, or two that are one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from orchestrator.errors import InputError
from orchestrator.timing.zonedata import is_zone, unknown_zone

_FIELDS = 5
_EXAMPLE = 'write minute, hour, day, month, weekday: "0 9 * * mon" is Mondays at 09:00'
_LONGEST = 200
_WIDEST_GAP = timedelta(hours=25)  # a zone may leave out a whole day: Samoa did, on its way over the date line
_SOME_DAY = datetime(2026, 1, 1)  # noqa: DTZ001  # a wall clock
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Cron:
    """A cron string of five fields and the zone (IANA) whose wall clock it is about. Make one with :meth:`parse`."""

    text: str
    zone: str

    @classmethod
    def parse(cls, text: str, zone: str) -> Cron:
        """The cron string that ``text`` is.

        Raises:
            InputError: it is none, it never fires, or there is no such zone.
        """
        check_cron(text)
        if not is_zone(zone):
            raise unknown_zone(zone)
        return cls(" ".join(text.split()), zone)

    def after(self, instant: datetime) -> Iterator[datetime]:
        """The instants (UTC) after ``instant``, in order, each once."""
        late: list[datetime] = []  # of times in a gap: they come after others that the clock shows later
        for wall in self._walls(self._start(instant)):
            at = wall.replace(tzinfo=ZoneInfo(self.zone), fold=0).astimezone(UTC)
            if self.local(at) != wall:
                late.append(at)
                continue
            while late and late[0] < at:
                yield from _later(late.pop(0), instant)
            if at not in late:
                yield from _later(at, instant)
        yield from (at for at in late if at > instant)

    def on(self, day: date) -> bool:
        """Whether it fires on a date of its zone's calendar."""
        first = next(self._walls(datetime.combine(day, time()) - _SECOND), None)
        return first is not None and first.date() == day

    def local(self, instant: datetime) -> datetime:
        """What the zone's wall clock shows."""
        return instant.astimezone(ZoneInfo(self.zone)).replace(tzinfo=None)

    def _start(self, instant: datetime) -> datetime:
        """The wall clock to begin at: some time before, if the clock has been changed lately."""
        early, wall = self.local(instant - _WIDEST_GAP), self.local(instant)
        return wall if wall - early == _WIDEST_GAP else min(early, wall - _WIDEST_GAP)

    def _walls(self, after: datetime) -> Iterator[datetime]:
        return iter(CronSim(self.text, after))


def check_cron(text: str) -> None:
    """See that a text is a cron string that fires.

    Raises:
        InputError: it is none, or it names a day that no month has.
    """
    if len(text) > _LONGEST or len(text.split()) != _FIELDS:
        raise InputError(f"{text[:40]!r} is no cron string of five fields", hint=_EXAMPLE)
    try:
        if next(iter(CronSim(text, _SOME_DAY)), None) is None:
            raise InputError(f"{text!r} never fires: there is no such day", hint=_EXAMPLE)
    except CronSimError as error:
        field = str(error).removeprefix("Bad ")
        raise InputError(f"{text!r} is no cron string: its {field} is wrong", hint=_EXAMPLE) from None


def _later(at: datetime, than: datetime) -> Iterator[datetime]:
    if at > than:
        yield at
