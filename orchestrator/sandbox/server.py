"""The sandbox as a process, or beside a test in a thread of its own."""

from __future__ import annotations

import signal
import socket
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

import uvicorn

from orchestrator.sandbox.app import create_app
from orchestrator.sandbox.credentials import Credentials
from orchestrator.sandbox.push.oauth import LONGEST
from orchestrator.sandbox.wire import SandboxProtocol
from orchestrator.sandbox.world import World, open_world

STOP_WITHIN = 1
"""Seconds that answers under way are given when the sandbox stops."""
START_WITHIN = 10.0
SMTP_PORT = 8025


@dataclass(frozen=True, slots=True)
class Options:
    """How a sandbox is started. ``port`` 0 takes a free one; ``delay`` is the seconds between a message's statuses.

    ``smtp_port`` None takes 8025, or a free one where that is taken.
    """

    state: Path
    port: int = 0
    smtp_port: int | None = 0
    host: str = "127.0.0.1"
    callback_inbound: str | None = None
    delay: float = 0.3
    token_lifetime: int = LONGEST
    callbacks: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Sandbox:
    """A sandbox on a socket of its own. ``with Sandbox(Options(folder)) as sandbox:`` runs it in a thread."""

    options: Options
    _socket: socket.socket = field(init=False)
    _mail: socket.socket = field(init=False)
    _world: World = field(init=False)
    _server: uvicorn.Server = field(init=False)
    _thread: threading.Thread | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        options = self.options
        self._socket = socket.create_server((options.host, options.port), backlog=2048)
        try:
            self._mail = _mail_socket(options)
            self._world = open_world(
                options.state,
                self.port,
                options.callback_inbound,
                options.delay,
                options.token_lifetime,
                options.callbacks,
            )
        except BaseException:
            self._socket.close()
            raise
        (options.state / "smtp-port").write_text(f"{self.smtp_port}\n")
        self._server = uvicorn.Server(_config(self._world, self._mail))

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._socket.getsockname()[1])

    @property
    def smtp_port(self) -> int:
        """The port it takes mail on; the file ``smtp-port`` in its folder says it too."""
        return int(self._mail.getsockname()[1])

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def credentials(self) -> Credentials:
        """What its customers need."""
        return self._world.credentials

    def run(self) -> None:
        """Serve until told to stop."""
        self._server.run(sockets=[self._socket])

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self.run, name="sandbox", daemon=True)
        self._thread.start()
        # The socket listens already: a client that comes early waits in its backlog until the server is up.
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(START_WITHIN)
        self._socket.close()
        self._mail.close()


def serve(options: Options) -> None:
    """Run the sandbox in this process until SIGTERM or Ctrl-C, and say where the inbox is."""
    for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn gives the signal back when it is done: leave with 0 then
        signal.signal(number, _leave)
    sandbox = Sandbox(options)
    _say(
        f"Sandbox: inbox at {sandbox.url}/",
        f"  FCM      base_url {sandbox.url}  service account {sandbox.credentials.service_account}",
        f"  Twilio   base_url {sandbox.url}  auth token file {sandbox.credentials.auth_token_file}",
        f"  SMTP     host 127.0.0.1 port {sandbox.smtp_port} tls none",
        f"  accepted {options.state / 'accepted.jsonl'}",
    )
    sandbox.run()


def _mail_socket(options: Options) -> socket.socket:
    wanted = SMTP_PORT if options.smtp_port is None else options.smtp_port
    try:
        return socket.create_server((options.host, wanted), backlog=2048)
    except OSError:
        if options.smtp_port is not None:
            raise
        return socket.create_server((options.host, 0), backlog=2048)


def _config(world: World, mail: socket.socket) -> uvicorn.Config:
    return uvicorn.Config(
        create_app(world, mail),
        http=SandboxProtocol,
        ws="none",
        lifespan="on",
        log_level="critical",
        access_log=False,
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=STOP_WITHIN,
    )


def _leave(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


def _say(*lines: str) -> None:
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()
