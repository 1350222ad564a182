"""``orchestrator history``: who did what, and when."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import typer
from pydantic_core import PydanticCustomError
from rich.markup import escape
from rich.table import Table
from sqlalchemy import Connection

from orchestrator.campaign.occasions import labelled
from orchestrator.campaign.words import span
from orchestrator.cli import completing
from orchestrator.cli.context import Context
from orchestrator.cli.typed import typed_instant
from orchestrator.ledger.history import Act, Wanted, acts
from orchestrator.ledger.runs import campaign_state
from orchestrator.report.reasons import reason_words

app = typer.Typer()


@app.command()
def history(
    name: Annotated[
        str,
        typer.Argument(
            metavar="[CAMPAIGN]", help="Of this campaign and its runs alone.", autocompletion=completing.campaigns
        ),
    ] = "",
    actor: Annotated[
        str, typer.Option(help="By this one alone: a name, or `operator` for everybody, `scheduler`, a provider.")
    ] = "",
    since: Annotated[str, typer.Option(help="Not before this instant, 2026-12-15T00:00Z, or so long ago: 7d.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="The latest so many.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """List who did what, latest first: operators, and what happened by itself to campaigns, runs and accounts."""
    context = Context.load()
    wanted = Wanted(name, actor, _since(since, context.clock.now()) if since else None)
    with context.reader() as store, store.read() as connection:
        if name:
            campaign_state(connection, name)
        found = [_row(connection, one) for one in acts(connection, wanted, limit)]
    if as_json:
        context.print_json(found)
    elif found:
        _show(context, found)
    else:
        context.console.print("nobody has done anything of the kind")


def _since(text: str, now: datetime) -> datetime:
    """An instant, or a span back from now."""
    try:
        return now - span(text.strip())
    except PydanticCustomError:
        return typed_instant(text, "--since")


def _row(connection: Connection, one: Act) -> dict[str, Any]:
    ours = one.version is not None and one.day is not None
    return {
        "at": one.at,
        "actor": one.actor,
        "old": one.old,
        "new": one.new,
        "campaign": one.campaign,
        "run": one.run_id,
        "date": labelled(connection, one.version or "", one.day or "", one.fires_at) if ours else None,
        "reason": one.reason,
    }


def _show(context: Context, found: list[dict[str, Any]]) -> None:
    table = Table("when (UTC)", "who", "what", "of", "why", title="What was done, latest first")
    for row in found:
        of = " ".join(filter(None, (row["campaign"], row["date"])))
        cells = (row["actor"], _what(row), of, reason_words(row["reason"], "en"))
        table.add_row(f"{row['at']:%Y-%m-%d %H:%M:%S}", *map(escape, cells))
    context.console.print(table)


def _what(row: dict[str, Any]) -> str:
    """``paused``, or ``running → paused`` where it was something before."""
    new, old = row["new"].replace("_", " "), row["old"]
    return new if old in {None, row["new"]} else f"{old} → {new}"
