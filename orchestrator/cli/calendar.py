"""``orchestrator calendar``: which campaigns fire when, to how many, and where they are in each other's way."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.text import Text
from sqlalchemy import Connection, select

from orchestrator.campaign.caps import caps_in
from orchestrator.campaign.load import campaign_names, load_bundle
from orchestrator.campaign.version import Bundle, hash_of, read_bundle
from orchestrator.cli.context import Context
from orchestrator.cli.typed import typed_date
from orchestrator.errors import ConfigError, OrchestratorError
from orchestrator.ledger.states import CampaignState
from orchestrator.report.calendar import calendar as read_calendar
from orchestrator.report.calendar_page import page
from orchestrator.report.calendar_terminal import terminal
from orchestrator.report.calendar_values import Known, Source
from orchestrator.report.files import replacing
from orchestrator.report.values import plain
from orchestrator.settings import Settings
from orchestrator.store.tables import campaign

app = typer.Typer()


@app.command()
def calendar(  # typer options
    days: Annotated[int, typer.Option("--days", min=1, max=366, help="So many local dates.")] = 14,
    since: Annotated[str, typer.Option("--from", help="The first of them, e.g. 2026-12-01; default: today.")] = "",
    html: Annotated[Path | None, typer.Option("--html", help="Also write a page to this file.", dir_okay=False)] = None,
    locale: Annotated[Literal["zh", "en"], typer.Option("--locale", help="Language of the words.")] = "en",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Show which campaigns fire when, in whose zones, with expected volume, holidays, and conflicts over caps."""
    context = Context.load()
    now = context.clock.now()
    first = typed_date(since) if since else now.date()
    caps, notes = caps_in(context.settings.campaigns), list[str]()
    with context.reader() as store, store.read() as connection:
        known = _known(connection, context.settings, notes)
        found = read_calendar(connection, known, caps, (first, first + timedelta(days=days - 1)), now)
    found = replace(found, notes=tuple(notes))
    if html:
        with replacing(html) as file:
            file.write(page(found, locale).encode())
    if as_json:
        context.print_json(plain(found))
        return
    context.console.print(terminal(found, locale, context.console.width))
    if html:
        context.console.print(Text(f"→ {html}", style="bold"))


def _known(connection: Connection, settings: Settings, notes: list[str]) -> list[Known]:
    """What is launched, as it was launched; and what there are only files of."""
    files = _files(settings, notes)
    found = []
    for row in connection.execute(select(campaign).where(campaign.c.state != CampaignState.STOPPED)).all():
        try:
            bundle = read_bundle(connection, row.version)
        except OrchestratorError as error:
            notes.append(f"{row.name}: {error.message}")
            continue
        own = files.pop(row.name, None)
        edited = own is not None and hash_of(own) != row.version
        found.append(Known(bundle, Source.PAUSED if row.state == CampaignState.PAUSED else Source.RUNNING, edited))
    found += [Known(bundle, Source.FILE) for bundle in files.values()]
    return sorted(found, key=lambda one: (-one.bundle.campaign.priority, one.bundle.campaign.name))


def _files(settings: Settings, notes: list[str]) -> dict[str, Bundle]:
    found = {}
    for name in campaign_names(settings.campaigns):
        try:
            found[name] = load_bundle(name, settings.campaigns, settings.templates)
        except ConfigError as error:
            notes.append(
                f"{name}: the file has {len(error.problems)} to mend; `orchestrator validate {name}` says what"
            )
    return found
