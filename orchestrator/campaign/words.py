"""The small words of campaign files: durations, shares, rates, days, names. Each says in its error what would be right.

Every type is text (or a number) in YAML and in the JSON Schema, and a checked value in the model.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime, timedelta
from difflib import get_close_matches
from typing import Annotated, Any, Never

from pydantic import AfterValidator, BeforeValidator, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from orchestrator.campaign.document import shown
from orchestrator.errors import InputError
from orchestrator.policy.cues import CLICKED, OPENED
from orchestrator.policy.cues import WORDS as CUES
from orchestrator.timing.calendars import Calendar, named_calendar
from orchestrator.timing.cron import check_cron
from orchestrator.timing.days import parse_days
from orchestrator.timing.opens import BY_PERSON
from orchestrator.timing.window import Window
from orchestrator.timing.zonedata import is_zone, unknown_zone

WORKDAYS = "workdays"
MAX_SHARE = 0.9
MAX_SPAN = timedelta(days=3660)
MAX_OFFSET_DAYS = 366
_LONGEST = 200
_MISTYPED = 0.85
"""From this likeness on a word is a slip of the pen (openned, Clicked) and not an event's name (delivery)."""
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_SPAN = re.compile(r"(?:\d{1,9}(?:\.\d{1,6})?[smhdw]\s*)+")
_SPAN_PART = re.compile(r"([\d.]+)([smhdw])")
_OFFSET = re.compile(r"([+-]?\d{1,4})\s*d")
_PERCENT = re.compile(r"(\d{1,3}(?:\.\d{1,6})?)\s*%")
_RATE = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)\s*/\s*(s|sec|second|min|minute|h|hour)")
_RATE_SECONDS = {"s": 1, "sec": 1, "second": 1, "min": 60, "minute": 60, "h": 3600, "hour": 3600}
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_INSTANT = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(?::\d{2})?(Z|[+-]\d{2}:?\d{2})?")
_MOST_INSTANTS = 400
_SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_TEMPLATE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}(?:/[A-Za-z0-9][A-Za-z0-9_-]{0,63}){0,4}")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")
_FACT = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_LOCALE = re.compile(r"[a-z]{2,3}(?:-[A-Za-z0-9]{2,8}){0,3}")


def refuse(message: str, hint: str = "", field: str = "") -> Never:
    """Raise what pydantic collects; ``field`` names the member of a model that is to blame."""
    raise PydanticCustomError("campaign", "{text}", {"text": message, "hint": hint, "field": field})


def span(value: object) -> timedelta:
    """``30m``, ``2h``, ``1h30m``, ``14d``: exact spans, no calendar in them."""
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str) or not _SPAN.fullmatch(value):
        refuse(f"{shown(value)!r} is not a duration", "write 30m, 2h, 1h30m or 14d")
    seconds = sum(float(number) * _UNITS[unit] for number, unit in _SPAN_PART.findall(value))
    if seconds <= 0 or seconds > MAX_SPAN.total_seconds():
        refuse(f"{shown(value)!r} has to be more than nothing and at most {MAX_SPAN.days} days")
    return timedelta(seconds=seconds)


def offset(value: object) -> timedelta:
    """``-3d``, ``14d``, ``0d``: whole days before or after."""
    if isinstance(value, timedelta):
        return value
    found = _OFFSET.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        refuse(f"{shown(value)!r} is not a number of days", "write -3d for three days before, 14d for 14 days after")
    if abs(days := int(found[1])) > MAX_OFFSET_DAYS:
        refuse(f"{shown(value)!r} is further away than {MAX_OFFSET_DAYS} days")
    return timedelta(days=days)


def share(value: object) -> float:
    """``10%`` or ``0.1``, from nothing to ninety per cent."""
    found = _PERCENT.fullmatch(value) if isinstance(value, str) else None
    if found:
        number = float(found[1]) / 100
    elif isinstance(value, int | float) and not isinstance(value, bool):
        number = float(value)
    else:
        refuse(f"{shown(value)!r} is not a share", "write 10% or 0.1")
    if not 0 <= number <= MAX_SHARE:
        hint = f"write {value}% for {value} per cent" if 1 <= number <= MAX_SHARE * 100 and not found else ""
        refuse(f"{shown(value)} is outside 0% to {MAX_SHARE:.0%}", hint or "nine in ten is the most")
    return number


def rate(value: object) -> float:
    """``2000/min``, ``30/s``, ``100/hour``: messages per second."""
    if isinstance(value, float):
        return value
    found = _RATE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        refuse(f"{shown(value)!r} is not a rate", "write 2000/min, 30/s or 100/hour")
    per_second = float(found[1]) / _RATE_SECONDS[found[2]]
    if per_second <= 0:
        refuse("a rate of nothing would never send", "leave the field out to use the account's rate")
    return per_second


