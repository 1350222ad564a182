"""The calendar on a console."""

from __future__ import annotations

from itertools import groupby
from typing import Literal

from rich.console import Group
from rich.table import Table
from rich.text import Text

from orchestrator.report.calendar_values import Calendar, Entry, Fire
from orchestrator.report.calendar_words import (
    conflict_words,
    day_words,
    headline,
    messages_words,
    span_words,
    state_words,
    windows_words,
    word,
)
from orchestrator.report.words import number

_COLUMNS = ("day", "campaign", "window", "utc", "zones", "audience", "messages", "state")
_WHOLE = frozenset({"day", "campaign", "window", "zones", "audience", "messages"})
_RIGHT = frozenset({"zones", "audience", "messages"})
_NARROW = 100
"""Below so many characters the state stands under the campaign's name, dates and windows are folded, and how many
zones there are is left to the page."""
_LEAST = {"day": 9, "campaign": 12, "window": 11, "utc": 7}
"""What they are folded to at most: ``Mon 11-23``, ``not launched``, ``10:30-11:45``, ``02:30 –``."""


def terminal(found: Calendar, locale: str, width: int) -> Group:
    """A table by day, then what to look at; ``width``: of the console."""
    parts: list[Table | Text] = [Text(headline(found, locale))]
    parts.append(_table(found, locale, narrow=width < _NARROW) if found.fires else Text(word("none", locale)))
    entries = {entry.name: entry for entry in found.entries}
    volumes = [fire.volume or entries[fire.campaign].volume for fire in found.fires]
    if any(not one.runs and not one.events for one in volumes):
        parts.append(Text(word("at_most", locale), style="dim"))
    if any(one.events for one in volumes):
        parts.append(Text(word("by_events", locale), style="dim"))
    parts += [Text(f"! {conflict_words(one, locale)}", style="yellow") for one in found.conflicts]
    parts += [Text(f"! {note}", style="yellow") for note in found.notes]
    return Group(*parts)


def _table(found: Calendar, locale: str, *, narrow: bool) -> Table:
    entries = {entry.name: entry for entry in found.entries}
    table = Table(show_edge=False, pad_edge=False, header_style="bold")
    for column in _COLUMNS:
        if narrow and column in {"zones", "state"}:
            continue
        justify: Literal["right", "left"] = "right" if column in _RIGHT else "left"
        least = _LEAST.get(column) if narrow else None
        whole = column in _WHOLE and least is None
        table.add_column(word(column, locale), justify=justify, overflow="fold", no_wrap=whole, min_width=least)
    off: dict[object, list[str]] = {}
    for one in found.holidays:
        off.setdefault(one.day, []).append(f"{one.country} {one.name}")
    for day, fires in groupby(found.fires, key=lambda fire: fire.day):
        label = "\n".join([day_words(day, locale), *off.get(day, [])])
        for n, fire in enumerate(fires):
            entry = entries[fire.campaign]
            cells = _cells(fire, entry, locale)
            if narrow:
                name, window, utc, _zones, audience, messages, state = cells
                cells = [f"{name}\n{state}", window, utc, audience, messages]
            table.add_row(label if n == 0 else "", *cells, style=_style(entry))
    return table


def _cells(fire: Fire, entry: Entry, locale: str) -> list[str]:
    volume = fire.volume or entry.volume
    counts = [number(fire.zones), number(volume.audience), messages_words(volume)]
    return [
        fire.campaign,
        "\n".join(windows_words(fire, entry, locale)).replace(", ", "\n"),
        span_words(fire, locale),
        *counts,
        state_words(entry, locale),
    ]


def _style(entry: Entry) -> str:
    return "" if entry.source == "running" else "dim"
