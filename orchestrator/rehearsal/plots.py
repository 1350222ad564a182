"""The pictures of a rehearsal. Each draws for a locale and a width in pixels, as the report's do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from markupsafe import Markup

from orchestrator.rehearsal import words
from orchestrator.rehearsal.values import Cell, Load, Rehearsed
from orchestrator.rehearsal.words import word
from orchestrator.report.plots import WIDE
from orchestrator.report.svg import Scale, bar, line, picture, tag, text, ticks, width_of
from orchestrator.report.words import number, zone_words
from orchestrator.timing.zones import candidates

HOUR = timedelta(hours=1)
CHANNELS = ("push", "sms", "email", "inbox", "webhook")
SHOWN_ZONES = 16
SHADES = 12
_HOURS = 24


def shade_of(channel: str) -> str:
    """The class that colours a channel, the same in every picture."""
    return f"g{CHANNELS.index(channel)}" if channel in CHANNELS else "g5"


def hour_of(cell: Cell) -> int:
    """The hour of the recipient's own day in which the messages of a cell leave."""
    return cell.hour.astimezone(ZoneInfo(candidates(cell.zone)[0])).hour


# --- when ------------------------------------------------------------------------------------------------------------


def when(found: Rehearsed, locale: str, width: int) -> Markup:
    """Messages an hour, a bar for each, divided by channel."""
    hours: dict[datetime, Counter[str]] = {}
    for cell in found.cells:
        hours.setdefault(cell.hour, Counter())[cell.channel] += cell.messages
    most = max((counts.total() for counts in hours.values()), default=0)
    left = max(44.0, width_of(number(most)) + 14)
    foot = 190.0
    across, up = _time(found, left, width), Scale(0, most * 1.06 or 1, foot, 16)
    drawn = [*_counts_axis(across, up), *_days_axis(found, across, up, locale)]
    drawn += [mark for hour, counts in hours.items() for mark in _stack(hour, counts, across, up)]
    said = ", ".join(f"{_clock(hour)} {number(counts.total())}" for hour, counts in list(hours.items())[:24])
    drawn.append(text(0, 8, word("per_hour", locale), class_="soft"))
    return picture(
        width, foot + 28, f"when-{locale}-{width}", word("h_when", locale), said or word("none", locale), drawn
    )


def _clock(hour: datetime) -> str:
    return f"{hour:%m-%d %H:00}"


def _time(found: Rehearsed, left: float, right: float) -> Scale:
    return Scale(found.since.timestamp(), found.until.timestamp(), left, right)


def _stack(hour: datetime, counts: Mapping[str, int], across: Scale, up: Scale) -> Iterator[Markup]:
    start, end = max(across(hour.timestamp()), across.start), min(across((hour + HOUR).timestamp()), across.end)
    below = 0
    for channel in sorted(counts, key=lambda name: CHANNELS.index(name) if name in CHANNELS else len(CHANNELS)):
        top, base = up(below + counts[channel]), up(below)
        yield bar(start + 0.3, top, max(end - start - 0.6, 0.8), base - top, shade_of(channel), 0.5)
        below += counts[channel]


def _counts_axis(across: Scale, up: Scale) -> Iterator[Markup]:
    for tick in ticks(0, up.high, 4):
        if tick == int(tick):
            yield line(across.start, up(tick), across.end, up(tick), "base" if tick == 0 else "grid")
            yield text(across.start - 8, up(tick) + 4, number(tick), "end", "soft")


