"""All commands in one tree."""

from __future__ import annotations

import typer

from orchestrator.cli import campaign, importing, operate, preview, report, segment, serve, sms, window
from orchestrator.cli.demo.command import demo
from orchestrator.cli.demo.up import up

app = typer.Typer(
    help="Re-engagement push orchestrator: brings an app's quiet users back, and proves it.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)

for commands in (serve.app, campaign.app, preview.app, operate.app, report.app):
    app.add_typer(commands)  # without a name: their commands stand at the top

app.command("demo")(demo)
app.command("up")(up)
app.add_typer(segment.app, name="segment", help="Count and look at segments.")
app.add_typer(importing.app, name="import", help="Take in users, events, addresses, consents and suppressions.")
app.add_typer(operate.accounts, name="accounts", help="Accounts at providers.")
app.add_typer(operate.unknown, name="unknown", help="Messages whose fate is not known.")
app.add_typer(serve.db, name="db", help="The database.")
app.add_typer(window.app, name="window", help="Windows and zones.")
app.add_typer(sms.app, name="sms", help="How a text is billed.")
