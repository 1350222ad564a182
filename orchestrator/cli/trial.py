"""``orchestrator send-test``: a campaign's messages to one address, now, through the real channel."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from orchestrator.cli.completing import campaigns, users
from orchestrator.cli.context import Context

app = typer.Typer()


@app.command("send-test")
def send_test(
    name: Annotated[str, typer.Argument(metavar="CAMPAIGN", help="Its name.", autocompletion=campaigns)],
    to: Annotated[str, typer.Option(help="A push token, a phone number (+49…) or a mailbox.")],
    channel: Annotated[str, typer.Option(help="push, sms or email; default: what --to looks like.")] = "",
    user: Annotated[
        str, typer.Option(help="Words for this user, by the app's id; default: an invented Ada.", autocompletion=users)
    ] = "",
    arm: Annotated[str, typer.Option(help="One arm; default: all.")] = "",
    step: Annotated[int, typer.Option(min=0, max=15, help="One step, from 1; default: all.")] = 0,
    locale: Annotated[str, typer.Option(help="en, zh, …; default: the user's own, or all titles' locales.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Send every arm and step, as the files say it now, to one address. Nothing of it is counted."""
    context = Context.load()
    wanted = {"to": to, "channel": channel, "user": user, "arm": arm, "step": step, "locale": locale}
    done = context.act("send_test", name=name, actor=context.actor, wanted=wanted)
    if as_json:
        context.print_json(done)
    else:
        table = Table(
            "arm", "step", "locale", "says", title=f"{done['campaign']} by {done['channel']}, {done['account']}"
        )
        for test in done["tests"]:
            colour = "green" if test["accepted"] else "red"
            table.add_row(test["arm"], str(test["step"]), test["locale"], f"[{colour}]{test['says']}[/]")
        context.console.print(table)
    if not all(test["accepted"] for test in done["tests"]):
        raise typer.Exit(1)
