"""One HTTP/2 connection, and what became of each request on it (RFC 9113).

The HTTP client we use elsewhere sends a refused stream again by itself and hides GOAWAY, so ``h2`` is driven here. A
request whose stream the server says it did not process (RST_STREAM with REFUSED_STREAM, or above GOAWAY's last stream)
has certainly not been accepted; every other request without an answer may have been, once its head was written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import cast

from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.exceptions import NoAvailableStreamIDError, ProtocolError
from h2.settings import SettingCodes, Settings
from hpack import HeaderTuple, NeverIndexedHeaderTuple
from typing_extensions import override

from orchestrator.channel.http2_frames import Farewell, split_goaways
from orchestrator.channel.transport import ANSWER_LIMIT, Answer, Failure, NoAnswer

Fields = Sequence[HeaderTuple]
"""The pseudo-header fields first, names in lower case."""

IDLE_PING = timedelta(hours=1)
"""A connection that was silent for so long is asked whether it is still there."""
PONG_WITHIN = timedelta(seconds=5)
_WINDOW = 1 << 20
_NO_LIMIT = 1 << 31


def secret(name: str, value: str) -> HeaderTuple:
    """A field that no table of the connection remembers, here or at any proxy (RFC 7541 §7.1.3)."""
    return NeverIndexedHeaderTuple(name.encode(), value.encode("ascii"))


def plain(name: str, value: str) -> HeaderTuple:
    """A field that is much the same in every request: sent once, referred to from then on."""
    return HeaderTuple(name.encode(), value.encode("ascii"))


@dataclass(slots=True)
class _Stream:
    """One request under way. ``rest``: what flow control has not let out yet."""

    done: asyncio.Future[Answer | NoAnswer]
    rest: bytes
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)

    def end(self, lost: NoAnswer | None) -> None:
        """It is over: the status is the answer where there was one, though its body was cut short."""
        if self.done.done():
            return
        if self.status:
            whole = lost is None and len(self.body) <= ANSWER_LIMIT
            self.done.set_result(Answer(self.status, self.headers, bytes(self.body[:ANSWER_LIMIT]), whole=whole))
        else:
            self.done.set_result(lost or NoAnswer(Failure.BROKEN, left=True))


class Connection(asyncio.Protocol):
    """One connection. ``changed`` is called whenever there may be room for another stream, or never again any.

    Until ``proven`` it carries one stream at a time: so APNs wants it until a token was accepted.
    """

    def __init__(self, changed: Callable[[], None], *, idle_ping: timedelta = IDLE_PING) -> None:
        self._changed = changed
        self._idle_ping = idle_ping.total_seconds()
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._h2 = _client()
        self._streams: dict[int, _Stream] = {}
        self._limit = 0  # until the server's SETTINGS came
        self._partial = b""
        self._writable = True
        self._flushing = False
        self._heard_at = self._loop.time()
        self._idle: asyncio.TimerHandle | None = None
        self._pong: asyncio.TimerHandle | None = None
        self._rests_until = 0.0
        self.ready: asyncio.Future[None] = self._loop.create_future()
        self.lost: asyncio.Future[None] = self._loop.create_future()
        self.reserved = 0
        self.proven = False
        self.retired = False
        self.farewell: Farewell | None = None

    # What the pool asks.

    @property
    def room(self) -> int:
        """How many more streams it takes now."""
        usable = not self.retired and self._writable and self._pong is None and self.resting == 0
        limit = self._limit if self.proven else min(self._limit, 1)
        return max(0, limit - len(self._streams) - self.reserved) if usable else 0

    @property
    def resting(self) -> float:
        """Seconds for which it is to be left alone."""
        return max(0.0, self._rests_until - self._loop.time())

    @property
    def busy(self) -> int:
        """Streams that are open."""
        return len(self._streams) + self.reserved

    def retire(self) -> None:
        """No new streams; closed when the last one has ended."""
        self.retired = True
        self._close_if_drained()
        self._changed()

    def rest(self, span: timedelta) -> None:
        """No new streams for a while."""
        self._rests_until = self._loop.time() + span.total_seconds()
        self._loop.call_at(self._rests_until, self._changed)

    def close(self) -> None:
        """Say goodbye and hang up; whatever is under way ends without an answer."""
        self.retired = True
        with suppress(ProtocolError):
            self._h2.close_connection()
        self._flush()
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Hang up without another byte."""
        self.retired = True
        if self._transport is not None:
            self._transport.abort()

    async def request(self, fields: Fields, body: bytes, deadline: float) -> Answer | NoAnswer:
        """Exactly one request, ended by ``deadline`` (the loop's time). Only when there is ``room``."""
        try:
            number = self._open(fields, body)
        except (NoAvailableStreamIDError, ProtocolError):  # a thousand million streams are enough; or it just closed
            self.retire()
            return NoAnswer(Failure.CONNECT, left=False)
        stream = self._streams[number]
        try:
            self._send_rest(number)
            await asyncio.wait((stream.done,), timeout=deadline - self._loop.time())
            if not stream.done.done():
                self._ping()  # is anybody there? Nothing more is sent until it is known
                stream.end(NoAnswer(Failure.TIMEOUT, left=True))
            return stream.done.result()
        except ProtocolError:
            return NoAnswer(Failure.BROKEN, left=True)
        finally:
            self._forget(number)

    # What the event loop calls.

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but name
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(_WINDOW)
        self._flush()
        self._idle = self._loop.call_later(self._idle_ping, self._look)

    @override
    def data_received(self, data: bytes) -> None:
        self._heard_at = self._loop.time()
        try:
            self._partial, pieces = split_goaways(self._partial + data)
            for piece in pieces:
                if isinstance(piece, Farewell):
                    self._goaway(piece)
                else:
                    for event in self._h2.receive_data(piece):
                        self._handle(event)
            self._pump()
        except ProtocolError:
            self._flush()
            self.abort()
            return
        self._flush()
        self._close_if_drained()
        self._changed()

    @override
    def pause_writing(self) -> None:
        self._writable = False

    @override
    def resume_writing(self) -> None:
        self._writable = True
        self._changed()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self.retired = True
        for timer in (self._idle, self._pong):
            if timer is not None:
                timer.cancel()
        for stream in self._streams.values():
            stream.end(NoAnswer(Failure.BROKEN, left=True))
        for waited in (self.ready, self.lost):
            if not waited.done():
                waited.set_result(None)
        self._changed()

    # Streams.

    def _open(self, fields: Fields, body: bytes) -> int:
        number = self._h2.get_next_available_stream_id()
        self._h2.send_headers(number, fields, end_stream=not body)
        self._streams[number] = _Stream(self._loop.create_future(), body)
        if not self._flushing:  # what several tasks send in one turn of the loop leaves in one write
            self._flushing = True
            self._loop.call_soon(self._flush)
        return number

    def _send_rest(self, number: int) -> None:
        stream = self._streams[number]
        while stream.rest and (window := self._h2.local_flow_control_window(number)) > 0:
            size = min(window, self._h2.max_outbound_frame_size)
            piece, stream.rest = stream.rest[:size], stream.rest[size:]
            self._h2.send_data(number, piece, end_stream=not stream.rest)

    def _pump(self) -> None:
        """Send what flow control held back."""
        for number, stream in list(self._streams.items()):
            if stream.rest and not stream.done.done():
                self._send_rest(number)

    def _forget(self, number: int) -> None:
        """The request is over for us; a stream that is still open is cancelled."""
        if self._streams.pop(number, None) is not None and self._transport is not None:
            if not self._transport.is_closing():
                with suppress(ProtocolError):  # it has ended
                    self._h2.reset_stream(number, ErrorCodes.CANCEL)
                self._flush()
            self._close_if_drained()
            self._changed()

    def _end(self, number: int | None, lost: NoAnswer | None) -> None:
        if number is None or (stream := self._streams.pop(number, None)) is None:
            return
        if lost is None and stream.rest:  # answered before all was said: the stream is still open on our side
            with suppress(ProtocolError):
                self._h2.reset_stream(number, ErrorCodes.CANCEL)
        stream.end(lost)

    # Events.

    def _handle(self, event: events.Event) -> None:
        match event:
            case events.ResponseReceived():
                self._answered(event)
            case events.DataReceived():
                self._data(event)
            case events.StreamEnded():
                self._end(event.stream_id, None)
            case events.StreamReset():
                refused = event.error_code == ErrorCodes.REFUSED_STREAM
                lost = NoAnswer(Failure.REFUSED, left=False) if refused else NoAnswer(Failure.BROKEN, left=True)
                self._end(event.stream_id, lost)
            case events.RemoteSettingsChanged():
                self._limit = self._h2.remote_settings.get(SettingCodes.MAX_CONCURRENT_STREAMS, _NO_LIMIT)
                if not self.ready.done():
                    self.ready.set_result(None)
            case events.PingAckReceived():
                self._ponged()
            case _:
                pass

    def _answered(self, event: events.ResponseReceived) -> None:
        if (stream := self._streams.get(event.stream_id or 0)) is not None:
            fields = [(bytes(name).decode("latin-1"), bytes(value).decode("latin-1")) for name, value in event.headers]
            stream.status = next((int(value) for name, value in fields if name == ":status" and value.isdecimal()), 0)
            stream.headers = {name: value for name, value in fields if not name.startswith(":")}

    def _data(self, event: events.DataReceived) -> None:
        self._h2.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id or 0)
        if (stream := self._streams.get(event.stream_id or 0)) is not None:
            stream.body += event.data or b""
            if len(stream.body) > ANSWER_LIMIT:
                stream.end(NoAnswer(Failure.BROKEN, left=True))

    def _goaway(self, farewell: Farewell) -> None:
        self.farewell, self.retired = farewell, True
        for number in [number for number in self._streams if number > farewell.last_stream]:
            self._end(number, NoAnswer(Failure.REFUSED, left=False))

    # Silence.

    def _look(self) -> None:
        silent = self._loop.time() - self._heard_at
        if silent >= self._idle_ping:
            self._ping()
            silent = 0.0
        self._idle = self._loop.call_later(self._idle_ping - silent, self._look)

    def _ping(self) -> None:
        if self._pong is None and self._transport is not None and not self._transport.is_closing():
            with suppress(ProtocolError):
                self._h2.ping(b"still up")
            self._flush()
            self._pong = self._loop.call_later(PONG_WITHIN.total_seconds(), self.abort)

    def _ponged(self) -> None:
        if self._pong is not None:
            self._pong.cancel()
            self._pong = None

    def _flush(self) -> None:
        self._flushing = False
        data = self._h2.data_to_send()
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _close_if_drained(self) -> None:
        if self.retired and not self.busy:
            self.close()


def _client() -> H2Connection:
    # Our fields are written by us, in lower case and ASCII: checking each again costs a fifth of the time.
    config = H2Configuration(
        client_side=True,
        header_encoding=None,
        validate_outbound_headers=False,
        normalize_outbound_headers=False,
    )
    h2 = H2Connection(config)
    h2.local_settings = Settings(
        client=True, initial_values={SettingCodes.ENABLE_PUSH: 0, SettingCodes.MAX_HEADER_LIST_SIZE: ANSWER_LIMIT}
    )
    return h2