def day(value: object) -> date:
    """``2026-11-01``."""
    if isinstance(value, date):
        return value
    try:
        if isinstance(value, str) and _DATE.fullmatch(value):
            return date.fromisoformat(value)
    except ValueError as error:
        refuse(f"{value} is not in the calendar: {error}")
    refuse(f"{shown(value)!r} is not a date", "write 2026-11-01 (year-month-day)")


def instants(value: object) -> tuple[datetime, ...]:
    """One instant or a list: ``2026-12-24T18:00:00+08:00``. Each keeps the offset that it was written with."""
    given = value if isinstance(value, list | tuple) else [value]
    if not 0 < len(given) <= _MOST_INSTANTS:
        refuse(f"has {len(given)} instants", f"write one, or a list of at most {_MOST_INSTANTS}")
    return tuple(sorted({_instant(each) for each in given}))


def _instant(value: object) -> datetime:
    if isinstance(value, datetime):
        return value
    found = _INSTANT.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        refuse(f"{shown(value)!r} is not an instant", 'write "2026-12-24T18:00:00+08:00"')
    if found[1] is None:
        hint = f'add what the clock is ahead of UTC: "{value}+08:00", or Z for UTC'
        refuse(f"{value} is another instant in every zone", hint)
    try:
        return datetime.fromisoformat(str(value))
    except ValueError as error:
        if "offset" in str(error):
            refuse(f"{value} has an offset of a day or more", "write what the clock is ahead of UTC, such as +08:00")
        refuse(f"{value} is not in the calendar: {error}")


def cron(value: object) -> str:
    """A cron string of five fields, which fires."""
    if not isinstance(value, str):
        refuse(f"{shown(value)!r} is not a cron string", 'write it in quotes: "0 9 * * mon"')
    try:
        check_cron(value)
    except InputError as error:
        refuse(error.message, error.hint)
    return value


def zone(value: object) -> str:
    """An IANA zone."""
    if not isinstance(value, str) or not is_zone(value):
        error = unknown_zone(str(value))
        refuse(error.message, error.hint)
    return value


def weekdays(value: object) -> frozenset[int]:
    """``every``, ``mon-fri``, ``sat``, ``[mon, wed]``: 0 is Monday."""
    if isinstance(value, frozenset):
        return value
    words = [value] if isinstance(value, str) else value
    if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
        refuse(f"{shown(value)!r} is not days of the week", "write every, mon-fri or [mon, wed]")
    try:
        return frozenset(number for word in words for number in parse_days(word))
    except InputError as error:
        refuse(error.message, error.hint)


def schedule_days(value: object) -> frozenset[int] | str:
    """Days of the week, or ``workdays``."""
    return WORKDAYS if value == WORKDAYS else weekdays(value)


def calendar(value: object) -> Calendar:
    """A region (``CN``, ``DE-BY``), or one of the deployment's own calendars, written out."""
    if isinstance(value, Calendar):
        return value
    try:
        if isinstance(value, str):
            return named_calendar(value)
        if isinstance(value, dict):
            return _own_calendar(value)
    except InputError as error:
        refuse(error.message, error.hint)
    refuse(f"{shown(value)!r} is not a calendar", "write CN, DE-BY, or the name of one in calendars.yaml")


def _own_calendar(value: dict[str, Any]) -> Calendar:
    def days(name: str) -> frozenset[date]:
        return frozenset(day(each) for each in value.get(name, ()))

    region = value.get("region", "")
    known = named_calendar(region).region if region else ""
    return Calendar(known, days("holidays"), days("not_holidays"), days("workdays"))


def window(value: object) -> Window:
    """A window of the wall clock, as :class:`Window` reads it."""
    if isinstance(value, Window):
        return value
    if not isinstance(value, str):
        refuse(f"{shown(value)!r} is not a window of the day", 'write it in quotes: "10:30-11:45"')
    try:
        return Window.parse(value)
    except InputError as error:
        refuse(error.message, error.hint)


def _matches(pattern: re.Pattern[str], what: str) -> Callable[[str], str]:
    def check(value: str) -> str:
        if not pattern.fullmatch(value):
            refuse(
                f"{shown(value)!r} cannot be {what}" if len(value) <= _LONGEST else f"too long to be {what}",
                _RULES[what],
            )
        return value

    return check


_RULES = {
    "a name": "lower-case letters, digits and hyphens, at most 64",
    "a template": "the folder of a message under templates/, such as lunch-winback/dish",
    "an event or property": "letters, digits, _ . -, at most 64",
    "a fact": "letters, digits and _, at most 64",
    "a locale": "such as en, zh or zh-TW",
}


