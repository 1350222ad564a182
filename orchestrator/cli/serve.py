"""Processes: the daemon, the sandbox, both at once; and the database they need."""

from __future__ import annotations

import sqlite3
import sys
from typing import Annotated

import typer
from rich.table import Table

from orchestrator.cli.context import Context

app = typer.Typer()
db = typer.Typer(no_args_is_help=True)


@app.command()
def run(
    json_logs: Annotated[bool, typer.Option("--json-logs", help="One JSON object a line.")] = not sys.stderr.isatty(),
) -> None:
    """The daemon: fires campaigns, sends, takes in receipts and events; until SIGTERM."""
    from orchestrator.daemon.logs import configure
    from orchestrator.daemon.service import Daemon
    from orchestrator.settings import load_settings

    settings = load_settings()
    configure(json=json_logs)
    Daemon(settings).run()


@app.command()
def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False) -> None:
    """Look for what would go wrong: SQLite's version, zone data, settings, accounts."""
    from importlib.metadata import version

    from orchestrator.daemon.wiring import open_channels
    from orchestrator.errors import OrchestratorError

    context = Context.load()
    rows = [
        ("sqlite", *_sqlite_advice()),
        ("zone data", "ok", f"tzdata {version('tzdata')} from its package"),
    ]
    try:
        open_channels(context.settings)
        names = ", ".join(context.settings.accounts) or "none configured: nothing can be sent"
        rows.append(("accounts", "ok" if context.settings.accounts else "look", names))
    except OrchestratorError as error:
        rows.append(("accounts", "wrong", str(error)))
    rows.append(("api keys", "ok" if context.settings.api_keys else "look", f"{len(context.settings.api_keys)} set"))
    if as_json:
        context.print_json([{"what": what, "verdict": verdict, "says": says} for what, verdict, says in rows])
    else:
        table = Table("what", "verdict", "says")
        for what, verdict, says in rows:
            colour = {"ok": "green", "look": "yellow"}.get(verdict, "red")
            table.add_row(what, f"[{colour}]{verdict}[/]", says)
        context.console.print(table)
    if any(verdict == "wrong" for _, verdict, _ in rows):
        raise typer.Exit(1)


def _sqlite_advice() -> tuple[str, str]:
    """SQLite before 3.51.3 (but 3.44.6 and 3.50.7) can lose writes of several WAL connections; ours has one writer."""
    version = sqlite3.sqlite_version_info
    fixed = version >= (3, 51, 3) or version[:3] in {(3, 44, 6), (3, 50, 7)}
    words = f"{sqlite3.sqlite_version}: " + (
        "has the WAL fix" if fixed else "without the WAL fix of 3.51.3; safe here, for one process writes the file"
    )
    return ("ok" if fixed else "look"), words


@db.command()
def upgrade() -> None:
    """Bring the database to this program's schema; safe to repeat."""
    context = Context.load()
    with context.writer():
        context.console.print(f"{context.settings.database.rsplit('@')[-1]} is at this program's schema")
