"""``orchestrator doctor``: what would go wrong, and what to do about it, before anything is sent."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from orchestrator.channel.base import Health
from orchestrator.cli import completing
from orchestrator.cli.context import Context
from orchestrator.daemon.line import Line
from orchestrator.errors import NotFoundError, did_you_mean

app = typer.Typer()

COLOURS = {Health.FINE: "green", Health.WARNING: "yellow", Health.BROKEN: "red"}


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
    account: Annotated[
        str, typer.Option(metavar="NAME", help="This account alone.", autocompletion=completing.accounts)
    ] = "",
) -> None:
    """Look for what would go wrong: database, zone data, settings, and every account at its provider. Sends nothing."""
    from orchestrator.daemon.checkup import look_around
    from orchestrator.daemon.examination import examine

    context = Context.load()
    known = context.settings.accounts
    if account and account not in known:
        raise NotFoundError(f"no account {account!r}", hint=did_you_mean(account, known))
    lines = [line for line in look_around(context.settings, context.clock) if _concerns(line, account)]
    lines += examine(context.settings, [account] if account else list(known))
    _print_json(context, lines) if as_json else _print(context, lines)
    if any(line.health is Health.BROKEN for line in lines):
        raise typer.Exit(1)


def _concerns(line: Line, account: str) -> bool:
    return not account or line.what == f"account {account}"


def _print_json(context: Context, lines: list[Line]) -> None:
    found = [{"what": one.what, "health": one.health, "found": one.found, "hint": one.hint} for one in lines]
    context.print_json(found)


def _print(context: Context, lines: list[Line]) -> None:
    table = Table("what", "", "found", "what to do")
    for one in lines:
        colour = COLOURS[one.health]
        table.add_row(one.what, f"[{colour}]{one.health}[/]", one.found, one.hint)
    context.console.print(table)
