"""A small HTTP/2 server over TLS that counts what it reads and can end a stream or a connection in every way."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self, cast

from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from hyperframe.frame import GoAwayFrame
from typing_extensions import override

from orchestrator.sandbox.wire import reset


@dataclass(slots=True)
class Asked:
    """One request that was read to its end."""

    line: Line
    number: int
    fields: list[tuple[str, str]]
    body: bytearray = field(default_factory=bytearray)

    @property
    def head(self) -> dict[str, str]:
        return dict(self.fields)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Act = Callable[[Asked], None]


@dataclass
class Http2End:
    """``async with Http2End(tls).plays(act, act) as far``: one act a request, the last one for all that follow."""

    tls: ssl.SSLContext
    most_streams: int = 100
    window: int = 65535
    acts: list[Act] = field(default_factory=list)
    requests: list[Asked] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    indexed: set[bytes] = field(default_factory=set)
    most_at_once: int = 0
    port: int = 0
    server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    def plays(self, *acts: Act) -> Self:
        self.acts = list(acts)
        return self

    async def __aenter__(self) -> Self:
        self.tls.set_alpn_protocols(["h2"])
        loop = asyncio.get_running_loop()
        self.server = await loop.create_server(lambda: Line(self), "localhost", 0, ssl=self.tls)
        self.port = self.server.sockets[0].getsockname()[1]
        for other in self.server.sockets[1:]:  # the same name in IPv6, on another port
            other.close()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.server is not None
        self.server.close()
        for line in self.lines:
            line.transport.abort()
        await asyncio.sleep(0.01)  # transports close on the loop's next turns


class Line(asyncio.Protocol):
    """One connection to the server."""

    def __init__(self, end: Http2End) -> None:
        self.end = end
        self.h2 = H2Connection(H2Configuration(client_side=False, header_encoding=None))
        self.open: dict[int, Asked] = {}
        self.at_once: set[int] = set()
        self.most_at_once = 0
        self.deaf = False
        self.pings = 0
        self.pongs = 0
        self.goodbyes: list[int] = []
        self.transport: asyncio.Transport = cast("asyncio.Transport", None)

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.end.lines.append(self)
        first = {
            SettingCodes.MAX_CONCURRENT_STREAMS: self.end.most_streams,
            SettingCodes.INITIAL_WINDOW_SIZE: self.end.window,
        }
        self.h2.local_settings = Settings(client=False, initial_values=first)
        self.h2.initiate_connection()
        self.flush()

    @override
    def data_received(self, data: bytes) -> None:
        if self.deaf:
            return
        try:
            got = self.h2.receive_data(data)
        except ProtocolError:
            self.flush()
            self.transport.close()
            return
        for event in got:
            self.handle(event)
        self.flush()

    def handle(self, event: events.Event) -> None:
        match event:
            case events.RequestReceived():
                assert event.stream_id is not None
                self.end.indexed |= {bytes(name) for name, _ in self.h2.decoder.header_table.dynamic_entries}
                fields = [(bytes(name).decode(), bytes(value).decode()) for name, value in event.headers]
                self.open[event.stream_id] = Asked(self, event.stream_id, fields)
                self.at_once.add(event.stream_id)
                self.most_at_once = max(self.most_at_once, len(self.at_once))
                self.end.most_at_once = max(self.end.most_at_once, len(self.at_once))
            case events.DataReceived():
                assert event.stream_id is not None
                self.h2.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id)
                self.open[event.stream_id].body += event.data or b""
            case events.StreamEnded():
                asked = self.open.pop(event.stream_id or 0)
                self.end.requests.append(asked)
                acts = self.end.acts
                (acts.pop(0) if len(acts) > 1 else acts[0])(asked)
            case events.StreamReset():
                self.open.pop(event.stream_id or 0, None)
                self.at_once.discard(event.stream_id or 0)
            case events.PingReceived():
                self.pings += 1
            case events.PingAckReceived():
                self.pongs += 1
            case events.ConnectionTerminated():
                self.goodbyes.append(int(event.error_code or 0))
            case _:
                pass

    def answer(self, number: int, status: int, body: bytes = b"", **headers: str) -> None:
        fields = [(":status", str(status)), *((name.replace("_", "-"), value) for name, value in headers.items())]
        self.h2.send_headers(number, fields, end_stream=not body)
        while body:
            piece, body = body[:16000], body[16000:]
            self.h2.send_data(number, piece, end_stream=not body)
        self.at_once.discard(number)
        self.flush()

    def goaway(self, last: int, reason: str = "Shutdown", code: int = 0) -> None:
        self.flush()
        debug = json.dumps({"reason": reason}).encode()
        self.transport.write(GoAwayFrame(0, last_stream_id=last, error_code=code, additional_data=debug).serialize())

    def allow(self, streams: int) -> None:
        self.h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: streams})
        self.flush()

    def flush(self) -> None:
        self.transport.write(self.h2.data_to_send())


def answers(status: int, body: object = None, after: float = 0, **headers: str) -> Act:
    raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()

    def act(asked: Asked) -> None:
        given = {"apns_id": asked.head.get("apns-id", "")} | headers
        loop = asyncio.get_running_loop()
        loop.call_later(after, lambda: asked.line.answer(asked.number, status, raw, **given))

    return act


def refuses(status: int, reason: str, **more: object) -> Act:
    """Apple's error shape."""
    return answers(status, {"reason": reason, **more})


def resets(code: ErrorCodes) -> Act:
    def act(asked: Asked) -> None:
        asked.line.h2.reset_stream(asked.number, code)
        asked.line.at_once.discard(asked.number)

    return act


def goes_away(offset: int, *, hang_up: bool = True) -> Act:
    """GOAWAY at this stream plus ``offset``."""

    def act(asked: Asked) -> None:
        asked.line.goaway(max(0, asked.number + offset))
        if hang_up:
            asked.line.transport.close()

    return act


def half(status: int, body: bytes = b"", then: Act | None = None) -> Act:
    """The head of an answer, a part of its body, and whatever comes then."""

    def act(asked: Asked) -> None:
        asked.line.h2.send_headers(asked.number, [(":status", str(status)), ("apns-id", asked.head.get("apns-id", ""))])
        if body:
            asked.line.h2.send_data(asked.number, body)
        asked.line.flush()
        if then is not None:
            then(asked)

    return act


def silence(asked: Asked) -> None:
    """Nothing, ever."""


def hangs_up(asked: Asked) -> None:
    """FIN."""
    asked.line.transport.close()


def cuts(asked: Asked) -> None:
    """RST."""
    reset(asked.line.transport)


def garbage(asked: Asked) -> None:
    asked.line.transport.write(b"HTTP/1.1 400 Bad Request\r\n\r\nwho are you?")