def _days_axis(found: Rehearsed, across: Scale, up: Scale, locale: str) -> Iterator[Markup]:
    day = found.since.replace(hour=0, minute=0, second=0, microsecond=0)
    room = width_of(words.day_words(day, locale)) + 14
    length = across(found.since.timestamp() + 86_400) - across.start
    every = max(1, int(-(-room // length)))
    for n in range((found.until - day).days + 1):
        midnight = day + timedelta(days=n)
        x = across(midnight.timestamp())
        if midnight >= found.since:
            yield line(x, up.start, x, up.end, "grid")
        middle = x + length / 2
        if n % every == 0 and across.start + room / 2 <= middle <= across.end - room / 2:
            yield text(middle, up.start + 18, words.day_words(midnight, locale), "middle", "soft")


# --- zones -----------------------------------------------------------------------------------------------------------


def zones(found: Rehearsed, locale: str, width: int) -> Markup:
    """A row per zone, a column per hour of the recipient's day: the darker, the more messages."""
    rows = _by_zone(found.cells)
    left = max((width_of(_zone_name(zone, locale)) for zone, _ in rows), default=0) + 12
    column = width_of(number(max((sum(hours.values()) for _, hours in rows), default=0))) + 16
    side, row = (width - left - column) / _HOURS, 22.0
    most = max((count for _, hours in rows for count in hours.values()), default=1)
    drawn = list(_hours_heads(left, side, width))
    for place, (zone, hours) in enumerate(rows):
        top = 24 + place * row
        drawn.append(text(0, top + row / 2 + 4.5, _zone_name(zone, locale)))
        drawn += [_square(left + hour * side, top, side, row, hour, hours.get(hour, 0), most) for hour in range(_HOURS)]
        drawn.append(text(width, top + row / 2 + 4.5, number(sum(hours.values())), "end", "soft"))
    height = 24 + len(rows) * row
    drawn.append(text(left, height + 18, word("local_hour", locale), class_="soft"))
    said = f"{len(rows)} × {_HOURS}"
    return picture(width, height + 26, f"zones-{locale}-{width}", word("h_zones", locale), said, drawn)


Row = tuple[str, Mapping[int, int]]


def _by_zone(cells: Sequence[Cell]) -> list[Row]:
    """The largest zones first, and the rest together under the name of none."""
    zones: dict[str, Counter[int]] = {}
    for cell in cells:
        zones.setdefault(cell.zone, Counter())[hour_of(cell)] += cell.messages
    order = sorted(zones.items(), key=lambda item: (-item[1].total(), item[0]))
    shown: list[Row] = list(order[:SHOWN_ZONES])
    if len(order) > SHOWN_ZONES:
        shown.append(("others", sum((hours for _, hours in order[SHOWN_ZONES:]), Counter())))
    return shown


def _zone_name(zone: str, locale: str) -> str:
    return word("zone_others", locale) if zone == "others" else zone_words(zone, locale)


def _hours_heads(left: float, side: float, width: int) -> Iterator[Markup]:
    for hour in range(0, _HOURS, 3 if width >= WIDE else 6):
        yield text(left + (hour + 0.5) * side, 14, f"{hour:02}", "middle", "soft")


def _square(  # one value each
    x: float, y: float, width: float, height: float, hour: int, count: int, most: int
) -> Markup:
    shade = 0 if not count else max(1, round((count / most) ** 0.6 * SHADES))
    told = tag("title", f"{hour:02}:00 {number(count)}")
    return tag("rect", told, x=x, y=y, width=width - 1, height=height - 1, rx=1.5, class_=f"heat-{shade}")


# --- load ------------------------------------------------------------------------------------------------------------


def load(found: Rehearsed, one: Load, locale: str, width: int) -> Markup:
    """The busiest minute of each hour against the account's rate, the dashed line; a rate far above is named only."""
    near = one.limit <= one.busiest * 4
    most = max(one.busiest, one.limit if near else 0) * 1.1 or 1
    left = max(44.0, width_of(number(most)) + 14)
    foot = 96.0
    across, up = _time(found, left, width), Scale(0, most, foot, 10)
    drawn = [*_load_axis(across, up), *_days_axis(found, across, up, locale)]
    for hour, count in one.hours:
        start, end = max(across(hour.timestamp()), left), min(across((hour + HOUR).timestamp()), width)
        drawn.append(
            bar(start + 0.3, up(count), max(end - start - 0.6, 0.8), foot - up(count), shade_of(one.channel), 0.5)
        )
    if near:
        drawn.append(line(left, up(one.limit), width, up(one.limit), "zero"))
    said = f"{word('busiest', locale)} {number(one.busiest)}, {word('limit', locale)} {number(one.limit)}"
    return picture(width, foot + 26, f"load-{one.account}-{locale}-{width}", one.account, said, drawn)


def _load_axis(across: Scale, up: Scale) -> Iterator[Markup]:
    for tick in ticks(0, up.high, 2):
        if tick == int(tick):
            yield line(across.start, up(tick), across.end, up(tick), "base" if tick == 0 else "grid")
            yield text(across.start - 8, up(tick) + 4, number(tick), "end", "soft")
