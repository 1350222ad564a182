"""``python -m orchestrator.sandbox``: run the stand-ins for the providers' servers."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from orchestrator.sandbox.accepted import LogError
from orchestrator.sandbox.push.oauth import LONGEST
from orchestrator.sandbox.server import Options, serve


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and serve; 1 when it cannot start."""
    options = _parse(arguments)
    try:
        serve(options)
    except LogError as error:
        sys.stderr.write(f"sandbox: {error}\n")
        return 1
    except OSError as error:
        sys.stderr.write(
            f"sandbox: cannot listen on {options.host}:{options.port}, or take mail on port {options.smtp_port}: "
            f"{error.strerror}; give another --port or --smtp-port\n"
        )
        return 1
    return 0


def _parse(arguments: list[str] | None) -> Options:
    parser = argparse.ArgumentParser(prog="python -m orchestrator.sandbox", description=__doc__)
    add = parser.add_argument
    add("--port", type=int, default=8090, help="port to listen on; 0 takes a free one (default %(default)s)")
    add("--smtp-port", type=int, help="port to take mail on; 0 takes a free one (default 8025, or a free one)")
    add("--host", default="127.0.0.1", help="address to listen on (default %(default)s: this machine alone)")
    add("--state", type=Path, default=Path(".sandbox"), help="folder of credentials and logs (default %(default)s)")
    add("--callback-inbound", metavar="URL", help="where people's replies are posted, signed")
    add("--callback", metavar="PROVIDER=URL", action="append", default=[], help="where a provider calls back")
    add("--callback-delay", type=float, default=0.3, metavar="SECONDS", help="between the statuses of a message")
    add("--token-lifetime", type=int, default=LONGEST, metavar="SECONDS", help="of FCM bearer tokens")
    given = parser.parse_args(arguments)
    return Options(
        state=given.state,
        port=given.port,
        smtp_port=given.smtp_port,
        host=given.host,
        callback_inbound=given.callback_inbound,
        delay=given.callback_delay,
        token_lifetime=given.token_lifetime,
        callbacks=dict(each.split("=", 1) for each in given.callback if "=" in each),
    )


if __name__ == "__main__":
    sys.exit(main())
