"""The HTTP/2 side of APNs: one connection, its streams, and every way in which it can end (RFC 9113)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import cast

import orjson
from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from hyperframe.frame import GoAwayFrame
from typing_extensions import override

from orchestrator.sandbox.push.apns_rules import Presented, Push
from orchestrator.sandbox.wire import reset

Headers = Iterable[tuple[str, str]]
LARGEST_BODY = 1 << 16
SECRET = frozenset({b":path", b"authorization"})
"""Fields that a good client keeps out of the connection's table (Apple: literal without indexing)."""


@dataclass(slots=True)
class _Stream:
    fields: tuple[tuple[str, str], ...]
    body: bytearray = field(default_factory=bytearray)


class Link(asyncio.Protocol):
    """One connection. ``answer`` is called with each whole request; one stream until a token was accepted."""

    def __init__(
        self,
        answer: Callable[[Link, int, Push], Awaitable[None]],
        links: set[Link],
        noticed: Callable[[str], None],
        *,
        most_streams: int,
    ) -> None:
        self._answer = answer
        self._links = links
        self._noticed = noticed
        self._most = most_streams
        self._h2 = H2Connection(H2Configuration(client_side=False, header_encoding=None))
        self._streams: dict[int, _Stream] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._transport: asyncio.Transport | None = None
        self._last_allowed: int | None = None  # after a GOAWAY
        self._highest = 0  # stream that was looked at
        self.presented = Presented()

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but name
        self._links.add(self)
        # Not by assignment: h2 would enforce what it has not told anybody.
        self._h2.local_settings = Settings(client=False, initial_values={SettingCodes.MAX_CONCURRENT_STREAMS: 1})
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(1 << 20)
        self._flush()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._links.discard(self)
        for task in self._tasks.values():
            task.cancel()

    @override
    def data_received(self, data: bytes) -> None:
        try:
            for event in self._h2.receive_data(data):
                self._handle(event)
        except ProtocolError:
            self._noticed("protocol error")
            self._flush()
            self._close()
            return
        self._flush()

    # What an answer is made of.

    def respond(self, number: int, status: int, headers: Headers = (), body: bytes = b"") -> None:
        """An answer, whole."""
        fields = [(":status", str(status)), ("date", formatdate(time.time(), usegmt=True)), *headers]
        with suppress(ProtocolError):  # the client has cancelled it
            self._h2.send_headers(number, fields, end_stream=not body)
            if body:
                self._h2.send_data(number, body, end_stream=True)
        self._flush()

    def half(self, number: int, status: int) -> None:
        """The head of an answer whose body never comes."""
        with suppress(ProtocolError):
            self._h2.send_headers(number, [(":status", str(status))])
        self._flush()

    def refuse_stream(self, number: int, code: ErrorCodes = ErrorCodes.REFUSED_STREAM) -> None:
        """The stream is reset; the connection stays."""
        with suppress(ProtocolError):
            self._h2.reset_stream(number, code)
        self._flush()

    def goaway(self, number: int, reason: str, *, processed: bool) -> None:
        """Streams above this one are not looked at, nor is it itself unless ``processed``; the others are answered.

        It is the truth, as with Apple: what was looked at meanwhile is not said to be left out.
        """
        last_stream = self._highest if processed or self._highest > number else max(0, number - 2)
        self._flush()  # h2 would not answer anything after a GOAWAY of its own: this one is written beside it
        body = orjson.dumps({"reason": reason})
        frame = GoAwayFrame(0, last_stream_id=last_stream, error_code=0, additional_data=body)
        self._last_allowed = last_stream
        if self._transport is not None:
            self._transport.write(frame.serialize())

    def cut(self) -> None:
        """RST, not FIN."""
        if self._transport is not None:
            reset(self._transport)

    def trust(self) -> None:
        """A token was accepted: as many streams as anybody gets."""
        self.allow(self._most)

    def allow(self, streams: int) -> None:
        """From now on so many streams at a time."""
        with suppress(ProtocolError):
            self._h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: streams})
        self._flush()

    def end(self) -> None:
        """FIN, once all is written."""
        self._close()

    def abort(self) -> None:
        """Without a word."""
        if self._transport is not None:
            self._transport.abort()

    # Events.

    def _handle(self, event: events.Event) -> None:
        match event:
            case events.RequestReceived():
                self._requested(event)
            case events.DataReceived():
                self._data(event)
            case events.StreamEnded():
                self._whole(event.stream_id or 0)
            case events.StreamReset():
                self._streams.pop(event.stream_id or 0, None)
                if (task := self._tasks.pop(event.stream_id or 0, None)) is not None:
                    task.cancel()
            case events.ConnectionTerminated():
                self._close()
            case _:
                pass

    def _requested(self, event: events.RequestReceived) -> None:
        table = self._h2.decoder.header_table.dynamic_entries
        for name in SECRET.intersection(bytes(name) for name, _ in table):
            self._noticed(f"indexed {name.decode()}")
        fields = tuple((bytes(name).decode("latin-1"), bytes(value).decode("latin-1")) for name, value in event.headers)
        self._streams[event.stream_id or 0] = _Stream(fields)

    def _data(self, event: events.DataReceived) -> None:
        number = event.stream_id or 0
        self._h2.acknowledge_received_data(event.flow_controlled_length or 0, number)
        if (stream := self._streams.get(number)) is not None and len(stream.body) <= LARGEST_BODY:
            stream.body += event.data or b""

    def _whole(self, number: int) -> None:
        stream = self._streams.pop(number, None)
        if stream is None:
            return
        push = Push(stream.fields, bytes(stream.body))
        task = asyncio.get_running_loop().create_task(self._carry_out(number, push))
        self._tasks[number] = task
        task.add_done_callback(lambda _: self._tasks.pop(number, None))

    async def _carry_out(self, number: int, push: Push) -> None:
        if self._last_allowed is None or number <= self._last_allowed:  # else nobody looks at it
            self._highest = max(self._highest, number)
            await self._answer(self, number, push)

    def _flush(self) -> None:
        data = self._h2.data_to_send()
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()
