"""Processes: the daemon, the sandbox; what would go wrong with them; and the database they need."""

from __future__ import annotations

import sqlite3
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from orchestrator.cli.context import Context

app = typer.Typer()
db = typer.Typer(no_args_is_help=True)


@app.command()
def run(
    json_logs: Annotated[
        bool | None,
        typer.Option("--json-logs/--no-json-logs", help="One JSON object a line; by itself so without a terminal."),
    ] = None,
) -> None:
    """The daemon: fires campaigns, sends, takes in receipts and events; until SIGTERM."""
    from orchestrator.daemon.logs import configure
    from orchestrator.daemon.service import Daemon
    from orchestrator.settings import load_settings

    settings = load_settings()
    configure(json=not sys.stderr.isatty() if json_logs is None else json_logs)
    Daemon(settings).run()


@app.command()
def sandbox(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8090,
    smtp_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port to take mail on; default: 8025, or a free one.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on: this machine alone by itself.")] = "127.0.0.1",
    state: Annotated[Path, typer.Option(help="Folder of credentials and logs.")] = Path(".sandbox"),
    callback_inbound: Annotated[
        str, typer.Option(metavar="URL", help="Where people's replies are posted, signed.")
    ] = "",
    callback_delay: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="Between the statuses of a message.")
    ] = 0.3,
    token_lifetime: Annotated[
        int, typer.Option(metavar="SECONDS", min=1, help="Of FCM bearer tokens; default: an hour.")
    ] = 3600,
) -> None:
    """Stand-ins for the providers' servers, with an inbox in the browser; until Ctrl-C."""
    from orchestrator.sandbox.__main__ import main

    given: dict[str, object] = {
        "port": port,
        "smtp-port": smtp_port,
        "host": host,
        "state": state,
        "callback-inbound": callback_inbound,
    }
    given |= {"callback-delay": callback_delay, "token-lifetime": token_lifetime}
    code = main(
        [word for name, value in given.items() if value not in {None, ""} for word in (f"--{name}", str(value))]
    )
    if code:
        raise typer.Exit(code)


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
    from orchestrator.daemon.wiring import links_of

    context = Context.load()
    with context.writer():
        links_of(context.settings)  # makes the key, so that every process of a deployment can be given the same one
        context.console.print(f"{context.settings.database.rsplit('@')[-1]} is at this program's schema")
