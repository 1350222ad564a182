"""An HTTP/2 session without a socket, and a server whose frames are made by hand."""

from __future__ import annotations

import asyncio
import atexit
from collections.abc import Sequence

from hpack import Encoder

from orchestrator.channel.http2_fields import Fields, plain, secret
from orchestrator.channel.http2_frames import Flag, Frame, Incoming, Kind, settings_frame
from orchestrator.channel.http2_session import Session
from orchestrator.channel.http2_stream import Stream
from orchestrator.channel.transport import Answer, NoAnswer

LOOP = asyncio.new_event_loop()
"""What futures belong to; it never runs."""
atexit.register(LOOP.close)
FIELDS: Fields = (
    plain(":method", "POST"), plain(":scheme", "https"), plain(":authority", "localhost"), secret(":path", "/m"),
)  # fmt: skip
GREETING = settings_frame({})
OK = Encoder().encode([(":status", "200")])
END = Flag.END_STREAM | Flag.END_HEADERS


class Talk:
    """A session with ``requests`` under way, and a server whose frames are made by hand."""

    def __init__(self, requests: int = 1, body: bytes = b"body", *, greeting: bytes = GREETING) -> None:
        self.session = Session()
        self.opening = self.session.take()
        self.session.receive(greeting)
        self.streams = [self.begin(body) for _ in range(requests)]
        self.said()

    def begin(self, body: bytes = b"body", fields: Fields = FIELDS) -> Stream:
        stream = Stream(LOOP.create_future(), 0.0)
        assert self.session.open(stream, fields, body)
        return stream

    def hears(self, *frames: bytes) -> None:
        self.session.receive(b"".join(frames))

    def said(self) -> list[Frame]:
        return list(Incoming().frames(self.session.take()))

    @property
    def found(self) -> list[Answer | NoAnswer | None]:
        return [each.done.result() if each.done.done() else None for each in self.streams]


def fields(*pairs: tuple[str, str], status: int = 200) -> bytes:
    return Encoder().encode([(":status", str(status)), *pairs])


def answer(talk: Talk) -> Answer:
    (found,) = talk.found
    assert isinstance(found, Answer)
    return found


def resets(said: Sequence[Frame]) -> list[tuple[int, int]]:
    return [(number, int.from_bytes(payload)) for kind, _, number, payload in said if kind == Kind.RST_STREAM]
