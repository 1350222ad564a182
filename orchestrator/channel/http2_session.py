"""The client's side of one HTTP/2 connection without its socket: bytes in, bytes out, and how each stream ended.

Written for requests and answers of some kilobytes that are whole in memory (RFC 9113). A stream is given a larger
window than the largest answer that is read, so it never needs another; the connection's is given back as it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from orchestrator.channel.http2_fields import Fields, Reader, Writer
from orchestrator.channel.http2_frames import (
    FIRST_WINDOW,
    LARGEST_WINDOW,
    LAST_STREAM,
    PREFACE,
    SMALLEST_LIMIT,
    Broken,
    Code,
    Farewell,
    Flag,
    Incoming,
    Kind,
    Setting,
    farewell_in,
    frame,
    goaway_frame,
    number_frame,
    number_in,
    settings_frame,
    settings_in,
    unpadded,
)
from orchestrator.channel.http2_stream import BROKEN, REFUSED, Stream
from orchestrator.channel.transport import ANSWER_LIMIT, NoAnswer

_NO_LIMIT: Final = 1 << 31
_WINDOW: Final = 1 << 20
"""What we let a connection carry, all streams together."""
_STREAM_WINDOW: Final = 2 * ANSWER_LIMIT
_OWED: Final = 1000
"""Acknowledgements that wait to be written, at most: nobody honest asks faster than we can answer."""
_PIECES: Final = 64
"""Frames that one block of fields may come in."""
_PING: Final = b"still up"
_LARGEST_LIMIT: Final = (1 << 24) - 1
_FIRST: Final = frozenset({Kind.SETTINGS, Kind.GOAWAY})
"""What a server may begin with."""


@dataclass(slots=True)
class _Block:
    """Fields of which more are to come, in CONTINUATION alone."""

    number: int
    flags: int
    pieces: list[bytes]
    size: int = 0

    def add(self, piece: bytes) -> None:
        self.pieces.append(piece)
        self.size += len(piece)
        if self.size > ANSWER_LIMIT or len(self.pieces) > _PIECES:
            raise Broken(Code.ENHANCE_YOUR_CALM)


class Session:
    """One connection. What it has to say lies in ``take`` after every call."""

    def __init__(self) -> None:
        self.streams: dict[int, Stream] = {}
        self.greeted = False
        self.asking = False
        """Whether a ping of ours is unanswered."""
        self.farewell: Farewell | None = None
        self._incoming = Incoming()
        self._writer, self._reader = Writer(), Reader()
        self._block: _Block | None = None
        self._next = 1
        self._most = _NO_LIMIT
        self._window = self._first_window = FIRST_WINDOW
        self._held: dict[int, Stream] = {}
        self._heard = 0
        self._owed = 0
        self._read: Mapping[int, Callable[[int, int, bytes], None]] = {
            Kind.DATA: self._on_data,
            Kind.HEADERS: self._on_headers,
            Kind.RST_STREAM: self._on_reset,
            Kind.SETTINGS: self._on_settings,
            Kind.PUSH_PROMISE: self._on_push,
            Kind.PING: self._on_ping,
            Kind.GOAWAY: self._on_goaway,
            Kind.WINDOW_UPDATE: self._on_window,
            Kind.CONTINUATION: self._on_continuation,
        }
        values = {
            Setting.HEADER_TABLE_SIZE: 0,
            Setting.ENABLE_PUSH: 0,
            Setting.INITIAL_WINDOW_SIZE: _STREAM_WINDOW,
            Setting.MAX_HEADER_LIST_SIZE: ANSWER_LIMIT,
        }
        self._out = [PREFACE, settings_frame(values), number_frame(Kind.WINDOW_UPDATE, 0, _WINDOW - FIRST_WINDOW)]

    @property
    def most_streams(self) -> int:
        """How many streams the server takes at once; none until it has said so."""
        return self._most if self.greeted else 0

    # What we say.

    def open(self, stream: Stream, fields: Fields, body: bytes) -> bool:
        """Begin a request; False when the connection has had all the streams that there are."""
        if self._next > LAST_STREAM:
            return False
        number = stream.number = self._next
        self._next += 2
        stream.window = self._first_window
        self.streams[number] = stream
        self._say_fields(number, self._writer.write(fields), 0 if body else Flag.END_STREAM)
        stream.rest = body
        self._say_rest(stream)
        return True

    def drop(self, stream: Stream, code: Code = Code.CANCEL) -> bool:
        """No more of this request; whether it was still open."""
        self._held.pop(stream.number, None)
        if self.streams.pop(stream.number, None) is None:
            return False
        self._out.append(number_frame(Kind.RST_STREAM, stream.number, code))
        return True

    def ask(self) -> None:
        """Is anybody there?"""
        self.asking = True
        self._out.append(frame(Kind.PING, 0, 0, _PING))

    def leave(self, code: Code = Code.NO_ERROR) -> None:
        """Say goodbye."""
        self._out.append(goaway_frame(code))

    def take(self) -> bytes:
        """What is to be written now."""
        out, self._out, self._owed = b"".join(self._out), [], 0
        return out

    def _say_fields(self, number: int, block: bytes, flags: int) -> None:
        if len(block) <= SMALLEST_LIMIT:
            self._out.append(frame(Kind.HEADERS, flags | Flag.END_HEADERS, number, block))
            return
        pieces = [block[at : at + SMALLEST_LIMIT] for at in range(0, len(block), SMALLEST_LIMIT)]
        self._out.append(frame(Kind.HEADERS, flags, number, pieces[0]))
        self._out += [frame(Kind.CONTINUATION, 0, number, piece) for piece in pieces[1:-1]]
        self._out.append(frame(Kind.CONTINUATION, Flag.END_HEADERS, number, pieces[-1]))

    def _say_rest(self, stream: Stream) -> None:
        """As much of a body as both windows let out."""
        while stream.rest:
            size = min(len(stream.rest), stream.window, self._window, SMALLEST_LIMIT)
            if size <= 0:
                self._held[stream.number] = stream
                return
            piece, stream.rest = stream.rest[:size], stream.rest[size:]
            stream.window -= size
            self._window -= size
            self._out.append(frame(Kind.DATA, 0 if stream.rest else Flag.END_STREAM, stream.number, piece))
        self._held.pop(stream.number, None)

    def _say_held(self) -> None:
        """A window has opened."""
        for stream in tuple(self._held.values()):
            if not stream.done.done():
                self._say_rest(stream)

    def _acknowledge(self, kind: Kind, payload: bytes = b"") -> None:
        self._owed += 1
        if self._owed > _OWED:
            raise Broken(Code.ENHANCE_YOUR_CALM)
        self._out.append(frame(kind, Flag.ACK, 0, payload))

    # What we hear.

    def receive(self, data: bytes) -> None:
        """Take in what came.

        Raises:
            Broken: nothing more can be read on this connection.
        """
        for kind, flags, number, payload in self._incoming.frames(data):
            if self._block is not None and (kind != Kind.CONTINUATION or number != self._block.number):
                raise Broken(Code.PROTOCOL_ERROR)
            if not self.greeted and kind not in _FIRST:
                raise Broken(Code.PROTOCOL_ERROR)
            if (read := self._read.get(kind)) is not None:
                read(flags, number, payload)

    def _stream(self, number: int) -> Stream | None:
        """The stream, or None when it is over."""
        if (stream := self.streams.get(number)) is None and (number >= self._next or not number & 1):
            raise Broken(Code.PROTOCOL_ERROR)  # it never began
        return stream

    def _on_headers(self, flags: int, number: int, payload: bytes) -> None:
        if flags & (Flag.PADDED | Flag.PRIORITY):
            payload = unpadded(flags, payload)
        if flags & Flag.END_HEADERS:
            self._on_fields(flags, number, payload)
        else:
            self._stream(number)
            self._block = _Block(number, flags, [payload], len(payload))

    def _on_continuation(self, flags: int, number: int, payload: bytes) -> None:
        if (block := self._block) is None:
            raise Broken(Code.PROTOCOL_ERROR)
        block.add(payload)
        if flags & Flag.END_HEADERS:
            self._block = None
            self._on_fields(block.flags, number, b"".join(block.pieces))

    def _on_fields(self, flags: int, number: int, block: bytes) -> None:
        """A whole block. It is read even if nobody asks for it any more: the next one may refer to it."""
        stream, fields = self._stream(number), self._reader.read(block)
        if stream is None:
            return
        ended = bool(flags & Flag.END_STREAM)
        fits = ended if stream.status else stream.take_head(fields, ended=ended)  # trailers are not looked at
        if not fits:
            self._end(stream, BROKEN, Code.PROTOCOL_ERROR)
        elif ended:
            self._end(stream)

    def _on_data(self, flags: int, number: int, payload: bytes) -> None:
        size = len(payload)
        if flags & Flag.PADDED:
            payload = unpadded(Flag.PADDED, payload)
        self._heard += size
        if self._heard > _WINDOW // 2:
            self._out.append(number_frame(Kind.WINDOW_UPDATE, 0, self._heard))
            self._heard = 0
        if (stream := self._stream(number)) is None:
            return
        stream.heard += size
        if stream.heard > _STREAM_WINDOW:
            self._end(stream, BROKEN, Code.FLOW_CONTROL_ERROR)
        elif not stream.status:
            self._end(stream, BROKEN, Code.PROTOCOL_ERROR)
        else:
            stream.body += payload
            if len(stream.body) > ANSWER_LIMIT:
                self._end(stream, BROKEN, Code.CANCEL)
            elif flags & Flag.END_STREAM:
                self._end(stream)

    def _on_reset(self, _flags: int, number: int, payload: bytes) -> None:
        code, stream = number_in(payload), self._stream(number)
        if stream is not None:
            self._end(stream, REFUSED if code == Code.REFUSED_STREAM else BROKEN)

    def _on_settings(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise Broken(Code.PROTOCOL_ERROR)
        if flags & Flag.ACK:
            if payload:
                raise Broken(Code.FRAME_SIZE_ERROR)
            return
        for setting, value in settings_in(payload):
            self._set(setting, value)
        self.greeted = True
        self._acknowledge(Kind.SETTINGS)
        self._say_held()

    def _set(self, setting: int, value: int) -> None:
        match setting:
            case Setting.HEADER_TABLE_SIZE:
                self._writer.resize(value)
            case Setting.MAX_CONCURRENT_STREAMS:
                self._most = value
            case Setting.INITIAL_WINDOW_SIZE:
                self._resize_windows(value)
            case Setting.MAX_FRAME_SIZE if not SMALLEST_LIMIT <= value <= _LARGEST_LIMIT:
                raise Broken(Code.PROTOCOL_ERROR)
            case Setting.ENABLE_PUSH if value:
                raise Broken(Code.PROTOCOL_ERROR)
            case _:
                pass

    def _resize_windows(self, size: int) -> None:
        """Of streams that are open, too: what was let out already is counted, so a window may fall below nothing."""
        change, self._first_window = size - self._first_window, size
        if size > LARGEST_WINDOW:
            raise Broken(Code.FLOW_CONTROL_ERROR)
        for stream in self.streams.values():
            stream.window += change
            if stream.window > LARGEST_WINDOW:
                raise Broken(Code.FLOW_CONTROL_ERROR)

    def _on_ping(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise Broken(Code.PROTOCOL_ERROR)
        if len(payload) != len(_PING):
            raise Broken(Code.FRAME_SIZE_ERROR)
        if not flags & Flag.ACK:
            self._acknowledge(Kind.PING, payload)
        elif payload == _PING:
            self.asking = False

    def _on_goaway(self, _flags: int, number: int, payload: bytes) -> None:
        if number:
            raise Broken(Code.PROTOCOL_ERROR)
        self.farewell = farewell_in(payload)
        for stream in [each for each in self.streams.values() if each.number > self.farewell.last_stream]:
            self._end(stream, REFUSED)

    def _on_window(self, _flags: int, number: int, payload: bytes) -> None:
        more = number_in(payload) & LARGEST_WINDOW
        if not number:
            self._window += more
            if not more or self._window > LARGEST_WINDOW:
                raise Broken(Code.FLOW_CONTROL_ERROR if more else Code.PROTOCOL_ERROR)
            self._say_held()
        elif (stream := self._stream(number)) is not None:
            stream.window += more
            if not more or stream.window > LARGEST_WINDOW:
                self._end(stream, BROKEN, Code.FLOW_CONTROL_ERROR if more else Code.PROTOCOL_ERROR)
            elif not stream.done.done():
                self._say_rest(stream)

    def _on_push(self, _flags: int, _number: int, _payload: bytes) -> None:
        raise Broken(Code.PROTOCOL_ERROR)  # we said that we want none

    def _end(self, stream: Stream, lost: NoAnswer | None = None, code: Code | None = None) -> None:
        """It is over; ``code``: the other side is told so."""
        if lost is None and not stream.complete:
            lost, code = BROKEN, Code.PROTOCOL_ERROR
        elif lost is None and stream.rest:  # answered before all was said: the stream is still open on our side
            code = Code.CANCEL
        if code is not None:
            self.drop(stream, code)
        else:
            self._held.pop(stream.number, None)
            del self.streams[stream.number]
        stream.end(lost)