def cue(value: str) -> str:
    """What a later step asks about: one of a few words, or an event's own name."""
    if value in BY_PERSON:
        word = OPENED if value == BY_PERSON[0] else CLICKED
        refuse(f"{value!r} may have been a machine", f"write {word}: a person, in a message of the same run")
    if (asked := value.removeprefix("not_")) != value and asked in CUES:
        refuse(f"{value!r} is a reason in reports, and no event", f"write not: {asked}")
    meant = f"{value.lower()}ed"
    near = [meant] if meant in CUES else get_close_matches(value.lower(), CUES, n=1, cutoff=_MISTYPED)
    if near and value not in CUES:
        refuse(f"unknown word {value!r}", f"did you mean {near[0]!r}?")
    return _matches(_WORD, "an event or property")(value)


def _line(value: str) -> str:
    if not value.strip() or "\n" in value or len(value) > _LONGEST:
        refuse(f"has to be one line of at most {_LONGEST} characters")
    return value


def _schema(pattern: str, **more: Any) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": pattern, **more})


_SHARE_SCHEMA = {
    "anyOf": [
        {"type": "string", "pattern": r"^\d{1,3}(\.\d+)?\s*%$"},
        {"type": "number", "minimum": 0, "maximum": MAX_SHARE},
    ],
    "examples": ["10%", 0.1],
}
_DAYS_SCHEMA = {
    "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}],
    "examples": ["every", "mon-fri", ["mon", "wed"], "workdays"],
}

Span = Annotated[
    timedelta, BeforeValidator(span), _schema(r"^(\d+(\.\d+)?[smhdw]\s*)+$", examples=["30m", "24h", "14d"])
]
Offset = Annotated[timedelta, BeforeValidator(offset), _schema(r"^[+-]?\d{1,4}\s*d$", examples=["-3d", "0d", "14d"])]
Share = Annotated[float, BeforeValidator(share), WithJsonSchema(_SHARE_SCHEMA)]
PerSecond = Annotated[float, BeforeValidator(rate), _schema(r"^\d+(\.\d+)?\s*/\s*\w+$", examples=["2000/min", "30/s"])]
Day = Annotated[date, BeforeValidator(day), _schema(r"^\d{4}-\d{2}-\d{2}$", examples=["2026-11-01"])]
Weekdays = Annotated[frozenset[int], BeforeValidator(weekdays), WithJsonSchema(_DAYS_SCHEMA)]
ScheduleDays = Annotated[
    frozenset[int] | str, PlainValidator(schedule_days), WithJsonSchema(_DAYS_SCHEMA, mode="validation")
]
_INSTANT_SCHEMA = {"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2})?(Z|[+-]\d{2}:?\d{2})$"}
_INSTANTS_SCHEMA = {
    "anyOf": [_INSTANT_SCHEMA, {"type": "array", "items": _INSTANT_SCHEMA, "minItems": 1, "maxItems": _MOST_INSTANTS}],
    "examples": ["2026-12-24T18:00:00+08:00"],
}
Instants = Annotated[
    tuple[datetime, ...], PlainValidator(instants), WithJsonSchema(_INSTANTS_SCHEMA, mode="validation")
]
CronText = Annotated[str, PlainValidator(cron), WithJsonSchema({"type": "string", "examples": ["0 9 * * mon"]})]
Zone = Annotated[str, PlainValidator(zone), WithJsonSchema({"type": "string", "examples": ["Asia/Shanghai"]})]
ACalendar = Annotated[Calendar, PlainValidator(calendar), WithJsonSchema({"type": "string", "examples": ["CN"]})]
LocalWindow = Annotated[Window, BeforeValidator(window), _schema(r"\d{2}:\d{2}", examples=["10:30-11:45"])]
Slug = Annotated[str, AfterValidator(_matches(_SLUG, "a name")), _schema(f"^{_SLUG.pattern}$")]
TemplateName = Annotated[str, AfterValidator(_matches(_TEMPLATE, "a template")), _schema(f"^{_TEMPLATE.pattern}$")]
CueWord = Annotated[str, AfterValidator(cue), _schema(f"^{_WORD.pattern}$", examples=[*CUES, "order_paid"])]
Word = Annotated[str, AfterValidator(_matches(_WORD, "an event or property")), _schema(f"^{_WORD.pattern}$")]
FactName = Annotated[str, AfterValidator(_matches(_FACT, "a fact")), _schema(f"^{_FACT.pattern}$")]
Locale = Annotated[str, AfterValidator(_matches(_LOCALE, "a locale")), _schema(f"^{_LOCALE.pattern}$")]
Line = Annotated[str, AfterValidator(_line), WithJsonSchema({"type": "string", "maxLength": 200})]
