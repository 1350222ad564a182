"""``orchestrator quarantine``: what was set aside, so that it does no more harm."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from typing import Annotated

import typer
from rich.table import Table

from orchestrator.cli.context import Context
from orchestrator.dispatch.quarantine import Poisoned, SetAside, addresses_set_aside, poisoned_messages

app = typer.Typer(no_args_is_help=True)


@app.callback()
def group() -> None:
    """Messages that killed their workers, and addresses of a storm."""


@app.command("list")
def show(
    days: Annotated[int, typer.Option(min=1, help="Of runs made within so many days.")] = 7,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Messages that killed their workers three times; how many addresses a storm has set aside, and until when."""
    context = Context.load()
    now = context.clock.now()
    with context.reader() as store, store.read() as connection:
        poisoned = poisoned_messages(connection, now - timedelta(days=days))
        aside = addresses_set_aside(connection, now)
    if as_json:
        found = {"messages": [asdict(one) for one in poisoned], "addresses": [asdict(one) for one in aside]}
        context.print_json(found)
    else:
        _print(context, poisoned, aside)


def _print(context: Context, poisoned: list[Poisoned], aside: list[SetAside]) -> None:
    if not poisoned and not aside:
        context.console.print("nothing is in quarantine")
    if poisoned:
        table = Table("message", "campaign", "user", "account", "since", title=f"{len(poisoned)} killed their workers")
        for one in poisoned:
            since = one.at.strftime("%Y-%m-%d %H:%M:%SZ")
            table.add_row(str(one.message_id), one.campaign, one.user, one.account, since)
        context.console.print(table)
    for each in aside:
        until = each.until.strftime("%Y-%m-%d %H:%M:%SZ")
        context.console.print(f"{each.channel}: {each.addresses:,} addresses are set aside, the last until {until}")
