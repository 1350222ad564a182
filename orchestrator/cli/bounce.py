"""``orchestrator bounce``: mail that came back. Say what it is, or take it in from where it waits."""

from __future__ import annotations

import asyncio
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.table import Table

from orchestrator.channel.callback import Postbox
from orchestrator.cli.context import Context
from orchestrator.daemon.wiring import open_account_channel
from orchestrator.errors import InputError, did_you_mean
from orchestrator.settings import Settings
from orchestrator.tracking.bounces import MAX_BYTES, Returned, read_returned
from orchestrator.tracking.mailboxes import Imap, Waiting, maildir
from orchestrator.tracking.returned import classify as read_mail

app = typer.Typer(no_args_is_help=True)

A_CHUNK = 50
"""Mails that are taken in, and then marked, together."""
STDIN = "-"

Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


@app.command()
def classify(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Raw mails, one a file; - is standard input.")],
    as_json: Json = False,
) -> None:
    """Say what returned mails are: hard, soft, complaint, auto-reply or none; about whom, and why.

    Nothing is written, and no signature is looked at: what a mail says, whoever wrote it.
    """
    found = [{"file": name, **_fields(_raw(name))} for name in files]
    if as_json:
        sys.stdout.write(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode() + "\n")
        return
    table = Table("file", "kind", "recipient", "status", "reason")
    for one in found:
        table.add_row(*(str(value) for value in one.values()))
    Console().print(table, markup=False)


def _fields(raw: bytes) -> dict[str, str]:
    said = read_mail(raw)
    return {"kind": str(said.kind), "recipient": said.recipient, "status": said.status, "reason": said.reason}


def _raw(name: str) -> bytes:
    if name == STDIN:
        return sys.stdin.buffer.read(MAX_BYTES)
    try:
        with Path(name).open("rb") as file:
            return file.read(MAX_BYTES)
    except OSError as error:
        raise InputError(f"{name}: cannot be read: {error.strerror}") from None


@app.command()
def read(
    source: Annotated[
        str | None, typer.Argument(metavar="SOURCE", help="- reads one mail from standard input.")
    ] = None,
    folder: Annotated[Path | None, typer.Option("--maildir", help="A maildir: new mails move to cur.")] = None,
    host: Annotated[str | None, typer.Option("--imap", help="An IMAP server: unread mails become read.")] = None,
    port: Annotated[int | None, typer.Option(help="The server's port; 993, and 143 with STARTTLS.")] = None,
    user: Annotated[str, typer.Option(help="Who logs in there.")] = "",
    password_file: Annotated[Path | None, typer.Option(help="The file with the password.")] = None,
    password_env: Annotated[str | None, typer.Option(help="The variable with the password.")] = None,
    mail_folder: Annotated[str, typer.Option("--folder", help="The folder at the IMAP server.")] = "INBOX",
    account: Annotated[str | None, typer.Option(help="The account it came back to; default: all of mail.")] = None,
    as_json: Json = False,
) -> None:
    """Take returned mail in: bounces, complaints and unsubscribe mails that bear our own signature.

    Each mail is marked as read after it is in the ledger. Again changes nothing.
    """
    context = Context.load()
    boxes = _postboxes(context.settings, account)
    given = [one for one in (source, folder, host) if one is not None]
    if len(given) != 1 or source not in {None, STDIN}:
        raise InputError("where is the mail?", hint="give one of the three: --maildir DIR, --imap HOST, or -")
    source_of: AbstractContextManager[Iterator[Waiting]]
    if folder is not None:
        source_of = nullcontext(maildir(folder))
    elif host is not None:
        source_of = Imap(host, user, _password(password_file, password_env), port, mail_folder).waiting()
    else:
        source_of = nullcontext(iter([Waiting(_raw(STDIN), lambda: None)]))
    with source_of as waiting:
        done = _take(context, boxes, waiting)
    if as_json:
        context.print_json(done)
    else:
        words = f"{done['read']:,} mails read: {done['taken']:,} taken in, {done['known']:,} known before, "
        context.console.print(f"{words}{done['ignored']:,} that say nothing of ours", highlight=False)


def _password(file: Path | None, variable: str | None) -> str:
    """From a file or the environment: never an argument, which everybody on the machine can see."""
    if file is not None:
        try:
            return file.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise InputError(f"{file}: cannot be read: {error.strerror}") from None
    found = os.environ.get(variable or "", "")  # noqa: TID251  # the operator names the variable on the command line
    if not found:
        raise InputError("the IMAP server wants a password", hint="--password-file FILE, or --password-env VARIABLE")
    return found


def _postboxes(settings: Settings, account: str | None) -> dict[str, Postbox]:
    """The accounts whose mail comes back, or the one that is meant."""
    names = [name for name, one in settings.accounts.items() if one.channel == "email"]
    if account is not None and account not in names:
        raise InputError(f"no account {account!r} of mail", hint=did_you_mean(account, names))
    opened = {name: open_account_channel(settings, name) for name in names if account in {None, name}}
    for channel in opened.values():
        asyncio.run(channel.close())  # nothing is sent: it is asked for its signatures alone
    found: dict[str, Any] = {name: channel for name, channel in opened.items() if hasattr(channel, "postmarks")}
    if not found:
        raise InputError("no account's mail comes back here", hint="an smtp account with `bounce` and `verp_key_file`")
    return found


def _take(context: Context, boxes: dict[str, Postbox], waiting: Iterable[Waiting]) -> dict[str, int]:
    """Chunk by chunk: into the ledger, then marked as read."""
    done = Counter[str](read=0, taken=0, known=0, ignored=0)
    for chunk in _chunks(waiting):
        told: dict[str, list[Any]] = {}
        for mail in chunk:
            account, returned = _told(mail.raw, boxes)
            if returned is None:
                done["ignored"] += 1
            else:
                told.setdefault(account, []).append({**asdict(returned.report), "message_id": returned.message_id})
        for account, reports in told.items():
            done.update(context.act("take_mail", account=account, reports=reports))
        for mail in chunk:
            mail.mark()
        done["read"] += len(chunk)
    return dict(done)


def _told(raw: bytes, boxes: dict[str, Postbox]) -> tuple[str, Returned | None]:
    for account, box in boxes.items():
        returned = read_returned(raw, box)
        if returned is not None:
            return account, returned
    return "", None


def _chunks(waiting: Iterable[Waiting]) -> Iterator[list[Waiting]]:
    chunk: list[Waiting] = []
    for mail in waiting:
        chunk.append(mail)
        if len(chunk) == A_CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
