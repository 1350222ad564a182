"""One connection to a mail server, and one mail through it: every reply and every failure with its stage.

aiosmtplib speaks the protocol; the steps of a transaction are taken one by one, because its own ``sendmail`` does not
say whether a connection was lost before the final dot (nothing was accepted) or after it (nobody knows).
"""

from __future__ import annotations

import ssl
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from aiosmtplib import SMTP
from aiosmtplib.errors import (
    SMTPException,
    SMTPResponseException,
    SMTPServerDisconnected,
    SMTPTimeoutError,
)

from orchestrator.channel.email.smtp_errors import Reply, Stage

_READY, _OK, _GO_ON, _CLOSING = 220, 250, 354, 421


class Tls(StrEnum):
    """How a connection is protected."""

    STARTTLS = "starttls"
    IMPLICIT = "implicit"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Server:
    """Where to, as whom, and how long to wait. ``hello``: the name given at EHLO; ``final``: after the final dot."""

    host: str
    port: int
    tls: Tls
    hello: str
    timeout: timedelta
    final: timedelta
    username: str | None = None
    password: str | None = None
    context: ssl.SSLContext | None = None


@dataclass(frozen=True, slots=True)
class Broke:
    """A transaction that ended without a reply. From ``Stage.DOT`` on the mail may have been accepted."""

    stage: Stage
    failure: str


class Unfit(StrEnum):
    """What this server does not offer, and we cannot do without."""

    STARTTLS = "no_starttls"
    AUTH = "no_auth"
    UTF8 = "no_smtputf8"
    SIZE = "over_size"


Ended = Reply | Broke | Unfit


class Connection:
    """One connection. ``carried`` counts its transactions; whoever holds it is the only one to use it."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._seconds = server.timeout.total_seconds()
        tls = server.tls
        self._client = SMTP(
            hostname=server.host,
            port=server.port,
            use_tls=tls is Tls.IMPLICIT,
            start_tls=False,  # taken step by step in ``open``
            local_hostname=server.hello,
            timeout=self._seconds,
            tls_context=server.context,
        )
        self.carried = 0

    @property
    def open(self) -> bool:
        """Whether the server has not hung up, so far as we know."""
        return self._client.is_connected

    async def connect(self) -> Reply | Broke | Unfit | None:
        """Connect, encrypt, authenticate; None when it is ready."""
        try:
            return await self._connect()
        except SMTPResponseException as error:
            found: Reply | Broke = Reply(Stage.CONNECT, error.code, error.message)
        except SMTPTimeoutError:
            found = Broke(Stage.CONNECT, "connect_timeout")
        except ssl.SSLError:
            found = Broke(Stage.CONNECT, "tls")
        except (SMTPException, OSError) as error:
            found = Broke(Stage.CONNECT, "tls" if isinstance(error.__cause__, ssl.SSLError) else "connect")
        self._client.close()
        return found

    async def _connect(self) -> Unfit | None:
        client, server = self._client, self._server
        await client.connect()
        await client.ehlo()
        if server.tls is Tls.STARTTLS:
            if not client.supports_extension("starttls"):
                return self._unfit(Unfit.STARTTLS)
            await client.starttls()
            await client.ehlo()
        if server.username is not None:
            if not client.supported_auth_methods:
                return self._unfit(Unfit.AUTH)
            await client.login(server.username, server.password or "")
        return None

    def _unfit(self, what: Unfit) -> Unfit:
        self.hang_up()
        return what

    async def reset(self) -> bool:
        """RSET: whether the server is still there, and has forgotten the transaction before."""
        try:
            return (await self._client.execute_command(b"RSET")).code == _OK
        except (SMTPException, OSError):
            return False

    async def carry(self, sender: str, recipient: str, content: bytes, *, utf8: bool = False) -> Ended:
        """One mail to one recipient; the server's reply to the message is the last word, any other ended it early.

        ``content`` has CRLF line ends and doubled dots; ``utf8``: the recipient's address is not ASCII.
        """
        if (missing := self._missing(content, utf8=utf8)) is not None:
            return missing
        self.carried += 1
        said = await self._ask(Stage.MAIL, b"MAIL", f"FROM:<{sender}>".encode(), *self._parameters(content, utf8))
        if _positive(said):
            said = await self._ask(Stage.RCPT, b"RCPT", f"TO:<{recipient}>".encode())
        if _positive(said):
            said = await self._ask(Stage.DATA, b"DATA")
        if isinstance(said, Reply) and said.stage is Stage.DATA and said.code == _GO_ON:
            said = await self._give(content)
        if isinstance(said, Broke) or said.code == _CLOSING:
            self._client.close()
        return said

    def _missing(self, content: bytes, *, utf8: bool) -> Unfit | None:
        if utf8 and not self._client.supports_extension("smtputf8"):
            return Unfit.UTF8
        most = self._client.esmtp_extensions.get("size", "")
        return Unfit.SIZE if most.isdecimal() and 0 < int(most[:18]) < len(content) else None

    def _parameters(self, content: bytes, utf8: bool) -> list[bytes]:  # noqa: FBT001
        offers = self._client.supports_extension
        found = [f"SIZE={len(content)}".encode()] if offers("size") else []
        if utf8:
            found += [b"SMTPUTF8", *([b"BODY=8BITMIME"] if offers("8bitmime") else [])]
        return found

    async def _ask(self, stage: Stage, *words: bytes) -> Reply | Broke:
        try:
            code, text = await self._client.execute_command(*words)
        except SMTPResponseException:  # no reply of SMTP's
            return Broke(stage, "garbled")
        except SMTPTimeoutError:
            return Broke(stage, "timeout")
        except (SMTPServerDisconnected, OSError):
            return Broke(stage, "lost")
        return Reply(stage, code, text)

    async def _give(self, content: bytes) -> Reply | Broke:
        """The message and its final dot in one write. A connection known to be closed has taken nothing."""
        protocol = self._client.protocol
        if protocol is None:
            return Broke(Stage.DATA, "lost")
        try:
            protocol.write(content + b".\r\n")
        except SMTPServerDisconnected:
            return Broke(Stage.DATA, "lost")
        try:
            code, text = await protocol.read_response(self._server.final.total_seconds())
        except SMTPTimeoutError:
            return Broke(Stage.DOT, "timeout")
        except SMTPResponseException:
            return Broke(Stage.DOT, "garbled")
        except (SMTPException, OSError):
            return Broke(Stage.DOT, "lost")
        return Reply(Stage.DOT, code, text)

    def hang_up(self) -> None:
        """QUIT without waiting for the farewell."""
        with suppress(SMTPException, OSError, RuntimeError):
            if self._client.protocol is not None:
                self._client.protocol.write(b"QUIT\r\n")
        self._client.close()

    def drop(self) -> None:
        """Close at once: somebody left in the middle of a transaction."""
        self._client.close()


def _positive(said: Reply | Broke) -> bool:
    return isinstance(said, Reply) and 200 <= said.code < 300  # noqa: PLR2004
