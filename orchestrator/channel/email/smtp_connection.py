"""One connection to a mail server, and one mail through it: every reply and every failure with its stage.

aiosmtplib opens the connection and protects it; the transaction itself is ours, because its ``sendmail`` neither says
whether a connection was lost before the final dot (nothing was accepted) or after it (nobody knows), nor pipelines.
"""

from __future__ import annotations

import math
import ssl
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from aiosmtplib import SMTP
from aiosmtplib.errors import (
    SMTPException,
    SMTPResponseException,
    SMTPTimeoutError,
)

from orchestrator.channel.email.smtp_errors import Reply, Stage
from orchestrator.channel.email.smtp_replies import GarbledError, LostError, Replies, taken_over

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


class Gone(StrEnum):
    """A kept connection turned out to be of no more use before the mail began: nothing of it was sent."""

    IDLE = "gone"


Ended = Reply | Broke | Unfit
Step = tuple[Stage, bytes]


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
        self._replies: Replies | None = None
        self._offers: Mapping[str, str] = {}
        self.carried = 0

    @property
    def open(self) -> bool:
        """Whether the server has not hung up, so far as we know."""
        return self._replies is not None and self._replies.open

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
        self._replies = taken_over(client.protocol, client.transport)
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
        if (missing := self._missing(content, utf8=utf8)) is not None:
            return missing
        kept, self.carried = self.carried > 0, self.carried + 1
        steps = self._steps(sender, recipient, content, utf8=utf8)
        said = await (self._together(steps, kept=kept) if "pipelining" in self._offers else self._apart(steps, kept))
        if isinstance(said, Reply) and said.stage is Stage.DATA and said.code == _GO_ON:
            said = await self._give(content) if time.monotonic() < begin_by else Broke(Stage.DATA, "stale")
        if isinstance(said, Broke | Gone) or (isinstance(said, Reply) and said.code == _CLOSING):
            self.drop()
        return said

    def _missing(self, content: bytes, *, utf8: bool) -> Unfit | None:
        if utf8 and "smtputf8" not in self._offers:
            return Unfit.UTF8
        most = self._offers.get("size", "")
        return Unfit.SIZE if most.isdecimal() and 0 < int(most[:18]) < len(content) else None

    def _steps(self, sender: str, recipient: str, content: bytes, *, utf8: bool) -> Sequence[Step]:
        size = f" SIZE={len(content)}" if "size" in self._offers else ""
        foreign = " SMTPUTF8" + (" BODY=8BITMIME" if "8bitmime" in self._offers else "") if utf8 else ""
        return (
            (Stage.MAIL, f"MAIL FROM:<{sender}>{size}{foreign}\r\n".encode()),
            (Stage.RCPT, f"RCPT TO:<{recipient}>\r\n".encode()),
            (Stage.DATA, b"DATA\r\n"),
        )

    async def _apart(self, steps: Sequence[Step], kept: bool) -> Reply | Broke | Gone:  # noqa: FBT001
        """One command after the other: the first that is refused ends it."""
        if kept and not _positive(await self._ask(Stage.MAIL, b"RSET\r\n")):
            return Gone.IDLE
        said: Reply | Broke = Broke(Stage.MAIL, "lost")
        for stage, command in steps:
            said = await self._ask(stage, command)
            if not _positive(said):
                break
        return said

    async def _together(self, steps: Sequence[Step], *, kept: bool) -> Reply | Broke | Gone:
        """All commands at once (RFC 2920); all replies are read, and the first refusal is the one that counts."""
        if not self._write((b"RSET\r\n" if kept else b"") + b"".join(command for _, command in steps)):
            return Gone.IDLE if kept else Broke(Stage.MAIL, "lost")
        if kept and not _positive(await self._next(Stage.MAIL, self._seconds)):
            return Gone.IDLE
        replies = []
        for stage, _ in steps:
            replies.append(await self._next(stage, self._seconds))
            if isinstance(replies[-1], Broke):
                return _first_refusal(replies)
        refused = _first_refusal(replies)
        if refused is not replies[-1] and _goes_on(replies[-1]):
            # It waits for a mail though its recipient was refused: RFC 2920 §3.1 ends that with a single dot.
            ended = await self._ask(Stage.DATA, b".\r\n")
            if isinstance(ended, Broke):
                self.drop()
        return refused

    async def _ask(self, stage: Stage, command: bytes) -> Reply | Broke:
        return await self._next(stage, self._seconds) if self._write(command) else Broke(stage, "lost")

    def _write(self, data: bytes) -> bool:
        """Whether it may have left."""
        try:
            assert self._replies is not None
            self._replies.write(data)
        except LostError:
            return False
        return True

    async def _next(self, stage: Stage, seconds: float) -> Reply | Broke:
        assert self._replies is not None
        try:
            return Reply(stage, *(await self._replies.next(seconds)))
        except GarbledError:
            return Broke(stage, "garbled")
        except TimeoutError:
            return Broke(stage, "timeout")
        except LostError:
            return Broke(stage, "lost")

    async def _give(self, content: bytes) -> Reply | Broke:
        """The message and its final dot in one write. A connection known to be closed has taken nothing."""
        if not self._write(content + b".\r\n"):
            return Broke(Stage.DATA, "lost")
        return await self._next(Stage.DOT, self._server.final.total_seconds())

    def hang_up(self) -> None:
        """QUIT without waiting for the farewell."""
        if self._replies is not None:
            with suppress(LostError):
                self._replies.write(b"QUIT\r\n")
            self._replies.close_gently()
        else:
            self._client.close()

    def drop(self) -> None:
        """Close at once: somebody left in the middle of a transaction."""
        if self._replies is not None:
            self._replies.close()
        else:
            self._client.close()


def _positive(said: Reply | Broke) -> bool:
    return isinstance(said, Reply) and 200 <= said.code < 300  # noqa: PLR2004


def _goes_on(said: Reply | Broke) -> bool:
    return isinstance(said, Reply) and said.code == _GO_ON


def _first_refusal(replies: Sequence[Reply | Broke]) -> Reply | Broke:
    """The first reply that is no yes; the last one where all are."""
    return next((said for said in replies[:-1] if not _positive(said)), replies[-1])
