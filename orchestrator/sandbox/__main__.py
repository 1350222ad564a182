"""``python -m orchestrator.sandbox``: run the stand-ins for the providers' servers."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from orchestrator.sandbox.accepted import LogError
from orchestrator.sandbox.accounts import CALLING, channels_yaml, place_of
from orchestrator.sandbox.handset import APP
from orchestrator.sandbox.push.oauth import LONGEST
from orchestrator.sandbox.server import Options, Sandbox, serve


def main(arguments: list[str] | None = None, say: Callable[[Sandbox], None] | None = None) -> int:
    """Parse the command line and serve; 1 when it cannot start. ``say`` says where the sandbox is."""
    given = _parser().parse_args(arguments)
    if given.print_config:
        sys.stdout.write(channels_yaml(place_of(given.state)))
        return 0
    options = _options(given)
    try:
        serve(options, say)
    except LogError as error:
        sys.stderr.write(f"sandbox: {error}\n")
        return 1
    except OSError as error:
        sys.stderr.write(
            f"sandbox: cannot listen on {options.host}:{options.port}, or on the port of mail ({options.smtp_port}) or "
            f"APNs ({options.apns_port}): {error.strerror}; give another --port, --smtp-port or --apns-port\n"
        )
        return 1
    return 0


def callback(text: str) -> tuple[str, str]:
    """``PROVIDER=URL``, read.

    Raises:
        ArgumentTypeError: no such provider calls back, or that is no URL.
    """
    provider, _, url = text.partition("=")
    if provider not in CALLING:
        known = ", ".join(sorted(CALLING))
        raise argparse.ArgumentTypeError(f"{provider!r} does not call back; these do: {known}")
    return provider, address(url)


def address(text: str) -> str:
    """An http or https URL with a host.

    Raises:
        ArgumentTypeError: it is none.
    """
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise argparse.ArgumentTypeError(f"{text!r} is not a URL with http:// or https://")
    return text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m orchestrator.sandbox", description=__doc__)
    add = parser.add_argument
    add("--port", type=int, default=8090, help="port to listen on; 0 takes a free one (default %(default)s)")
    add("--smtp-port", type=int, help="port to take mail on; 0 takes a free one (default 8025, or a free one)")
    add("--apns-port", type=int, help="port of APNs; 0 takes a free one (default 8443, or a free one)")
    add("--host", default="127.0.0.1", help="address to listen on (default %(default)s: this machine alone)")
    add("--state", type=Path, default=Path(".sandbox"), help="folder of credentials and logs (default %(default)s)")
    add(
        "--app",
        type=address,
        metavar="URL",
        help="web API of a deployment with the accounts of --print-config: providers call back there, and apps on "
        f"phones report what arrives (opened messages are reported to {APP} without it)",
    )
    add("--callback-inbound", type=address, metavar="URL", help="where people's replies are posted, signed")
    add(
        "--callback",
        metavar="PROVIDER=URL",
        type=callback,
        action="append",
        default=[],
        help=f"where a provider calls back, one of {', '.join(sorted(CALLING))}; may be given several times",
    )
    add("--callback-delay", type=float, default=0.3, metavar="SECONDS", help="between the statuses of a message")
    add("--token-lifetime", type=int, default=LONGEST, metavar="SECONDS", help="of FCM bearer tokens")
    add("--print-config", action="store_true", help="print a channels.yaml with an account at every provider, and end")
    return parser


def _options(given: argparse.Namespace) -> Options:
    return Options(
        state=given.state,
        port=given.port,
        smtp_port=given.smtp_port,
        apns_port=given.apns_port,
        host=given.host,
        callback_inbound=given.callback_inbound,
        app=given.app,
        delay=given.callback_delay,
        token_lifetime=given.token_lifetime,
        callbacks=dict(given.callback),
    )


if __name__ == "__main__":
    sys.exit(main())
