"""Quiet hours by channel, country and part of a country: a data file with effective dates, on top of every window.

An instant is quiet when it is quiet in any zone the recipient may be in: not knowing where somebody is
never wakes them. A *place* is a country (``US``) or a part of one (``US-FL``); rows with ``unknown_part`` are for who
is only known to be somewhere in the country.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from orchestrator.errors import ConfigError, InputError, Problem
from orchestrator.timing.calendars import calendar_of
from orchestrator.timing.days import parse_days
from orchestrator.timing.instants import InstantSet, Interval
from orchestrator.timing.window import Window
from orchestrator.timing.zones import country_of, on_any

BUILT_IN = "quiet_hours.yaml"
_DATE = re.compile(r"(\d{4}-)?\d{2}-\d{2}")
_LEAP_YEAR = "2028-"
_DAY = timedelta(days=1)


def _checked_hours(text: str) -> str:
    try:
        Window.parse(text)
    except InputError as error:
        raise ValueError(str(error)) from None
    return text


def _checked_days(text: str) -> str:
    try:
        parse_days(text)
    except InputError as error:
        raise ValueError(str(error)) from None
    return text


def _checked_date(text: str) -> str:
    if _DATE.fullmatch(text) is None:
        raise ValueError(f'{text!r} is no date; write "2027-03-29", or "12-25" for every year')
    date.fromisoformat(text if len(text) > len("12-25") else _LEAP_YEAR + text)
    return text


class QuietRow(BaseModel):
    """One row of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    channels: tuple[Literal["push", "sms", "email", "inbox", "webhook"], ...]
    countries: tuple[Annotated[str, Field(pattern=r"^[A-Z]{2}$")], ...] = ()
    parts: tuple[Annotated[str, Field(pattern=r"^[A-Z]{2}-[A-Z0-9]{1,3}$")], ...] = ()
    unknown_part: bool = False
    hours: Annotated[str, AfterValidator(_checked_hours)]
    days: Annotated[str, AfterValidator(_checked_days)] = "every"
    dates: tuple[Annotated[str, AfterValidator(_checked_date)], ...] = ()
    holidays: bool = False
    first: date | None = Field(default=None, alias="from")
    last: date | None = Field(default=None, alias="until")
    source: str = ""

    @model_validator(mode="after")
    def _whose(self) -> Self:
        if self.countries and self.parts:
            raise ValueError("countries and parts are two rows: write one of the two")
        if self.unknown_part and not self.countries:
            raise ValueError("unknown_part needs the countries whose parts are meant")
        return self


