"""A small raw HTTP server that counts what it reads and can misbehave in every way a provider does."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl


@dataclass(frozen=True, slots=True)
class Seen:
    """One request that was read to its end."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(self.target.partition("?")[2]))

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True))

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Act = Callable[[Seen, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class FarEnd:
    """``far.plays("/path", act, act)``: one act a request, the last one for all that follow."""

    tls: ssl.SSLContext | None = None
    requests: list[Seen] = field(default_factory=list)
    connections: int = 0
    reset_unread: bool = False
    scripts: dict[str, list[Act]] = field(default_factory=lambda: defaultdict(list))
    port: int = 0
    server: asyncio.Server | None = None
    open: set[asyncio.Task[None]] = field(default_factory=set)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def plays(self, path: str, *acts: Act) -> Self:
        self.scripts[path] = list(acts)
        return self

    def seen(self, path: str) -> list[Seen]:
        return [request for request in self.requests if request.path == path]

    async def __aenter__(self) -> Self:
        self.server = await asyncio.start_server(self._connection, "127.0.0.1", 0, ssl=self.tls)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.server is not None
        self.server.close()
        for task in self.open:
            task.cancel()
        for writer in self.writers:
            writer.transport.abort()
        if self.open:
            await asyncio.wait(tuple(self.open))
        await asyncio.sleep(0.01)  # transports close on the loop's next turns

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self.open.add(task)
        self.writers.append(writer)
        try:
            if self.reset_unread:
                await asyncio.sleep(0.05)  # the request is in our socket by now, and nobody has read it
                await reset(None, writer)
                return
            seen = await _read(reader)
            self.requests.append(seen)
            script = self.scripts[seen.path]
            await (script.pop(0) if len(script) > 1 else script[0])(seen, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            self.open.discard(task)


async def _read(reader: asyncio.StreamReader) -> Seen:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, target, _ = head[0].split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Seen(method, target, headers, body)


def answers(status: int, body: object = None, **headers: str) -> Act:
    """A plain answer; what is no bytes becomes JSON. ``retry_after=`` is the header Retry-After."""
    raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()

    async def act(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(_head(status, len(raw), headers) + raw)
        await writer.drain()

    return act


def html(status: int) -> Act:
    return answers(status, b"<!DOCTYPE html><title>Error</title><p>That's an error.", content_type="text/html")


async def reset(seen: Seen | None, writer: asyncio.StreamWriter) -> None:
    """RST instead of an answer."""
    sock: socket.socket = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def hang_up(seen: Seen, writer: asyncio.StreamWriter) -> None:
    """FIN instead of an answer."""


async def silence(seen: Seen, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(60)


async def garbage(seen: Seen, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 smtp.example ESMTP\r\n")
    await writer.drain()


async def drip(seen: Seen, writer: asyncio.StreamWriter) -> None:
    """An answer at ten bytes a second."""
    for byte in _head(200, 1000, {}) + b"x" * 1000:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.1)


def cut(status: int) -> Act:
    """The head promises more than what comes."""

    async def act(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(_head(status, 1000, {}) + b'{"na')
        await writer.drain()

    return act


async def huge(seen: Seen, writer: asyncio.StreamWriter) -> None:
    """200 MB, as fast as they are taken."""
    writer.write(_head(200, 200 * 1024 * 1024, {}))
    for _ in range(200):
        writer.write(b" " * 1024 * 1024)
        await writer.drain()


def _head(status: int, length: int, headers: Mapping[str, str]) -> bytes:
    given = {"content-type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"HTTP/1.1 {status} X", f"content-length: {length}", "connection: close"]
    lines += [f"{name}: {value}" for name, value in given.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
