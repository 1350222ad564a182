"""The talk with a mail server over a connection that is open: replies are read as they come, and answered at once.

aiosmtplib opens a connection (greeting, TLS, AUTH) and understands one command at a time. From then on this protocol
takes the connection over. Whoever has a mail to send is woken once, when its transaction has ended: what comes between
is written from where the replies are read, and one timer a connection watches over all its waits.
"""

from __future__ import annotations

import asyncio
import re
from typing import cast

from typing_extensions import override

from orchestrator.channel.email.smtp_transaction import Said, Transaction

_MOST = 64 * 1024
"""Bytes of replies that wait to be read: a server that says more is not talking SMTP."""
_REPLY = re.compile(rb"(?:([2-5][0-9][0-9])-[^\n]*\n)*([2-5][0-9][0-9])(?:[ \r][^\n]*)?\n")
_REPLY_BEGUN = re.compile(rb"(?:[2-5][0-9][0-9]-[^\n]*\n)+[^\n]*\Z")


class LostError(Exception):
    """The connection is gone already."""


class Conversation(asyncio.Protocol):
    """One connection; at most one mail is on its way through it.

    ``seconds``: how long a reply may take; ``final``: how long the last one may, after the final dot.
    """

    def __init__(self, transport: asyncio.Transport, seconds: float, final: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport = transport
        self._seconds = seconds
        self._final = final
        self._unread = b""
        self._useless = False
        self._mail: Transaction | None = None
        self._ending: asyncio.Future[Said] = self._loop.create_future()
        self._until = self._looks_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        transport.set_protocol(self)

    @property
    def open(self) -> bool:
        """Whether another mail may be begun: the server has not hung up, nor begun to say what nobody asked."""
        return not (self._useless or self._unread or self._transport.is_closing())

    async def carry(self, mail: Transaction) -> Said:
        """How a transaction ended. A connection that is known to be closed has taken nothing of it."""
        if not self.open:
            return mail.broke("lost")
        self._mail, self._ending = mail, self._loop.create_future()
        self._transport.write(mail.begin())
        self._wait(self._seconds)
        try:
            return await self._ending
        finally:
            self._mail = None

    def farewell(self) -> None:
        """Say goodbye, and let go once that has left."""
        if self.open:
            self._transport.write(b"QUIT\r\n")
        self._transport.close()
        self._let_go()

    def close(self) -> None:
        """Let go at once."""
        self._transport.abort()
        self._let_go()

    @override
    def data_received(self, data: bytes) -> None:
        if self._useless:  # whoever has it lets go of it, soon
            return
        data, place = self._unread + data, 0
        while (found := _REPLY.match(data, place)) is not None:
            place = found.end()
            self._heard(int(found[2]), found[0], more=place < len(data))
        self._unread = data = data[place:]
        if data and ((b"\n" in data and not _REPLY_BEGUN.match(data)) or len(data) > _MOST):
            self._over("garbled")

    @override
    def eof_received(self) -> bool:
        return False  # the transport closes itself

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._over("lost")
        self._let_go()

    def _heard(self, code: int, line: bytes, *, more: bool) -> None:
        """Take a reply. ``more``: the server has said something after it, which cannot answer what is written now."""
        mail = self._mail
        if mail is None:
            self._useless = True
            return
        if wanted := mail.heard(code, line):
            if more or self._transport.is_closing():
                self._useless = True
                mail.unwritten("garbled" if more else "lost")
            else:
                self._transport.write(wanted)
        if mail.ended is not None:
            self._end(mail.ended)
        else:
            self._wait(self._final if mail.given else self._seconds)

    def _over(self, failure: str) -> None:
        """Nothing more is to be had from this server."""
        self._useless = True
        if self._mail is not None:
            self._end(self._mail.broke(failure))

    def _end(self, said: Said) -> None:
        self._mail = None
        if not self._ending.done():  # its sender may have been cancelled
            self._ending.set_result(said)

    def _wait(self, seconds: float) -> None:
        """From now on the server has so long. The timer is moved only if it would come too late."""
        self._until = self._loop.time() + seconds
        if self._timer is None or self._until < self._looks_at:
            self._look_again()

    def _look_again(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._looks_at = self._until
        self._timer = self._loop.call_at(self._until, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._mail is None:
            return
        if self._loop.time() < self._until:
            self._look_again()
        else:
            self._over("timeout")

    def _let_go(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def taken_over(
    protocol: asyncio.BaseProtocol | None, transport: asyncio.BaseTransport | None, seconds: float, final: float
) -> Conversation:
    """The conversation over a connection that aiosmtplib has opened.

    Raises:
        LostError: it is gone already.
    """
    if protocol is None or transport is None or transport.is_closing():
        raise LostError
    return Conversation(cast("asyncio.Transport", transport), seconds, final)
