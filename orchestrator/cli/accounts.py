"""``orchestrator accounts``: how each account fares, and how one that was stopped is used again."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

import typer
from rich.table import Table

from orchestrator.cli import completing
from orchestrator.cli.context import Context
from orchestrator.daemon.checkup import what_to_do
from orchestrator.ledger.answers import answers_since
from orchestrator.ledger.stops import stopped_accounts
from orchestrator.settings import AccountSettings

app = typer.Typer(no_args_is_help=False)

Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
LATELY = timedelta(hours=1)


@app.callback(invoke_without_command=True)
def accounts(context: typer.Context) -> None:
    """Accounts at providers."""
    if context.invoked_subcommand is None:
        list_accounts()


@app.command("list")
def list_accounts(as_json: Json = False) -> None:
    """Every account: whether it is in use, its rate, its breaker, and what was answered in the last hour."""
    context = Context.load()
    with context.reader() as store, store.read() as connection:
        stopped = stopped_accounts(connection)
        answers = answers_since(connection, context.clock.now() - LATELY)
    breakers = context.running("breakers") or {}
    rows = [
        _row(name, one, stopped.get(name), breakers.get(name), answers.get(name, {}))
        for name, one in context.settings.accounts.items()
    ]
    context.print_json(rows) if as_json else _print(context, rows)


def _row(
    name: str, one: AccountSettings, stopped: str | None, breaker: str | None, answers: dict[str, int]
) -> dict[str, Any]:
    route = one.route.model_dump(exclude_defaults=True) if one.route else {}
    known = {"account": name, "channel": one.channel, "provider": one.provider, "rate": one.rate, "route": route}
    hint = what_to_do(name, stopped) if stopped else ""
    return {**known, "stopped": stopped, "hint": hint, "breaker": breaker, "answers": answers}


def _print(context: Context, rows: list[dict[str, Any]]) -> None:
    table = Table("account", "channel", "provider", "takes", "messages/s", "state", "breaker", "last hour")
    for row in rows:
        state = f"[red]stopped: {row['stopped']}[/]" if row["stopped"] else "[green]in use[/]"
        lately = ", ".join(f"{outcome} {n:,}" for outcome, n in row["answers"].items()) or "nothing"
        takes = _takes(row["route"])
        known = (row["account"], row["channel"], row["provider"], takes, f"{row['rate']:g}")
        table.add_row(*known, state, row["breaker"] or "no daemon here", lately)
    context.console.print(table)
    for row in rows:
        if row["hint"]:
            context.console.print(f"{row['account']}: {row['hint']}", markup=False)


def _takes(route: dict[str, Any]) -> str:
    """A route in a few words."""
    named = [*route.get("countries", []), *route.get("platforms", [])]
    share = [f"share {route['share']}"] if "share" in route else []
    return ", ".join([*named, *share]) or "all"


@app.command("resume")
def resume_account(
    name: Annotated[str, typer.Argument(metavar="ACCOUNT", autocompletion=completing.accounts)], as_json: Json = False
) -> None:
    """Use an account again that a provider's answer had stopped (after you mended its credentials)."""
    context = Context.load()
    done = context.act("resume_account", name=name, actor=context.actor)
    words = f"{name} is in use again" if done["was_stopped"] else f"{name} was not stopped"
    context.print_json(done) if as_json else context.console.print(words)
