"""The retention report on a console."""

from __future__ import annotations

from rich.console import Group as Stack
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from orchestrator.report import retention_words as words
from orchestrator.report.retention import AFTER, Retention
from orchestrator.report.retention_words import word
from orchestrator.report.words import interval, number, per_cent

SHOWN_DAYS, SHOWN_COHORTS, SHOWN_WEEKS = 14, 14, 8


def _table(title: str) -> Table:
    return Table(
        title=title, title_justify="left", title_style="bold", header_style="bold", show_edge=False, pad_edge=False
    )


def _rate(value: float | None) -> str:
    return "–" if value is None else per_cent(value)


def back_table(found: Retention, locale: str = "en") -> Table:
    """Day-1, 7 and 30 retention of everybody first seen in the span."""
    table = _table(word("h_back", locale))
    for name in ("day", "users", "rate", "interval"):
        table.add_column(word(name, locale), justify="right")
    for after, rate in found.back.items():
        known = (_rate(rate.rate), interval(rate.low, rate.high)) if rate.people else ("–", "–")
        table.add_row(words.counted("day_after", after, locale), number(rate.people), *known)
    return table


def days_table(found: Retention, locale: str = "en") -> Table:
    """The latest days."""
    table = _table(word("h_active", locale))
    for name in ("day", "active", "weekly", "monthly", "stickiness", "new", "churn"):
        table.add_column(word(name, locale), justify="right")
    for day in found.days[-SHOWN_DAYS:]:
        counts = (number(count) for count in (day.active, day.weekly, day.monthly))
        rates = _rate(words.stickiness(day)), number(day.new), _rate(words.churn(day))
        table.add_row(day.day.isoformat(), *counts, *rates)
    return table


def cohorts_table(found: Retention, locale: str = "en") -> Table:
    """The latest cohorts, with their first weeks in shades."""
    table = _table(word("h_heat", locale))
    table.add_column(word("cohort", locale))
    table.add_column(word("size", locale), justify="right")
    for after in AFTER:
        table.add_column(words.counted("day_after", after, locale), justify="right")
    for week in range(1, SHOWN_WEEKS):
        table.add_column(words.counted("week_after", week, locale), justify="right")
    for cohort in [one for one in found.cohorts if one.size][-SHOWN_COHORTS:]:
        shares = [None if there is None or not cohort.size else there / cohort.size for there in cohort.weeks]
        weeks = [_shaded(share) for share in [*shares[1:SHOWN_WEEKS], *[None] * SHOWN_WEEKS][: SHOWN_WEEKS - 1]]
        rates = [_rate(words.share_of(cohort, after)) for after in AFTER]
        table.add_row(cohort.week.isoformat(), number(cohort.size), *rates, *weeks)
    return table


def _shaded(share: float | None) -> Text:
    if share is None:
        return Text("")
    style = "black on green3" if share >= 0.4 else "black on dark_sea_green2" if share >= 0.15 else ""  # noqa: PLR2004  # thirds of what is common
    return Text(per_cent(share), style=style)


def report(found: Retention, locale: str = "en") -> Stack:
    """The whole report for a console."""
    return Stack(
        Text(f"{word('title', locale)}  ({found.event})", style="bold"),
        Text(words.headline(found, locale)),
        *(Text(f"! {note}", style="yellow") for note in words.caveats(found, locale)),
        Padding(back_table(found, locale), (1, 0)),
        days_table(found, locale),
        Padding(cohorts_table(found, locale), (1, 0)),
        Text(words.source(found, locale), style="dim"),
    )
