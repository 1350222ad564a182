"""Processes: the daemon and the sandbox, and the database they need."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.context import Context

if TYPE_CHECKING:
    from orchestrator.sandbox.server import Sandbox

app = typer.Typer(rich_markup_mode="rich", pretty_exceptions_enable=False)  # the daemon's whole tree
db = typer.Typer(no_args_is_help=True)


@app.command()
def run(
    json_logs: Annotated[
        bool | None,
        typer.Option("--json-logs/--no-json-logs", help="One JSON object a line; by itself so without a terminal."),
    ] = None,
    role: Annotated[
        list[str] | None,
        typer.Option(help="scheduler, sweeper, worker, web or all; several times. Over PostgreSQL alone."),
    ] = None,
) -> None:
    """The daemon: fires campaigns, sends, takes in receipts and events; until SIGTERM.

    Over PostgreSQL any number of processes run, on any number of machines, each with every role or with some. Of those
    with the role scheduler (or sweeper) one works at a time; it is followed within ten seconds when it is lost.
    """
    from orchestrator.daemon.logs import configure
    from orchestrator.daemon.roles import roles
    from orchestrator.daemon.service import Daemon
    from orchestrator.settings import load_settings

    settings = load_settings()
    configure(json=not sys.stderr.isatty() if json_logs is None else json_logs)
    Daemon(settings, roles=roles(role or [])).run()


@app.command()
def sandbox(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8090,
    smtp_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port to take mail on; default: 8025, or a free one.")
    ] = None,
    apns_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port of APNs (HTTP/2); default: 8443, or a free one.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on: this machine alone by itself.")] = "127.0.0.1",
    state: Annotated[Path, typer.Option(help="Folder of credentials and logs.")] = Path(".sandbox"),
    deployment: Annotated[
        str,
        typer.Option(
            "--app",
            metavar="URL",
            help="Web API of a deployment with the accounts of --print-config: providers call back there, and the "
            "apps on the phones report what arrives.",
        ),
    ] = "",
    callback: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PROVIDER=URL", help="Where a provider calls back, as its console would be told; several times."
        ),
    ] = None,
    callback_inbound: Annotated[
        str, typer.Option(metavar="URL", help="Where people's replies are posted, signed.")
    ] = "",
    callback_delay: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="Between the statuses of a message.")
    ] = 0.3,
    token_lifetime: Annotated[
        int, typer.Option(metavar="SECONDS", min=1, help="Of FCM bearer tokens; default: an hour.")
    ] = 3600,
    print_config: Annotated[
        bool,
        typer.Option("--print-config", help="Print a channels.yaml with an account at every provider, and end."),
    ] = False,
) -> None:
    r"""Stand-ins for the providers' servers, with an inbox in the browser; until Ctrl-C.

    It speaks FCM, APNs, Web Push, Huawei, Xiaomi, OPPO, vivo, JPush, Getui, Twilio, Aliyun, an HTTP gateway, SMTP, SES,
    SendGrid and signed webhooks, as strictly as they do. `--print-config` prints accounts at all of them, to be pasted
    into `channels.yaml`.

    PORTS: HTTP and the inbox page on --port, mail on --smtp-port, APNs (HTTP/2 and TLS) on --apns-port.

    FOLDER (--state): what customers need (keys, secrets, the CA of APNs), made once, readable by you alone;
    accepted.jsonl, all that was accepted, one JSON a line; replies.jsonl, what people wrote back; http-port, smtp-port
    and apns-port: where it was last.

    CALLBACKS: FCM, APNs and Web Push have none, Twilio's statuses go where the message says. The others post to --app
    URL, at /callbacks/PROVIDER/HOOK, or to where --callback PROVIDER=URL says; SMS replies to --callback-inbound
    (Twilio's) or --callback aliyun-reply=URL.

    INBOX: the page at --port shows each message as its phone, browser or mail program would; open it, answer it,
    unsubscribe. Its fault switches, or POST /sandbox/faults, make providers misbehave: docs/howto/sandbox.md.
    """
    from orchestrator.sandbox.__main__ import main

    given: dict[str, object] = {
        "port": port,
        "smtp-port": smtp_port,
        "apns-port": apns_port,
        "host": host,
        "state": state,
        "app": deployment,
        "callback-inbound": callback_inbound,
    }
    given |= {"callback-delay": callback_delay, "token-lifetime": token_lifetime}
    words = [word for name, value in given.items() if value not in {None, ""} for word in (f"--{name}", str(value))]
    words += [word for each in callback or [] for word in ("--callback", each)]
    code = main([*words, "--print-config"] if print_config else words, _tell)
    if code:
        raise typer.Exit(code)


def _tell(sandbox: Sandbox) -> None:
    """Where everything is, as a table: the sandbox's own print is plain."""
    from rich.console import Console
    from rich.table import Table

    from orchestrator.sandbox.server import rows

    table = Table("provider", "where", "its customer's files", box=None, pad_edge=False)
    for row in rows(sandbox):
        table.add_row(*row)
    console = Console(soft_wrap=True)
    console.print(f"Sandbox: inbox at {sandbox.url}/", highlight=False)
    console.print(table, highlight=False)
    console.print(f"All that is accepted: {sandbox.options.state / 'accepted.jsonl'}", highlight=False)


@db.command()
def upgrade() -> None:
    """Bring the database to this program's schema; safe to repeat."""
    from orchestrator.daemon.wiring import links_of

    context = Context.load()
    with context.writer():
        links_of(context.settings)  # makes the key, so that every process of a deployment can be given the same one
        context.console.print(f"{context.settings.database.rsplit('@')[-1]} is at this program's schema")
