"""One HTTP/2 connection on the event loop: when it takes another request, when it is given up, and when it hangs up.

The HTTP client we use elsewhere sends a refused stream again by itself and hides GOAWAY, so the protocol is spoken here
(``http2_session``). A request whose stream the server says it did not process (RST_STREAM with REFUSED_STREAM, or above
GOAWAY's last stream) has certainly not been accepted; every other request without an answer may have been, once its
head was written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import cast

from typing_extensions import override

from orchestrator.channel.http2_fields import Fields
from orchestrator.channel.http2_frames import Broken, Code, Farewell
from orchestrator.channel.http2_session import Session
from orchestrator.channel.http2_stream import BROKEN, Stream
from orchestrator.channel.transport import Answer, Failure, NoAnswer

IDLE_PING = timedelta(hours=1)
"""A connection that was silent for so long is asked whether it is still there."""
PONG_WITHIN = timedelta(seconds=5)
_LOOK_EVERY = 0.2
"""Seconds between looks for requests that have waited too long: a timer for each would cost as much as half a request.
The four requests of an attempt stay within the second that the worker adds to the channel's time-out."""
_GOODBYE = 1.0
"""Seconds for our last words to reach a server that does not keep to the protocol."""


class Connection(asyncio.Protocol):
    """One connection. ``changed`` is called whenever there may be room for another stream, or never again any.

    Until ``proven`` it carries one stream at a time: so APNs wants it until a token was accepted.
    """

    def __init__(
        self, changed: Callable[[], None], *, idle_ping: timedelta = IDLE_PING, idle_end: timedelta | None = None
    ) -> None:
        """``idle_end``: one that carried nothing for so long is hung up, not asked: somebody between may have."""
        self._changed = changed
        self._idle_ends = idle_end is not None
        self._idle_ping = (idle_end or idle_ping).total_seconds()
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._session = Session()
        self._writable = True
        self._flushing = False
        self._broken = False
        self._heard_at = self._loop.time()
        self._idle: asyncio.TimerHandle | None = None
        self._pong: asyncio.TimerHandle | None = None
        self._look: asyncio.TimerHandle | None = None
        self._rests_until = 0.0
        self.ready: asyncio.Future[None] = self._loop.create_future()
        self.lost: asyncio.Future[None] = self._loop.create_future()
        self.reserved = 0
        self.spoken = False
        """Whether the other side agreed to HTTP/2 in the handshake. If not, nothing is said to it."""
        self.proven = False
        self.retired = False

    # What the pool asks.

    @property
    def room(self) -> int:
        """How many more streams it takes now; below zero when the server has lowered its limit."""
        if self.retired or not self._writable or self._pong is not None or self.resting:
            return 0
        session = self._session
        busy = len(session.streams) + self.reserved
        if not busy and self._over:
            return 0
        limit = session.most_streams if self.proven else min(session.most_streams, 1)
        return limit - busy

    @property
    def _over(self) -> bool:
        """Whether it was silent for too long to be used again, even if the process stood still meanwhile."""
        return self._idle_ends and self._loop.time() - self._heard_at >= self._idle_ping

    @property
    def resting(self) -> float:
        """Seconds for which it is to be left alone."""
        return max(0.0, self._rests_until - self._loop.time()) if self._rests_until else 0.0

    @property
    def busy(self) -> int:
        """Streams that are open."""
        return len(self._session.streams) + self.reserved

    @property
    def flushing(self) -> bool:
        """Whether requests of this turn of the loop wait to be written."""
        return self._flushing

    @property
    def farewell(self) -> Farewell | None:
        """The server's GOAWAY, once it came."""
        return self._session.farewell

    def retire(self) -> None:
        """No new streams; closed when the last one has ended."""
        self.retired = True
        self._close_if_drained()
        self._changed()

    def rest(self, span: timedelta) -> None:
        """No new streams for a while."""
        self._rests_until = self._loop.time() + span.total_seconds()
        self._loop.call_at(self._rests_until, self._changed)

    def close(self, code: Code = Code.NO_ERROR) -> None:
        """Say goodbye and hang up; whatever is under way ends without an answer."""
        self.retired = True
        if self._transport is not None and not self._transport.is_closing():
            self._session.leave(code)
            self._write()
            self._transport.close()

    def abort(self) -> None:
        """Hang up without another byte."""
        self.retired = True
        if self._transport is not None:
            self._transport.abort()

    async def request(self, fields: Fields, body: bytes, deadline: float) -> Answer | NoAnswer:
        """Exactly one request, ended a moment after ``deadline`` (the loop's time). Only when there is ``room``."""
        stream = Stream(self._loop.create_future(), deadline)
        if not self._up or not self._session.open(stream, fields, body):  # a thousand million streams are enough
            self.retire()
            return NoAnswer(Failure.CONNECT, left=False)
        self._flush_soon()
        if self._look is None:
            self._look = self._loop.call_later(_LOOK_EVERY, self._end_late)
        try:
            return await stream.done
        finally:
            self._forget(stream)

    # What the event loop calls.

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but name
        self.spoken = transport.get_extra_info("ssl_object").selected_alpn_protocol() == "h2"
        if self.spoken:
            self._flush()
        self._idle = self._loop.call_later(self._idle_ping, self._ask_if_silent)

    @override
    def data_received(self, data: bytes) -> None:
        if self._broken:
            return
        self._heard_at = self._loop.time()
        try:
            self._session.receive(data)
        except Broken as trouble:
            self._break(trouble.code)
            return
        self._notice()
        self._flush()
        self._close_if_drained()
        self._changed()

    @override
    def pause_writing(self) -> None:
        self._writable = False

    @override
    def resume_writing(self) -> None:
        self._writable = True
        self._flush()
        self._changed()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self.retired = True
        for timer in (self._idle, self._pong, self._look):
            if timer is not None:
                timer.cancel()
        self._end_all()
        for waited in (self.ready, self.lost):
            if not waited.done():
                waited.set_result(None)
        self._changed()

    # Streams.

    def _notice(self) -> None:
        """What the server has said of the connection as a whole."""
        session = self._session
        if session.greeted and not self.ready.done():
            self.ready.set_result(None)
        if session.farewell is not None:
            self.retired = True
        if self._pong is not None and not session.asking:
            self._pong.cancel()
            self._pong = None

    def _forget(self, stream: Stream) -> None:
        """The request is over for us; a stream that is still open is cancelled."""
        if self._session.drop(stream):
            self._flush()
            self._close_if_drained()
            self._changed()

    def _end_late(self) -> None:
        """End what has waited for too long; look again while there is something."""
        now, streams = self._loop.time(), self._session.streams
        for stream in streams.values():
            if stream.deadline <= now and not stream.done.done():
                self._ask()  # is anybody there? Nothing more is sent until it is known
                stream.end(NoAnswer(Failure.TIMEOUT, left=True))
        self._look = self._loop.call_later(_LOOK_EVERY, self._end_late) if streams else None

    def _end_all(self) -> None:
        for stream in self._session.streams.values():
            stream.end(BROKEN)

    def _break(self, code: Code) -> None:
        """The server does not keep to the protocol: it is told so, and nothing more of it is read."""
        self._broken = True
        self._end_all()
        self.close(code)
        self._loop.call_later(_GOODBYE, self.abort)
        self._changed()

    # Silence.

    def _ask_if_silent(self) -> None:
        silent = self._loop.time() - self._heard_at
        if silent >= self._idle_ping:
            if self._over and not self.busy:
                self.retire()
                return
            self._ask()
            silent = 0.0
        self._idle = self._loop.call_later(self._idle_ping - silent, self._ask_if_silent)

    def _ask(self) -> None:
        if self._pong is None and self._up:
            self._session.ask()
            self._flush()
            self._pong = self._loop.call_later(PONG_WITHIN.total_seconds(), self.abort)

    # Writing.

    @property
    def _up(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def _flush_soon(self) -> None:
        """What several tasks send in one turn of the loop leaves in one write."""
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if self._writable:  # else it is kept, and counted, where it is
            self._write()

    def _write(self) -> None:
        if self._transport is not None and not self._transport.is_closing() and (data := self._session.take()):
            self._transport.write(data)

    def _close_if_drained(self) -> None:
        if self.retired and not self.busy:
            self.close()
