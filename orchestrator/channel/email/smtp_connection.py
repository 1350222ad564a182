"""One connection to a mail server, and one mail through it: every reply and every failure with its stage.

aiosmtplib opens the connection and protects it; the transaction itself is ours (:mod:`smtp_transaction`), because its
``sendmail`` neither says whether a connection was lost before the final dot (nothing was accepted) or after it (nobody
knows), nor pipelines.
"""

from __future__ import annotations

import math
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from aiosmtplib import SMTP
from aiosmtplib.errors import (
    SMTPException,
    SMTPResponseException,
    SMTPTimeoutError,
)

from orchestrator.channel.email.smtp_conversation import Conversation, LostError, taken_over
from orchestrator.channel.email.smtp_errors import Reply, Stage
from orchestrator.channel.email.smtp_transaction import Broke, Gone, Step, Transaction

_CLOSING = 421


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
        self._talk: Conversation | None = None
        self._offers: Mapping[str, str] = {}
        self._most_bytes = 0
        self.carried = 0

    @property
    def open(self) -> bool:
        """Whether the server has not hung up, so far as we know."""
        return self._talk is not None and self._talk.open

    @property
    def offers(self) -> Mapping[str, str]:
        """What the server's EHLO offered, in lower case."""
        return self._offers

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
        except (SMTPException, OSError, LostError) as error:
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
        self._offers = dict(client.esmtp_extensions)
        size = self._offers.get("size", "")
        self._most_bytes = int(size[:18]) if size.isdecimal() else 0
        self._talk = taken_over(client.protocol, client.transport, self._seconds, server.final.total_seconds())
        return None

    def _unfit(self, what: Unfit) -> Unfit:
        self._client.close()
        return what

    async def carry(
        self, sender: str, recipient: str, content: bytes, *, utf8: bool = False, begin_by: float = math.inf
    ) -> Ended | Gone:
        """One mail to one recipient; the server's reply to the message is the last word, any other ended it early.

        ``content`` has CRLF line ends and doubled dots; ``utf8``: the recipient's address is not ASCII. Nothing of the
        content is written after ``begin_by`` (``time.monotonic()``), whatever the server waits for by then. A
        connection that was kept is asked whether it is still there, in the same breath where the server lets us.
        """
        assert self._talk is not None
        if (missing := self._missing(content, utf8=utf8)) is not None:
            return missing
        kept, self.carried = self.carried > 0, self.carried + 1
        steps = self._steps(sender, recipient, content, utf8=utf8)
        together = "pipelining" in self._offers
        mail = Transaction(steps, content + b".\r\n", kept=kept, together=together, begin_by=begin_by)
        said = await self._talk.carry(mail)
        if isinstance(said, Broke | Gone) or said.code == _CLOSING or not mail.clean:
            self.drop()
        return said

    def _missing(self, content: bytes, *, utf8: bool) -> Unfit | None:
        if utf8 and "smtputf8" not in self._offers:
            return Unfit.UTF8
        return Unfit.SIZE if 0 < self._most_bytes < len(content) else None

    def _steps(self, sender: str, recipient: str, content: bytes, *, utf8: bool) -> Sequence[Step]:
        size = f" SIZE={len(content)}" if "size" in self._offers else ""
        foreign = " SMTPUTF8" + (" BODY=8BITMIME" if "8bitmime" in self._offers else "") if utf8 else ""
        return (
            (Stage.MAIL, f"MAIL FROM:<{sender}>{size}{foreign}\r\n".encode()),
            (Stage.RCPT, f"RCPT TO:<{recipient}>\r\n".encode()),
            (Stage.DATA, b"DATA\r\n"),
        )

    def hang_up(self) -> None:
        """QUIT without waiting for the farewell."""
        if self._talk is not None:
            self._talk.farewell()
        else:
            self._client.close()

    def drop(self) -> None:
        """Close at once: somebody left in the middle of a transaction."""
        if self._talk is not None:
            self._talk.close()
        else:
            self._client.close()
