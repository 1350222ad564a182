"""The sandbox as a process, or beside a test in a thread of its own."""

from __future__ import annotations

import signal
import socket
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

import uvicorn

from orchestrator.sandbox.app import create_app
from orchestrator.sandbox.credentials import Credentials
from orchestrator.sandbox.oauth import LONGEST
from orchestrator.sandbox.wire import SandboxProtocol
from orchestrator.sandbox.world import World, open_world

STOP_WITHIN = 1
"""Seconds that answers under way are given when the sandbox stops."""
START_WITHIN = 10.0


@dataclass(frozen=True, slots=True)
class Options:
    """How a sandbox is started. ``port`` 0 takes a free one; ``delay`` is the seconds between a message's statuses."""

    state: Path
    port: int = 0
    host: str = "127.0.0.1"
    callback_inbound: str | None = None
    delay: float = 0.3
    token_lifetime: int = LONGEST


@dataclass(slots=True)
class Sandbox:
    """A sandbox on a socket of its own. ``with Sandbox(Options(folder)) as sandbox:`` runs it in a thread."""

    options: Options
    _socket: socket.socket = field(init=False)
    _world: World = field(init=False)
    _server: uvicorn.Server = field(init=False)
    _thread: threading.Thread | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        options = self.options
        self._socket = socket.create_server((options.host, options.port), backlog=2048)
        try:
            self._world = open_world(
                options.state, self.port, options.callback_inbound, options.delay, options.token_lifetime
            )
        except BaseException:
            self._socket.close()
            raise
        self._server = uvicorn.Server(_config(self._world))

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._socket.getsockname()[1])

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


def serve(options: Options) -> None:
    """Run the sandbox in this process until SIGTERM or Ctrl-C, and say where the inbox is."""
    for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn gives the signal back when it is done: leave with 0 then
        signal.signal(number, _leave)
    sandbox = Sandbox(options)
    _say(
        f"Sandbox: inbox at {sandbox.url}/",
        f"  FCM      base_url {sandbox.url}  service account {sandbox.credentials.service_account}",
        f"  Twilio   base_url {sandbox.url}  auth token file {sandbox.credentials.auth_token_file}",
        f"  accepted {options.state / 'accepted.jsonl'}",
    )
    sandbox.run()


def _config(world: World) -> uvicorn.Config:
    return uvicorn.Config(
        create_app(world),
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
