"""``orchestrator window``: when a window is open, in UTC."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from itertools import islice
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from orchestrator.cli.typed import typed_instant
from orchestrator.clock import SystemClock
from orchestrator.timing.days import parse_days
from orchestrator.timing.window import Window
from orchestrator.timing.zonedata import is_zone, unknown_zone

SEARCH_DAYS = 3 * 366
"""How far ahead openings are looked for; a window that lies in a gap opens on no date of some zones for a while."""

app = typer.Typer(no_args_is_help=True, help="When a window is open.")


@app.callback()
def window() -> None:
    """When a window is open."""


@app.command("next")
def next_openings(
    text: Annotated[str, typer.Argument(metavar="WINDOW", help='wall-clock time, e.g. "10:30-11:45"')],
    *,
    days: Annotated[str, typer.Option(help="local dates: mon-fri, mon,wed or every")] = "every",
    zone: Annotated[str, typer.Option(help="the recipient's zone, e.g. America/Vancouver")] = "UTC",
    after: Annotated[str, typer.Option(help="openings at or after this instant (ISO 8601); default: now")] = "",
    count: Annotated[int, typer.Option(min=1, max=1000, help="how many openings")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Print the next openings and closings of a window, in UTC."""
    if not is_zone(zone):
        raise unknown_zone(zone)
    since = typed_instant(after, "--after") if after else SystemClock().now()
    found = list(islice(_openings(Window.parse(text), parse_days(days), zone, since), count))
    if as_json:
        typer.echo(json.dumps([_row(*opening) for opening in found], indent=2))
    else:
        _show(found, f"{text} in {zone}")


def _openings(
    window: Window, weekdays: frozenset[int], zone: str, since: datetime
) -> Iterator[tuple[date, datetime, datetime]]:
    first = since.date() - timedelta(
        days=3
    )  # UTC's date and the zone's differ by one; an overnight part opens a day later
    for ahead in range(SEARCH_DAYS):
        day = first + timedelta(days=ahead)
        if day.weekday() in weekdays:
            for opens, closes in window.on(day, zone).intervals:
                if opens >= since:
                    yield day, opens, closes


def _utc(instant: datetime) -> str:
    return instant.replace(tzinfo=None).isoformat() + "Z"


def _row(day: date, opens: datetime, closes: datetime) -> dict[str, str]:
    return {"date": day.isoformat(), "opens": _utc(opens), "closes": _utc(closes)}


def _show(found: list[tuple[date, datetime, datetime]], title: str) -> None:
    table = Table("local date", "opens (UTC)", "closes (UTC)", title=title)
    for opening in found:
        table.add_row(*_row(*opening).values())
    Console().print(table)
