"""Answers that are no answers: a connection that is reset, falls silent, dribbles, or breaks off.

uvicorn keeps the transport to itself, so :class:`SandboxProtocol` leaves it in the request's state.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from typing import cast

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from typing_extensions import override
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

NO_LINGER = struct.pack("ii", 1, 0)


class SandboxProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol; ``request.state.transport`` is the connection.

    ``app.state.refuses()`` says of each connection whether it is ended before anything is said.
    """

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn's own
        super().connection_made(transport)
        app = self.config.app
        assert isinstance(app, Starlette)
        if app.state.refuses():
            reset(transport)

    @override
    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["state"]["transport"] = self.transport


class Reset(Response):
    """The connection is reset (RST, not FIN), without a byte of an answer."""

    def __init__(self, request: Request) -> None:
        super().__init__()
        self._transport: asyncio.Transport = request.state.transport

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        reset(self._transport)
        await _gone(receive)


class Silence(Response):
    """Nothing, until the client gives up."""

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await _gone(receive)


class Dribble(Response):
    """An answer that takes ``seconds``, a byte now and then."""

    def __init__(self, answer: Response, seconds: float) -> None:
        super().__init__()
        self._answer = answer
        self._seconds = seconds

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = self._answer
        if not answer.body:  # then its head is all there is to wait for
            await asyncio.sleep(self._seconds)
        await send({"type": "http.response.start", "status": answer.status_code, "headers": answer.raw_headers})
        body = bytes(answer.body)
        steps = min(20, len(body)) or 1
        size = -(-len(body) // steps)
        for start in range(0, len(body), size):
            await asyncio.sleep(self._seconds / steps)
            await send({"type": "http.response.body", "body": body[start : start + size], "more_body": True})
        await send({"type": "http.response.body", "body": b""})


class Drip(Response):
    """``data`` as it stands instead of an answer, a byte every ``pause`` seconds; then the connection ends."""

    def __init__(self, request: Request, data: bytes, *, pause: float) -> None:
        super().__init__()
        self._transport: asyncio.Transport = request.state.transport
        self._data = data
        self._pause = pause

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        for byte in self._data:
            if self._transport.is_closing():
                break
            self._transport.write(bytes([byte]))
            await asyncio.sleep(self._pause)
        self._transport.close()
        await _gone(receive)


def whole(answer: Response) -> bytes:
    """An answer as it goes over the wire."""
    lines = [f"HTTP/1.1 {answer.status_code} X".encode()]
    lines += [name + b": " + value for name, value in answer.raw_headers]
    return b"\r\n".join([*lines, b"", bytes(answer.body)])


class Ended(asyncio.Protocol):
    """A connection that ends as it begins."""

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        reset(cast("asyncio.Transport", transport))  # uvloop's is one in all but name


def reset(transport: asyncio.Transport) -> None:
    """RST, not FIN."""
    # uvloop's socket object refuses setsockopt; options belong to the open file, so a duplicate sets them as well.
    copy = socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))
    copy.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
    copy.close()
    transport.abort()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
