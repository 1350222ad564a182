"""A small SMTP server that follows a script, counts transactions, and can fail at every stage of one."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

RESET, CLOSE, SILENCE = "reset", "close", "silence"
"""Instead of a reply: RST, FIN, or nothing at all."""
OFFERS = ("PIPELINING", "SIZE 20000000", "8BITMIME", "ENHANCEDSTATUSCODES", "AUTH PLAIN LOGIN")
DOT = "DOT"
GREETING = "GREETING"
_POLITE = {
    GREETING: "220 far.example ESMTP",
    "MAIL": "250 2.1.0 Ok",
    "RCPT": "250 2.1.5 Ok",
    "DATA": "354 go ahead",
    DOT: "250 2.0.0 Ok: queued as 4XaBc1",
    "RSET": "250 2.0.0 Ok",
    "AUTH": "235 2.7.0 Authentication successful",
    "QUIT": "221 2.0.0 Bye",
}


@dataclass(frozen=True)
class Taken:
    """One mail the server said yes to."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes


class _GoneError(Exception):
    """The script ended the connection."""


@dataclass
class SmtpEnd:
    """``end.say("RCPT", "550 5.1.1 no", None)``: one reply a time, the polite one for None and after the last."""

    offers: tuple[str, ...] = OFFERS
    tls: ssl.SSLContext | None = None
    scripts: dict[str, list[str | None]] = field(default_factory=lambda: defaultdict(list))
    commands: list[str] = field(default_factory=list)
    taken: list[Taken] = field(default_factory=list)
    connections: int = 0
    lone_dots: int = 0
    port: int = 0
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _open: dict[asyncio.StreamWriter, list[str]] = field(default_factory=dict)

    def say(self, command: str, *replies: str | None) -> None:
        self.scripts[command] += replies

    @property
    def counts(self) -> Counter[str]:
        return Counter(line.split(" ")[0].upper() for line in self.commands)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.tls, limit=1 << 22)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            await self._reply(writer, GREETING)
            while line := await reader.readline():
                await self._command(line.decode().rstrip("\r\n"), reader, writer)
        except (_GoneError, ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _command(self, line: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.commands.append(line)
        word = line.split(" ", maxsplit=1)[0].upper()
        if word == "EHLO":
            lines = ["far.example", *self.offers]
            text = [f"250{'-' if n < len(lines) - 1 else ' '}{each}" for n, each in enumerate(lines)]
            writer.write("\r\n".join([*text, ""]).encode())
            return
        if word in {"RCPT", "DATA"} and writer not in self._open:
            writer.write(b"503 5.5.1 MAIL first\r\n")
            return
        said = await self._reply(writer, word)
        if word in {"MAIL", "RSET"}:
            self._open.pop(writer, None)
        if word == "MAIL" and said.startswith("25"):
            self._open[writer] = [line.partition("<")[2].partition(">")[0]]
        elif word == "RCPT" and said.startswith("25"):
            self._open[writer].append(line.partition("<")[2].partition(">")[0])
        elif word == "DATA" and said.startswith("354"):
            await self._message(reader, writer)

    async def _message(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = []
        while (line := await reader.readline()) != b".\r\n":
            if not line.endswith(b"\n"):
                raise _GoneError
            lines.append(line.removeprefix(b"."))
        sender, *recipients = self._open.pop(writer)
        if not recipients:
            writer.write(b"554 5.5.1 no valid recipients\r\n")
            self.lone_dots += not lines
            return
        if (await self._reply(writer, DOT)).startswith("250"):
            self.taken.append(Taken(sender, tuple(recipients), b"".join(lines)))

    async def _reply(self, writer: asyncio.StreamWriter, word: str) -> str:
        script = self.scripts[word]
        said = (script.pop(0) if script else None) or _POLITE.get(word, "500 5.5.1 what?")
        if said == SILENCE:
            await asyncio.sleep(3600)
        if said == RESET:
            raw = writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        if said in {RESET, CLOSE}:
            raise _GoneError
        writer.write(said.encode() + b"\r\n")
        if said.startswith("421"):
            raise _GoneError
        return said
