"""The calendar as one self-contained page, in the manner of the report's, with its picture drawn by hand."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta

from markupsafe import Markup

from orchestrator.report import calendar_words as words
from orchestrator.report.calendar_values import Calendar, Entry, Fire
from orchestrator.report.html import environment
from orchestrator.report.plots import NARROW, WIDE
from orchestrator.report.reasons import LOCALES
from orchestrator.report.svg import Scale, bar, line, picture, tag, text, width_of
from orchestrator.report.words import number, per_cent

_ROW, _HEAD, _BAR = 30, 40, 16
_DAY = timedelta(days=1)


def page(found: Calendar, locale: str = "en") -> str:
    """The page, showing ``locale`` first; the other language is in it, one button away."""
    first = "zh" if locale.lower().startswith("zh") else "en"
    bodies = {one: Markup(_body(found, one)) for one in LOCALES}  # noqa: S704  # rendered with autoescape
    titles = {one: words.word("report", one) for one in LOCALES}
    return environment().get_template("page.html.j2").render(first=first, bodies=bodies, titles=titles)


def _body(found: Calendar, locale: str) -> str:
    entries = {entry.name: entry for entry in found.entries}
    frame = Markup('<div class="wide">{}</div><div class="narrow">{}</div>')
    drawn = frame.format(draw(found, locale, WIDE), draw(found, locale, NARROW)) if found.fires else Markup("")
    return (
        environment()
        .get_template("calendar.html.j2")
        .render(
            found=found,
            entries=entries,
            locale=locale,
            picture=drawn,
            headline=words.headline(found, locale),
            w=lambda key: words.word(key, locale),
            day=lambda day: words.day_words(day, locale),
            title=lambda entry: words.title_of(entry, locale),
            state=lambda entry: words.state_words(entry, locale),
            messages=words.messages_words,
            windows=lambda fire, entry: words.windows_words(fire, entry, locale),
            span=lambda fire: words.span_words(fire, locale),
            conflict=lambda one: words.conflict_words(one, locale),
            number=number,
            per_cent=per_cent,
        )
    )


def draw(found: Calendar, locale: str, width: int) -> Markup:
    """A row for each campaign, a column for each UTC date, a bar for each firing."""
    names = [entry.name for entry in found.entries]
    wide = width >= WIDE
    left = max((width_of(name) for name in names), default=0) + 16 if wide else 0
    row = _ROW if wide else _ROW + 16
    height = _HEAD + row * len(names) + 8
    span = (_midnight(found.since - _DAY), _midnight(found.until + 3 * _DAY))
    across = Scale(span[0].timestamp(), span[1].timestamp(), left, width - 2)
    parts = [*_columns(found, across, height, locale, wide=wide)]
    for n, entry in enumerate(found.entries):
        y = _HEAD + row * n + (0 if wide else 16)
        parts.append(text(0, y + 13 if wide else y - 4, entry.name, class_="strong"))
        parts += [_bar(fire, entry, across, y, n, locale) for fire in found.fires if fire.campaign == entry.name]
    return picture(
        width, height, f"calendar-{locale}-{width}", words.word("title", locale), words.headline(found, locale), parts
    )


def _columns(found: Calendar, across: Scale, height: float, locale: str, *, wide: bool) -> Iterator[Markup]:
    """The days: weekends shaded, holidays marked, every so many named."""
    off = {one.day for one in found.holidays}
    step = across(_DAY.total_seconds()) - across(0)
    every = math.ceil((width_of("Wed 12-30" if wide else "12-30") + 16) / step)
    for n, day in enumerate([found.since - _DAY, *found.days, found.until + _DAY, found.until + 2 * _DAY]):
        x = across(_midnight(day).timestamp())
        if day.weekday() >= 5:  # noqa: PLR2004  # Saturday
            yield bar(x, _HEAD - 6, step, height - _HEAD + 2, "track", 0)
        yield line(x, _HEAD - 6, x, height - 4, "grid")
        if day in off:
            yield tag("circle", cx=x + step / 2, cy=float(_HEAD - 12), r=3, class_="dot g3")
        if n % every == 0 and x + width_of("12-30") < across.end:
            yield text(x + 2, _HEAD - 20, words.day_words(day, locale) if wide else f"{day:%m-%d}", class_="soft")


def _bar(fire: Fire, entry: Entry, across: Scale, y: float, n: int, locale: str) -> Markup:
    """One firing; its title says what it is."""
    if fire.opens is None or fire.closes is None:
        return Markup("")
    x, end = across(fire.opens.timestamp()), across(fire.closes.timestamp())
    pale = entry.source != "running"
    told = f"{fire.campaign} · {words.day_words(fire.day, locale)} · {words.span_words(fire, locale)} UTC"
    inside = [tag("title", f"{told} · {number((fire.volume or entry.volume).messages)}")]
    shape = {
        "x": x,
        "y": float(y + 2 + 3 * (fire.day.toordinal() % 2)),
        "width": max(end - x, 3.0),
        "height": float(_BAR - 4),
    }
    return tag("rect", *inside, rx=3, class_=f"g{n % 6}", opacity=0.3 if pale else 0.85, **shape)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), tzinfo=UTC)
