"""The pictures of the retention page. Each draws for a locale and a width in pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date

from markupsafe import Markup

from orchestrator.report import retention_words as words
from orchestrator.report.plots import WIDE
from orchestrator.report.retention import AFTER, Cohort, Retention
from orchestrator.report.retention_words import SCARCE, word
from orchestrator.report.svg import Scale, apart, bar, line, path, picture, tag, text, ticks, width_of
from orchestrator.report.words import number, per_cent

Points = list[tuple[date, float]]
Lines = list[tuple[str, str, Points]]
"""(label, class, points) each."""
SHADES = 12
"""Steps of the heat map's colour."""


def active(found: Retention, locale: str, width: int) -> Markup:
    """Daily, weekly and monthly active users."""
    lines: Lines = [
        (word(name, locale), shade, [(day.day, float(getattr(day, name))) for day in found.days])
        for name, shade in (("monthly", "g0"), ("weekly", "g2"), ("active", "g1"))
    ]
    return _lines(f"active-{locale}-{width}", word("h_active", locale), lines, locale, width)


def back(found: Retention, locale: str, width: int) -> Markup:
    """Day-1, 7 and 30 retention by cohort."""
    lines: Lines = [
        (words.counted("day_after", after, locale), shade, list(_shares(found.cohorts, after)))
        for after, shade in zip(AFTER, ("g1", "g2", "g0"), strict=True)
    ]
    return _lines(f"back-{locale}-{width}", word("h_back", locale), lines, locale, width, share=True)


def _shares(cohorts: Sequence[Cohort], after: int) -> Iterator[tuple[date, float]]:
    for cohort in cohorts:
        there, people = cohort.back[after]
        if people >= SCARCE:
            yield cohort.week, there / people


def churn(found: Retention, locale: str, width: int) -> Markup:
    """The churn rate, day by day."""
    shares = [(day.day, share) for day in found.days if (share := words.churn(day)) is not None]
    lines: Lines = [(word("churn", locale), "g-alarm", shares)]
    return _lines(f"churn-{locale}-{width}", word("h_churn", locale), lines, locale, width, share=True)


def _lines(ident: str, title: str, lines: Lines, locale: str, width: int, *, share: bool = False) -> Markup:
    """Lines over dates, each with its name and last value: at its end, or above where there is no room."""
    wide = width >= WIDE
    shown = [one for one in lines if one[2]]
    if not shown:
        nothing = word("nothing", locale)
        return picture(width, 40, ident, title, nothing, [text(0, 24, nothing, class_="soft backed")])
    labels = [_label(one, share=share) for one in shown]
    keys = [] if wide else list(_keys(shown, labels, width))
    top = 14 if wide else 24 + (keys[-1][1] if keys else 0)
    foot = top + (230 if wide else 180)
    days = [day.toordinal() for _, _, points in shown for day, _ in points]
    most = max((value for _, _, points in shown for _, value in points), default=0) * 1.08 or (0.1 if share else 10)
    beside = max((width_of(label) for label in labels), default=0) * 1.12 + 14 if wide else 16
    left = 44 if share else max(44, width_of(number(most)) + 12)
    across, up = Scale(min(days), max(*days, min(days) + 1), left, width - beside), Scale(0, most, foot, top)
    drawn = [*_values_axis(across, up, share=share), *_dates_axis(across, up, locale), *_drawn(shown, across, up)]
    drawn += _ends(shown, labels, across, up) if wide else [mark for key in keys for mark in _key(key)]
    return picture(width, foot + 40, ident, title, ", ".join(labels), drawn)


def _label(one: tuple[str, str, Points], *, share: bool) -> str:
    last = one[2][-1][1]
    return f"{one[0]} {per_cent(last) if share else number(last)}"


def _drawn(shown: Lines, across: Scale, up: Scale) -> Iterator[Markup]:
    for _, shade, points in shown:
        yield path(((across(day.toordinal()), up(value)) for day, value in points), f"curve {shade}")
        last, value = points[-1]
        yield tag("circle", cx=across(last.toordinal()), cy=up(value), r=3.5, class_=f"end {shade}")


def _ends(shown: Lines, labels: Sequence[str], across: Scale, up: Scale) -> Iterator[Markup]:
    heights = apart([up(points[-1][1]) for _, _, points in shown], 17, up.end, up.start)
    for (_, shade, _), label, height in zip(shown, labels, heights, strict=True):
        yield text(across.end + 10, height + 4, label, class_=f"label {shade}")


_Key = tuple[float, float, str, str]
"""(x, y, class, label) of an entry of a legend."""


def _keys(shown: Lines, labels: Sequence[str], width: float) -> Iterator[_Key]:
    x, y = 0.0, 12.0
    for (_, shade, _), label in zip(shown, labels, strict=True):
        needs = 14 + width_of(label) * 1.1
        if x and x + needs > width:
            x, y = 0.0, y + 20
        yield x, y, shade, label
        x += needs + 12


def _key(key: _Key) -> Iterator[Markup]:
    x, y, shade, label = key
    yield tag("circle", cx=x + 4, cy=y - 4, r=4, class_=f"end {shade}")
    yield text(x + 13, y, label, class_=f"label {shade}")


