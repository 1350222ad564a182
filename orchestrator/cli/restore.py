"""``orchestrator restore``: a database that is older than what was sent."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from orchestrator.cli.context import Context
from orchestrator.daemon.restoring import behind, guard_of

app = typer.Typer(no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


@app.command("status")
def status(as_json: Json = False) -> None:
    """The runs of which more was sent than this database knows."""
    context = Context.load()
    with context.reader() as store:
        found = behind(store, context.clock, guard_of(context.settings, context.clock, store))
    rows = [
        {
            "campaign": one.campaign,
            "date": one.of,
            "state": one.state,
            "sent_until": one.sent_until.isoformat(),
            "known_until": None if one.known_until is None else one.known_until.isoformat(),
        }
        for one in found
    ]
    if as_json:
        context.print_json(rows)
        return
    table = Table("campaign", "date", "run", "sent until", "known until", title=f"{len(rows)} runs behind")
    for row in rows:
        table.add_row(*(str(row[name] or "-") for name in ("campaign", "date", "state", "sent_until", "known_until")))
    context.console.print(table)


@app.command("accept")
def accept(as_json: Json = False) -> None:
    """Go on with a restored database: skip what may have been sent after the backup, then use the accounts again."""
    context = Context.load()
    done = context.act("restore_accept", actor=context.actor)
    if as_json:
        context.print_json(done)
        return
    if not done["runs"]:
        context.console.print("nothing to accept: this database knows all that was sent")
    for run in done["runs"]:
        context.console.print(f"{run['campaign']} on {run['date']}: {run['state']} here")
    accounts = ", ".join(done["accounts"]) or "none were stopped"
    context.console.print(f"{done['skipped']:,} messages are skipped; accounts in use again: {accounts}")