class _QuietFile(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    quiet: tuple[QuietRow, ...]


@dataclass(frozen=True)
class QuietRule:
    """A row, ready to be asked."""

    row: QuietRow

    @cached_property
    def hours(self) -> Window:
        """When it is quiet on a date that the rule applies to."""
        return Window.parse(self.row.hours)

    @cached_property
    def _weekdays(self) -> frozenset[int]:
        """Those of ``days``; a row that names dates or holidays alone has none."""
        alone = (self.row.dates or self.row.holidays) and "days" not in self.row.model_fields_set
        return frozenset() if alone else parse_days(self.row.days)

    @cached_property
    def _dates(self) -> frozenset[str]:
        return frozenset(self.row.dates)

    def concerns(self, channel: str, place: str) -> bool:
        """Whether the rule is about such a recipient at all; ``place`` as in the module's docstring, or ""."""
        if channel not in self.row.channels:
            return False
        if self.row.parts:
            return place in self.row.parts
        country, _, part = place.partition("-")
        if self.row.unknown_part and part:
            return False
        return not self.row.countries or country in self.row.countries

    def applies_on(self, day: date, place: str = "") -> bool:
        """Whether it is in force on a local date, and the date is one of its own."""
        if (self.row.first and day < self.row.first) or (self.row.last and day > self.row.last):
            return False
        text = day.isoformat()
        named = day.weekday() in self._weekdays or text in self._dates or text[len(_LEAP_YEAR) :] in self._dates
        return named or (self.row.holidays and calendar_of(place).is_holiday(day))


class QuietHours:
    """All quiet hours of a deployment. Immutable; quick for the classes of recipients that a plan asks about."""

    def __init__(self, rules: Sequence[QuietRule]) -> None:
        self.rules = tuple(rules)
        self._concerning: dict[tuple[str, str], tuple[QuietRule, ...]] = {}

    @classmethod
    def load(cls, path: Path | None = None) -> QuietHours:
        """The quiet hours of a file; the built-in ones without.

        Raises:
            ConfigError: with everything that is wrong in the file.
        """
        name = str(path) if path else BUILT_IN
        try:
            text = (path or files("orchestrator.timing").joinpath(BUILT_IN)).read_text(encoding="utf-8")
            found = YAML(typ="rt").load(text)
        except (OSError, UnicodeDecodeError, YAMLError) as error:
            raise ConfigError([_unreadable(name, error)]) from None
        try:
            file = _QuietFile.model_validate(found)
        except ValidationError as error:
            raise ConfigError([_problem(name, found, details) for details in error.errors()]) from None
        return cls([QuietRule(row) for row in file.quiet])

    @property
    def parts(self) -> frozenset[str]:
        """The parts of countries that rows name."""
        return frozenset(part for rule in self.rules for part in rule.row.parts)

    def divided(self, channels: Collection[str]) -> frozenset[str]:
        """Countries where it is worth knowing in which part somebody is: some row for these channels asks."""
        rows = [rule.row for rule in self.rules if not frozenset(channels).isdisjoint(rule.row.channels)]
        named = {part.partition("-")[0] for row in rows for part in row.parts}
        return frozenset(named.union(*(row.countries for row in rows if row.unknown_part)))

    def quiet(self, channel: str, place: str | None, key: str, start: datetime, end: datetime) -> InstantSet:
        """The quiet instants in ``[start, end)`` for a recipient with zone key ``key``, at a place (``FR``, ``US-FL``).

        Without a place, the country that the key tells counts.
        """
        where = place or country_of(key)
        return InstantSet.of(_intervals(self._rules(channel, where), where, key, start, end)).clip(start, end)

    def _rules(self, channel: str, place: str) -> tuple[QuietRule, ...]:
        wanted = (channel, place)
        if wanted not in self._concerning:
            self._concerning[wanted] = tuple(rule for rule in self.rules if rule.concerns(channel, place))
        return self._concerning[wanted]


def _intervals(rules: Sequence[QuietRule], place: str, key: str, start: datetime, end: datetime) -> Iterator[Interval]:
    day, last = (start - timedelta(hours=12)).date() - _DAY, (end + timedelta(hours=14)).date()
    while day <= last:  # from the day before, whose quiet hours may go over midnight
        for rule in rules:
            if rule.applies_on(day, place):
                yield from on_any(rule.hours, day, key).intervals
        day += _DAY


def _unreadable(name: str, error: Exception) -> Problem:
    mark = getattr(error, "problem_mark", None)
    what = getattr(error, "problem", None) or getattr(error, "strerror", None) or "not UTF-8 text"
    return Problem(name, mark.line + 1 if mark else 0, "", f"quiet hours cannot be read: {what}")


def _problem(name: str, found: Any, details: Mapping[str, Any]) -> Problem:
    where: Sequence[str | int] = details["loc"]
    message = details["msg"].removeprefix("Value error, ").replace("\n", ";")
    return Problem(name, _line(found, where), ".".join(str(part) for part in where), message)


def _line(node: Any, where: Sequence[str | int]) -> int:
    """The line of the innermost part of ``where`` that the file has."""
    line = 0
    for part in where:
        try:
            position = node.lc.key(part) if isinstance(part, str) else node.lc.item(part)
            line, node = position[0] + 1, node[part]
        except (AttributeError, KeyError, IndexError, TypeError):
            break
    return line


NEVER_QUIET = QuietHours([])
"""For what windows alone say."""


__all__ = ["NEVER_QUIET", "QuietHours", "QuietRow", "QuietRule"]
