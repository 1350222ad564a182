"""``orchestrator send-test``: a campaign's messages to one address, now, through the real channel."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer
from rich.markup import escape
from rich.table import Table

from orchestrator.channel.base import OutcomeClass
from orchestrator.cli.completing import campaigns, users
from orchestrator.cli.context import Context
from orchestrator.daemon.wiring import LOOPBACK
from orchestrator.errors import InputError
from orchestrator.settings import AccountSettings

app = typer.Typer()
_LARGEST = 8192

_NEXT = {
    OutcomeClass.ACCEPTED: "The provider took it: that is not yet proof that it arrived.",
    OutcomeClass.RETRY: "The provider has trouble for now: try again in a minute.",
    OutcomeClass.RETRY_AFTER: "The provider asks to wait: try again later, or lower the account's rate.",
    OutcomeClass.DROP_ADDRESS: "The provider says that this address is dead: is it of this app, kind and account?",
    OutcomeClass.SUPPRESS: "The person refused at the provider: they have to agree there again.",
    OutcomeClass.DROP_MESSAGE: "The provider cannot send these words: see the code on the provider's page in the docs.",
    OutcomeClass.STOP_CHANNEL: "Our credentials or settings are wrong there: `orchestrator doctor` says what to do.",
    OutcomeClass.AMBIGUOUS: "No answer came back: it may have arrived or not. Look at where it would be.",
}
"""What each answer means for who tests."""


@app.command("send-test")
def send_test(  # one value each, as typer wants them
    name: Annotated[str, typer.Argument(metavar="CAMPAIGN", help="Its name.", autocompletion=campaigns)],
    to: Annotated[
        str,
        typer.Option(
            help="A push token, a phone number (+49…), a mailbox, a user's id (inbox, webhook), "
            "an address or a browser's subscription as JSON, or @FILE with one of these."
        ),
    ],
    channel: Annotated[
        str, typer.Option(help="push, sms, email, inbox or webhook; default: what --to looks like.")
    ] = "",
    kind: Annotated[str, typer.Option(help="The kind of a push token: apns, huawei, …; default: token.")] = "",
    account: Annotated[str, typer.Option(help="The account to send by; default: as routed.")] = "",
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
    wanted = {"to": _named(to), "channel": channel, "user": user, "arm": arm, "step": step, "locale": locale}
    done = context.act("send_test", name=name, actor=context.actor, wanted={**wanted, "kind": kind, "account": account})
    if as_json:
        context.print_json(done)
    else:
        _show(context, done)
    if not all(test["accepted"] for test in done["tests"]):
        raise typer.Exit(1)


def _named(to: str) -> str:
    """The address, or what stands in the file that is named."""
    if not to.startswith("@"):
        return to
    try:
        with Path(to[1:]).open("rb") as file:
            return file.read(_LARGEST + 1).decode().strip()
    except (OSError, UnicodeDecodeError):
        raise InputError("the file of --to cannot be read", hint="@FILE names a text file with one address") from None


def _show(context: Context, done: dict[str, Any]) -> None:
    title = f"{done['campaign']} by {done['channel']}, {done['account']} ({done['provider']}, {done['kind']})"
    table = Table("arm", "step", "locale", "says", "provider's id", title=title)
    for test in done["tests"]:
        colour = "green" if test["accepted"] else "red"
        said = f"[{colour}]{escape(test['says'])}[/]"
        table.add_row(test["arm"], str(test["step"]), test["locale"], said, escape(test["provider_id"] or ""))
    context.console.print(table)
    for detail in dict.fromkeys(test["detail"] for test in done["tests"] if test["detail"]):
        context.console.print(f"The provider's words: {escape(detail)}")
    for outcome in dict.fromkeys(test["outcome"] for test in done["tests"]):
        if outcome in set(OutcomeClass):
            context.console.print(_NEXT[OutcomeClass(outcome)])
    if any(test["accepted"] for test in done["tests"]) and (account := context.settings.accounts.get(done["account"])):
        context.console.print(_look(account))


def _look(account: AccountSettings) -> str:
    """Where to see it."""
    if account.provider == "inbox":
        return "See it in the app, or with GET /v1/inbox/USER."
    if account.provider == "log":
        return f"See it in {account.options.get('file')}."
    url = urlsplit(str(account.options.get("base_url") or account.options.get("url") or ""))
    if url.hostname in LOOPBACK and url.scheme == "http":
        return f"See it in the sandbox's inbox: {url.scheme}://{url.netloc}/"
    if LOOPBACK & {account.options.get("host"), url.hostname}:
        return "See it in the sandbox's inbox: the address that `orchestrator sandbox` printed."
    return "See it on the phone, in the mailbox, or in the provider's console, under the provider's id."
