"""The sandbox as a process, or beside a test in a thread of its own."""

from __future__ import annotations

import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

import uvicorn
from starlette.applications import Starlette

from orchestrator.sandbox import accounts
from orchestrator.sandbox.app import create_app
from orchestrator.sandbox.credentials import Credentials
from orchestrator.sandbox.handset import APP
from orchestrator.sandbox.push.oauth import LONGEST
from orchestrator.sandbox.wire import SandboxProtocol
from orchestrator.sandbox.world import World, open_world

STOP_WITHIN = 1
"""Seconds that answers under way are given when the sandbox stops."""
START_WITHIN = 10.0
SMTP_PORT = 8025
APNS_PORT = 8443


@dataclass(frozen=True, slots=True)
class Options:
    """How a sandbox is started. ``port`` 0 takes a free one; ``delay`` is the seconds between a message's statuses.

    ``smtp_port`` None takes 8025, ``apns_port`` None takes 8443, or a free one where that is taken. ``app``: the web
    API of a deployment whose accounts are those of ``accounts``: providers call back there, apps on phones report
    there; ``callbacks`` go before it.
    """

    state: Path
    port: int = 0
    smtp_port: int | None = 0
    apns_port: int | None = 0
    host: str = "127.0.0.1"
    callback_inbound: str | None = None
    app: str | None = None
    delay: float = 0.3
    token_lifetime: int = LONGEST
    callbacks: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Sandbox:
    """A sandbox on a socket of its own. ``with Sandbox(Options(folder)) as sandbox:`` runs it in a thread."""

    options: Options
    _socket: socket.socket = field(init=False)
    _mail: socket.socket = field(init=False)
    _push: socket.socket = field(init=False)
    _world: World = field(init=False)
    _server: uvicorn.Server = field(init=False)
    _thread: threading.Thread | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        options = self.options
        self._socket = socket.create_server((options.host, options.port), backlog=2048)
        try:
            self._mail = _socket(options.host, options.smtp_port, SMTP_PORT)
            self._push = _socket(options.host, options.apns_port, APNS_PORT)
            app = options.app or APP
            self._world = open_world(options.state, self.port, options.delay, options.token_lifetime, {}, app)
        except BaseException:
            self._socket.close()
            raise
        self._world.callbacks.update(_callbacks(options, self._world.credentials))
        place = self.place
        for name, port in zip(accounts.PORT_FILES, place[1:], strict=True):
            (options.state / name).write_text(f"{port}\n")
        made = create_app(self._world, self._mail, self._push, reporting=options.app is not None)
        self._server = uvicorn.Server(_config(made))

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._socket.getsockname()[1])

    @property
    def smtp_port(self) -> int:
        """The port it takes mail on; the file ``smtp-port`` in its folder says it too."""
        return int(self._mail.getsockname()[1])

    @property
    def apns_port(self) -> int:
        """The port APNs listens on; the file ``apns-port`` in its folder says it too."""
        return int(self._push.getsockname()[1])

    @property
    def place(self) -> accounts.Place:
        """Where its customers find it."""
        return accounts.Place(self.options.state, self.port, self.smtp_port, self.apns_port)

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
        self._push.close()


def serve(options: Options, say: Callable[[Sandbox], None] | None = None) -> None:
    """Run the sandbox in this process until SIGTERM or Ctrl-C. ``say`` says where it is; plainly, when left out."""
    for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn gives the signal back when it is done: leave with 0 then
        signal.signal(number, _leave)
    sandbox = Sandbox(options)
    (say or _say)(sandbox)
    sandbox.run()


def rows(sandbox: Sandbox) -> list[tuple[str, str, str]]:
    """Each provider, where its accounts point to, and the files of its credentials."""
    known = accounts.accounts(sandbox.place).items()
    return [(name, accounts.address_of(each), accounts.credentials_of(each)) for name, each in known]


def _callbacks(options: Options, credentials: Credentials) -> dict[str, str]:
    secret = credentials.secret(accounts.CALLBACK_SECRET)
    usual = accounts.callbacks(options.app, secret) if options.app else {}
    inbound = {"twilio": options.callback_inbound} if options.callback_inbound else {}
    return {**usual, **inbound, **options.callbacks}


def _socket(host: str, given: int | None, usual: int) -> socket.socket:
    """The port that was asked for; else the usual one, or a free one."""
    try:
        return socket.create_server((host, usual if given is None else given), backlog=2048)
    except OSError:
        if given is not None:
            raise
        return socket.create_server((host, 0), backlog=2048)


def _config(app: Starlette) -> uvicorn.Config:
    return uvicorn.Config(
        app,
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


def _say(sandbox: Sandbox) -> None:
    lines = [f"{name:9} {address:40} {files}".rstrip() for name, address, files in rows(sandbox)]
    log = sandbox.options.state / "accepted.jsonl"
    sys.stdout.write("\n".join([f"Sandbox: inbox at {sandbox.url}/", *lines, f"accepted  {log}"]) + "\n")
    sys.stdout.flush()
