"""A mail server that takes mail for everybody and delivers to nobody: strict, and told to fail like the others.

aiosmtpd speaks the protocol; what is refused stands in ``mail_rules``. One recipient a transaction is taken: a sender
of personal mail that names two has made a mistake.
"""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Any, cast

from aiosmtpd.smtp import SMTP, Envelope, Session

from orchestrator.sandbox.email.mail_rules import described, parsed, refused_bytes, refused_mail
from orchestrator.sandbox.faults import Fault, Kind
from orchestrator.sandbox.wire import Ended, reset
from orchestrator.sandbox.world import World

HOSTNAME = "mail.sandbox.invalid"
LARGEST = 20_000_000


async def serve_mail(world: World, listening: socket.socket) -> asyncio.Server:
    """Take mail on a socket, in the running loop."""
    loop = asyncio.get_running_loop()

    def connected() -> asyncio.BaseProtocol:
        if world.faults.draw_connection("smtp") is not None:
            return Ended()
        return SMTP(
            _Desk(world),
            data_size_limit=LARGEST,
            enable_SMTPUTF8=True,
            hostname=HOSTNAME,
            ident="sandbox ESMTP",
            loop=loop,
        )

    return await loop.create_server(connected, sock=listening)


class _Desk:
    """Answers the commands of one connection."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._fault: Fault | None = None

    async def handle_EHLO(  # noqa: N802  # the name is aiosmtpd's
        self, _server: SMTP, session: Session, _envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        """Offer what is offered everywhere."""
        session.host_name = hostname
        return [*responses[:-1], "250-PIPELINING", "250-ENHANCEDSTATUSCODES", responses[-1]]

    async def handle_MAIL(  # noqa: N802
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """A transaction begins."""
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        self._fault = None
        return "250 2.1.0 Ok"

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Whom it is for; what goes wrong is drawn here, where the address is known."""
        if envelope.rcpt_tos:
            return self._refuse(address, "452 4.5.3 one recipient a transaction")
        fault = self._fault = self._world.faults.draw("smtp", address)
        if fault is not None:
            self._world.count("smtp", f"fault {fault.kind.value}")
            if fault.kind is Kind.DEAD_ADDRESS:
                return self._refuse(address, "550 5.1.1 no such user here")
            if fault.kind is Kind.RESET_BEFORE:
                _cut(server)
            if fault.kind is Kind.STATUS and fault.stage == "rcpt":
                return self._told(server, address, fault)
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 2.1.5 Ok"

    async def handle_DATA(self, server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        """The message is here: judge it, keep it, answer; or suffer what was drawn."""
        fault, to = self._fault, envelope.rcpt_tos[0]
        if fault is None:
            return await self._take(envelope, to)
        if fault.kind is Kind.STATUS:
            return self._told(server, to, fault)
        if fault.kind is Kind.DELAY and not fault.accept:
            await asyncio.sleep(fault.seconds)
        answer = await self._take(envelope, to) if fault.accepts else ""
        if fault.kind is Kind.RESET_AFTER:
            _cut(server)
        if fault.kind is Kind.SILENCE:
            await asyncio.Event().wait()  # until the client gives up
        if fault.kind is Kind.SLOW or (fault.kind is Kind.DELAY and fault.accept):
            await asyncio.sleep(fault.seconds)
        if fault.kind is Kind.DRIP:
            await _drip(server, answer[:-1])
            return answer[-1:]
        return answer

    async def handle_exception(self, _error: Exception) -> str:
        """The log could not be written: nothing was accepted."""
        return "451 4.3.0 local error"

    async def _take(self, envelope: Envelope, to: str) -> str:
        content = envelope.original_content or b""
        asked = {option.upper() for option in envelope.mail_options}
        utf8 = "SMTPUTF8" in asked
        refused = refused_bytes(content, eight_bit="BODY=8BITMIME" in asked, utf8=utf8)
        mail = parsed(content)
        refused = refused or refused_mail(mail)
        if refused is not None:
            return self._refuse(to, str(refused))
        try:
            content_of = described(mail)
        except (LookupError, ValueError):
            return self._refuse(to, "554 5.6.0 unknown character set")
        kept = await self._world.log.append(_record(envelope, to, content_of), lambda seq: f"4SBX{seq:08X}")
        self._world.count("smtp", "accepted")
        return f"250 2.0.0 Ok: queued as {kept['id']}"

    def _told(self, server: SMTP, to: str, fault: Fault) -> str:
        status = fault.status or 451
        if status == 421:  # noqa: PLR2004  # the server says that it hangs up, and does
            asyncio.get_running_loop().call_later(0.05, _close, server)
        return self._refuse(to, " ".join(str(part) for part in (status, fault.code, "told to fail") if part))

    def _refuse(self, to: str, answer: str) -> str:
        self._world.count("smtp", "refused")
        self._world.refused("smtp", to, int(answer[:3]), answer[4:])
        return answer


def _record(envelope: Envelope, to: str, mail: dict[str, Any]) -> dict[str, Any]:
    return {
        "time": time.time(),
        "provider": "smtp",
        "to": to,
        "collapse_key": None,
        "expires_at": None,
        "sender": envelope.mail_from,
        **mail,
        "request": {"mail_from": envelope.mail_from, "rcpt_to": to, "options": envelope.mail_options},
    }


def _cut(server: SMTP) -> None:
    """RST in the middle of a transaction."""
    reset(cast("asyncio.Transport", server.transport))  # uvloop's is one in all but name
    raise ConnectionResetError


async def _drip(server: SMTP, answer: str) -> None:
    """Write at one byte a second, for as long as somebody listens."""
    for byte in answer.encode():
        transport = cast("asyncio.Transport | None", server.transport)
        if transport is None or transport.is_closing():
            return
        transport.write(bytes([byte]))
        await asyncio.sleep(1.0)


def _close(server: SMTP) -> None:
    if server.transport is not None:
        server.transport.close()