def _values_axis(across: Scale, up: Scale, *, share: bool) -> Iterator[Markup]:
    for tick in ticks(0, up.high, 5):
        if share or tick == int(tick):
            yield line(across.start, up(tick), across.end, up(tick), "base" if tick == 0 else "grid")
            label = f"{tick * 100:g}\N{NARROW NO-BREAK SPACE}%" if share else number(tick)
            yield text(across.start - 8, up(tick) + 4, label, "end", "soft")


def _dates_axis(across: Scale, up: Scale, locale: str) -> Iterator[Markup]:
    room = width_of("30 May" if locale == "en" else "12月30日") + 18
    fitting = max(1, int((across.end - across.start) / room))
    weeks = max(1, -(-int(across.high - across.low) // 7 // fitting))
    year = 0
    for ordinal in range(int(across.low), int(across.high) + 1, weeks * 7):
        x, day = across(ordinal), date.fromordinal(ordinal)
        yield line(x, up.start, x, up.start + 4, "base")
        yield text(x, up.start + 20, words.short(day, locale), "middle", "soft")
        if day.year != year:
            year = day.year
            yield text(x, up.start + 36, str(year), "middle", "soft")


# --- heat map --------------------------------------------------------------------------------------------------------


def heat(found: Retention, locale: str, width: int) -> Markup:
    """A row per cohort, a column per week; the colour is the share that was active, the number too where it fits."""
    wide = width >= WIDE
    cohorts = [cohort for cohort in found.cohorts if cohort.size]
    columns = max((sum(there is not None for there in cohort.weeks) for cohort in cohorts), default=1) or 1
    names = (
        width_of("30 May 2026" if locale == "en" else "2026-12-30")
        if wide
        else width_of("30 May" if locale == "en" else "12月30日")
    )
    left = names + 10 + max((width_of(number(cohort.size)) for cohort in cohorts), default=0) + 12
    side = min((width - left) / columns, 46)
    row = min(max(side, 14), 22)
    drawn = list(_heat_heads(columns, left, side, locale))
    most = _most(cohorts)
    for place, cohort in enumerate(cohorts):
        top = 24 + place * row
        drawn += _heat_row(cohort, (left, side, top, row), most, locale, wide=wide)
    height = 24 + len(cohorts) * row
    drawn.append(text(left, height + 20, word("after", locale), "start", "soft"))
    drawn += _legend(height + 40, 16 if wide else 12, most, locale)
    said = f"{number(len(cohorts))} × {columns}"
    return picture(width, height + 62, f"heat-{locale}-{width}", word("h_heat", locale), said, drawn)


def _most(cohorts: Sequence[Cohort]) -> float:
    """The share that gets the darkest colour: the highest after the first week, which is always whole."""
    shares = (there / cohort.size for cohort in cohorts if cohort.size >= SCARCE for there in cohort.weeks[1:] if there)
    return max(shares, default=0) or 1.0


def _heat_heads(columns: int, left: float, side: float, locale: str) -> Iterator[Markup]:
    every = next(step for step in (1, 2, 4, 8, 13, 26) if step * side >= 22 or step == 26)  # noqa: PLR2004  # two digits
    yield text(left - 12, 14, word("size", locale), "end", "soft")
    for week in range(0, columns, every):
        yield text(left + (week + 0.5) * side, 14, str(week), "middle", "soft")


_Box = tuple[float, float, float, float]


def _heat_row(cohort: Cohort, box: _Box, most: float, locale: str, *, wide: bool) -> Iterator[Markup]:
    left, side, top, row = box
    middle = top + row / 2 + 4.5
    year = f" {cohort.week.year}" if wide else ""
    name = cohort.week.isoformat() if wide and locale == "zh" else f"{words.short(cohort.week, locale)}{year}"
    yield text(0, middle, name)
    yield text(left - 12, middle, number(cohort.size), "end", "soft")
    for week, there in enumerate(cohort.weeks):
        if there is not None:
            share = there / cohort.size
            yield _square(left + week * side, top, side, row, _shade(share, most), _told(cohort, week, share, locale))
            if side > width_of("100") + 6 and row >= 18:  # noqa: PLR2004  # a line of text
                x = left + (week + 0.5) * side
                yield text(x, middle, f"{share * 100:.0f}", "middle", f"in-{_shade(share, most)}")


def _told(cohort: Cohort, week: int, share: float, locale: str) -> str:
    return f"{words.short(cohort.week, locale)}, {words.counted('week_after', week, locale)}: {per_cent(share)}"


def _shade(share: float, most: float) -> int:
    return min(SHADES, round(float(min(share / most, 1.0) ** 0.7) * SHADES))


def _square(x: float, y: float, width: float, height: float, shade: int, told: str) -> Markup:
    gap = 1.0
    return tag(
        "rect", tag("title", told), x=x, y=y, width=width - gap, height=height - gap, rx=1.5, class_=f"heat-{shade}"
    )


def _legend(top: float, side: float, most: float, locale: str) -> Iterator[Markup]:
    label = f"{word('share_active', locale)} 0"
    start = width_of(label) + 8
    yield text(0, top + 12, label, class_="soft")
    for shade in range(SHADES + 1):
        yield bar(start + shade * side, top, side - 1, 14, f"heat-{shade}", 1.5)
    yield text(start + (SHADES + 1) * side + 6, top + 12, per_cent(most), class_="soft")
