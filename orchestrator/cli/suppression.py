"""``orchestrator suppression``: who must not be sent to, as a file, and by hand."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from orchestrator.audience.suppression_list import COLUMNS, MAPPING, exported
from orchestrator.cli.context import Context
from orchestrator.errors import InputError

app = typer.Typer(no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
OfChannel = Annotated[str, typer.Option("--channel", help="push, sms, email, …")]
OfAddress = Annotated[str | None, typer.Option("--address", help="A token, number or mailbox. This, or --user.")]
OfUser = Annotated[str | None, typer.Option("--user", help="The app's own id of a user.")]


@app.command("export")
def write(
    file: Annotated[Path, typer.Argument(help="The file to write; one that is there is replaced.")],
    as_csv: Annotated[bool, typer.Option("--csv", help="As CSV, which is the default.")] = True,
    as_json: Json = False,
) -> None:
    """Write every suppression that holds now, with reason, source and date. Importing the file changes nothing."""
    del as_csv
    context = Context.load()
    aside = file.with_name(f".{file.name}.new")
    try:
        count = _write(context, aside)
        aside.replace(file)
    except OSError as error:
        raise InputError(f"{file}: cannot be written: {error.strerror}") from None
    finally:
        aside.unlink(missing_ok=True)
    if as_json:
        context.print_json({"file": str(file), "written": count})
        return
    context.console.print(f"{file.name}: {count:,} suppressions", highlight=False)
    context.console.print(f"  to import it elsewhere, this is its mapping: {MAPPING}", highlight=False, soft_wrap=True)


def _write(context: Context, path: Path) -> int:
    """Addresses of people: for the owner of the file alone."""
    count = 0
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with (
        context.reader() as store,
        store.read() as connection,
        os.fdopen(handle, "w", encoding="utf-8", newline="") as out,
    ):
        rows = csv.writer(out)
        rows.writerow(COLUMNS)
        for count, row in enumerate(exported(connection), 1):  # noqa: B007  # the last number is how many
            rows.writerow(row)
    return count


@app.command()
def add(
    channel: OfChannel,
    address: OfAddress = None,
    user: OfUser = None,
    reason: Annotated[str, typer.Option(help="operator, complaint, stop, unsubscribe or provider.")] = "operator",
    as_json: Json = False,
) -> None:
    """Send nothing more to an address, or to a user on a channel, from now on."""
    context = Context.load()
    wanted: dict[str, Any] = {"channel": channel, "address": address, "user": user, "reason": reason}
    done = context.act("suppress", actor=context.actor, **wanted)
    _say(context, done, "suppressed" if done["new"] else "was suppressed already", as_json=as_json)


@app.command("lift")
def take_back(
    channel: OfChannel,
    because: Annotated[str, typer.Option(help="Why: what the person said, and where. Kept in the history.")],
    address: OfAddress = None,
    user: OfUser = None,
    force: Annotated[bool, typer.Option("--force", help="Also what a complaint put there.")] = False,
    as_json: Json = False,
) -> None:
    """Let an address or a user be sent to again. Complaints stay unless --force is given."""
    context = Context.load()
    wanted: dict[str, Any] = {"channel": channel, "address": address, "user": user}
    done = context.act("lift_suppression", because=because, force=force, actor=context.actor, **wanted)
    words = f"lifted: {', '.join(done['lifted']) or 'nothing'}"
    held = f"; still held by: {', '.join(done['held'])} (--force lifts that too)" if done["held"] else ""
    _say(context, done, words + held, as_json=as_json)


def _say(context: Context, done: dict[str, Any], words: str, *, as_json: bool) -> None:
    if as_json:
        context.print_json(done)
    else:
        context.console.print(words, highlight=False, markup=False)
