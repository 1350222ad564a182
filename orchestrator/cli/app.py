"""All commands in one tree."""

from __future__ import annotations

import typer

from orchestrator.cli import (
    accounts,
    besttime,
    bounce,
    calendar,
    campaign,
    doctor,
    erasing,
    history,
    importing,
    launching,
    opens,
    operate,
    preview,
    quarantine,
    rehearse,
    report,
    restore,
    segment,
    serve,
    sms,
    starting,
    suppression,
    trial,
    users,
    window,
)
from orchestrator.cli.demo.command import demo
from orchestrator.cli.demo.up import up

app = typer.Typer(
    help="Re-engagement push orchestrator: brings an app's quiet users back, and proves it.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)

for commands in (starting.app, serve.app, doctor.app, campaign.app, preview.app, trial.app, operate.app, report.app):
    app.add_typer(commands)  # without a name: their commands stand at the top

app.add_typer(rehearse.app)
app.add_typer(launching.app)
app.add_typer(calendar.app)
app.add_typer(history.app)
app.command("demo")(demo)
app.command("up")(up)
app.command("erase")(erasing.erase)
app.add_typer(segment.app, name="segment", help="Count and look at segments.")
app.add_typer(importing.app, name="import", help="Take in users, events, addresses, consents and suppressions.")
app.add_typer(accounts.app, name="accounts", help="Accounts at providers.")
app.add_typer(operate.unknown, name="unknown", help="Messages whose fate is not known.")
app.add_typer(quarantine.app, name="quarantine", help="Messages and addresses that were set aside.")
app.add_typer(users.app, name="users", help="What is known of a user; two users who are one.")
app.add_typer(users.attributes, name="attributes", help="What campaigns/attributes.yaml declares.")
app.add_typer(restore.app, name="restore", help="A database that was restored from a backup.")
app.add_typer(serve.db, name="db", help="The database.")
app.add_typer(window.app, name="window", help="Windows and zones.")
app.add_typer(bounce.app, name="bounce", help="Mail that came back.")
app.add_typer(suppression.app, name="suppression", help="Who must not be sent to: as a file, and by hand.")
app.add_typer(opens.app, name="opens", help="Opens and clicks, and who did them.")
app.add_typer(besttime.app, name="besttime", help="When users open the app, and what is made of it.")
app.add_typer(sms.app, name="sms", help="How a text is billed.")
