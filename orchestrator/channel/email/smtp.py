"""Mail through an SMTP server: one recipient a transaction, one transaction an attempt, over connections that are kept.

There is no idempotency key, and nobody to ask: a mail whose answer was lost after its final dot is held
(``Ambiguity.HOLD``). Its Message-ID stays the same, so that a resend an operator orders can at least be recognised.
Delivery to the world is the relay's business; DKIM too, unless the account has a key of its own.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from email.utils import parseaddr
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from orchestrator.channel.base import (
    Ambiguity,
    Channel,
    EmailPayload,
    Envelope,
    Finding,
    Health,
    Inquiry,
    Outcome,
    OutcomeClass,
    Payload,
    Scope,
)
from orchestrator.channel.callback import Postmark
from orchestrator.channel.email.smtp_address import Mailbox, read_mailbox
from orchestrator.channel.email.smtp_connection import Connection, Ended, Server, Tls, Unfit
from orchestrator.channel.email.smtp_domains import DomainBrakes
from orchestrator.channel.email.smtp_errors import Reply, Stage, classify
from orchestrator.channel.email.smtp_message import Sender, Writer, problems_of, safe_name
from orchestrator.channel.email.smtp_pool import Pool
from orchestrator.channel.email.smtp_signing import Signer
from orchestrator.channel.email.smtp_transaction import Broke
from orchestrator.channel.options import problem, read_file, read_options, read_secret
from orchestrator.channel.rules import unsendable
from orchestrator.clock import Clock, SystemClock
from orchestrator.errors import ConfigError

if TYPE_CHECKING:
    from orchestrator.channel.email.smtp_dkim import DkimSigner

MOST_BYTES = 10_000_000
"""Of text and HTML together: more is refused everywhere. (Gmail shows 102 KB of a mail and cuts the rest off.)"""
_PORTS = {Tls.STARTTLS: 587, Tls.IMPLICIT: 465, Tls.NONE: 25}
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_COMMANDS = 8
"""Waits of one send before the final dot: a connection to take, greeting, EHLO, TLS, AUTH, RSET, MAIL, RCPT."""
_LEAST_KEY = 16
_QUEUE_ID = re.compile(r"queued as ([\w.\-]{1,100})")

_SPAN = Annotated[timedelta, Field(gt=timedelta(), le=timedelta(minutes=5))]


class SmtpOptions(BaseModel):
    """What an account at a mail server needs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: Annotated[str, Field(min_length=1, pattern=r"^[A-Za-z0-9.:\-]+$")]
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    tls: Tls = Tls.STARTTLS
    username: str | None = None
    password_file: Path | None = None
    sender: Annotated[str, Field(alias="from", min_length=3)]
    reply_to: str | None = None
    bounce: str | None = None
    verp_key_file: Path | None = None
    unsubscribe_mailto: str | None = None
    dkim_key_file: Path | None = None
    dkim_selector: Annotated[str | None, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._\-]{0,62}$")] = None
    dkim_domain: Annotated[str | None, Field(pattern=r"^[A-Za-z0-9.\-]+$")] = None
    ca_file: Path | None = None
    hello: Annotated[str | None, Field(pattern=r"^[A-Za-z0-9.\-]+$")] = None
    connections: Annotated[int, Field(ge=1, le=200)] = 32
    timeout: _SPAN = timedelta(seconds=30)
    final_timeout: Annotated[timedelta, Field(gt=timedelta(), le=timedelta(minutes=10))] = timedelta(minutes=2)

    @model_validator(mode="after")
    def _together(self) -> Self:
        if (self.username is None) != (self.password_file is None):
            raise ValueError("'username' and 'password_file' go together")
        if self.tls is Tls.NONE and self.host not in _LOOPBACK:
            raise ValueError("'tls: none' is for a server on this machine alone; use starttls or implicit")
        if self.verp_key_file is None and (self.bounce or self.unsubscribe_mailto):
            raise ValueError("'bounce' and 'unsubscribe_mailto' need 'verp_key_file': unsigned mail is not believed")
        signs = self.dkim_selector is not None
        if signs != (self.dkim_key_file is not None) or (self.dkim_domain and not signs):
            raise ValueError("'dkim_key_file' and 'dkim_selector' go together; 'dkim_domain' needs both")
        return self


def open_channel(account: str, options: Mapping[str, Any], callback_url: str) -> Channel:
    """The plugin: a mail server from its options. Bounces come back at ``callback_url/mail`` (web.mail)."""
    del callback_url
    given = read_options(SmtpOptions, account, options)
    sender = _sender(account, given)
    server = Server(
        host=given.host,
        port=given.port or _PORTS[given.tls],
        tls=given.tls,
        hello=given.hello or sender.mailbox.domain,
        timeout=given.timeout,
        final=given.final_timeout,
        username=given.username,
        password=read_secret(account, "password_file", given.password_file) if given.password_file else None,
        context=_context(account, given),
    )
    writer = Writer(sender, signer := _signer(account, given), _dkim(account, given, sender))
    return SmtpChannel(writer, signer, Pool(server, given.connections), server, SystemClock())


def _dkim(account: str, given: SmtpOptions, sender: Sender) -> DkimSigner | None:
    if given.dkim_key_file is None or given.dkim_selector is None:
        return None
    from orchestrator.channel.email.smtp_dkim import DkimSigner, read_key  # a DNS client comes with it: 2 MB

    try:
        key = read_key(read_file(account, "dkim_key_file", given.dkim_key_file))
    except ValueError as error:
        raise ConfigError([problem(account, "dkim_key_file", str(error), "openssl genrsa 2048")]) from None
    return DkimSigner(given.dkim_domain or sender.mailbox.domain, given.dkim_selector, key)


def _context(account: str, given: SmtpOptions) -> ssl.SSLContext | None:
    """Certificates are always checked: against the system's authorities, or your own."""
    if given.tls is Tls.NONE:
        return None
    try:
        return ssl.create_default_context(cafile=given.ca_file)
    except (OSError, ssl.SSLError):
        message = f"cannot read certificates from {given.ca_file}"
        raise ConfigError([problem(account, "ca_file", message, "a PEM file")]) from None


def _sender(account: str, given: SmtpOptions) -> Sender:
    name, address = parseaddr(given.sender)
    if not safe_name(given.sender):
        raise ConfigError([problem(account, "from", "a control character in the name")])
    return Sender(
        account=account,
        name=name,
        mailbox=_mailbox(account, "from", address),
        reply_to=_mailbox(account, "reply_to", given.reply_to) if given.reply_to else None,
        bounce=_mailbox(account, "bounce", given.bounce) if given.bounce else None,
        unsubscribe_mailto=(
            _mailbox(account, "unsubscribe_mailto", given.unsubscribe_mailto) if given.unsubscribe_mailto else None
        ),
    )


def _mailbox(account: str, field: str, address: str) -> Mailbox:
    found = read_mailbox(address)
    if found is None or found.utf8:
        raise ConfigError([problem(account, field, "is no mailbox", "write it as name@example.com")])
    return found


def _signer(account: str, given: SmtpOptions) -> Signer:
    if given.verp_key_file is None:
        return Signer(None)
    key = read_file(account, "verp_key_file", given.verp_key_file).strip()
    if len(key) < _LEAST_KEY:
        hint = "make one: openssl rand -hex 32"
        raise ConfigError([problem(account, "verp_key_file", f"a key has at least {_LEAST_KEY} bytes", hint)])
    return Signer(key)


class SmtpChannel:
    """One account at one mail server; also knows its own signature on mail that comes back."""

    channel = "email"
    provider = "smtp"
    kinds = frozenset({"mailbox"})
    ambiguity = Ambiguity.HOLD

    def __init__(self, writer: Writer, signer: Signer, pool: Pool, server: Server, clock: Clock) -> None:
        self.timeout = _COMMANDS * server.timeout + server.final
        self._writer = writer
        self._signer = signer
        self._pool = pool
        self._server = server
        self._clock = clock
        self._brakes = DomainBrakes(clock.monotonic)

    async def send(self, envelope: Envelope) -> Outcome:
        """One transaction; none at all for what cannot be sent, or to a domain that asked us to wait."""
        payload = envelope.payload
        if (reasons := self.problems(payload)) or not isinstance(payload, EmailPayload):
            return unsendable(reasons)
        to = read_mailbox(envelope.address)
        if to is None:
            return Outcome(OutcomeClass.DROP_ADDRESS, "no_mailbox", may_have_left=False)
        if (wait := self._brakes.wait(to.domain)) is not None:
            return Outcome(OutcomeClass.RETRY_AFTER, "domain_slowed", retry_after=wait, may_have_left=False)
        mail = self._writer.write(envelope.message_id, to, payload, self._clock.machine())
        ended = await self._pool.carry(mail.sender, to.text, mail.content, utf8=to.utf8, begin_by=envelope.begin_by)
        private = (envelope.address, to.text, mail.sender, payload.subject, payload.text)
        outcome = _outcome(ended, mail.message_id, private)
        self._brakes.heard(to.domain, outcome)
        return outcome

    def problems(self, payload: Payload) -> list[str]:
        """Why no server would take this payload, or none should be given it."""
        if not isinstance(payload, EmailPayload):
            return ["a mail account carries mails only"]
        return problems_of(payload, MOST_BYTES)

    async def reconcile(self, inquiry: Inquiry) -> Outcome | None:
        """SMTP cannot be asked what became of a mail; a bounce, an open or a click may still tell."""
        del inquiry
        return None

    def postmarks(self, text: str) -> list[Postmark]:
        """Every message of this account that a returning mail names under our signature."""
        return self._signer.find(text)

    async def check(self) -> Sequence[Finding]:
        """Connect, encrypt, greet and log in, and hang up again: no mail is begun."""
        connection = Connection(self._server)
        refused = await connection.connect()
        offers = connection.offers
        connection.hang_up()
        if refused is not None:
            return [Finding(Health.BROKEN, *_refusal(refused))]
        logged_in = ", the login is accepted" if self._server.username else ""
        found = [Finding(Health.FINE, f"the server answers ({self._server.tls}){logged_in}")]
        if "pipelining" not in offers:
            slow = "the server does not offer PIPELINING: a mail takes five round trips instead of two"
            found.append(Finding(Health.WARNING, slow, "raise the account's connections, or use a nearer relay"))
        return found

    async def close(self) -> None:
        """Hang up."""
        self._pool.close()


_UNFIT = {
    Unfit.STARTTLS: Outcome(OutcomeClass.STOP_CHANNEL, "no_starttls", scope=Scope.ACCOUNT, may_have_left=False),
    Unfit.AUTH: Outcome(OutcomeClass.STOP_CHANNEL, "no_auth", scope=Scope.ACCOUNT, may_have_left=False),
    Unfit.UTF8: Outcome(OutcomeClass.DROP_MESSAGE, "no_smtputf8", may_have_left=False),  # another server might take it
    Unfit.SIZE: Outcome(OutcomeClass.DROP_MESSAGE, "over_size", may_have_left=False),
}


def _refusal(refused: Reply | Broke | Unfit) -> tuple[str, str]:
    """What went wrong on the way in, and what to do; the server's words are left out: they may quote the user name."""
    if isinstance(refused, Reply):
        return f"the server refuses with {refused.name}", "535 is a wrong user name or password; else ask its operator"
    if isinstance(refused, Unfit):
        return f"the server does not fit: {refused}", "choose another port or tls"
    return f"the server cannot be reached: {refused.failure}", "check host, port, tls and the firewall"


def _outcome(ended: Ended, message_id: str, private: tuple[str, ...]) -> Outcome:
    if isinstance(ended, Unfit):
        return _UNFIT[ended]
    if isinstance(ended, Broke):
        left = ended.stage is Stage.DOT
        kind = OutcomeClass.AMBIGUOUS if left else OutcomeClass.RETRY
        return Outcome(kind, f"{ended.failure}_{ended.stage.name.lower()}", may_have_left=left)
    if ended.stage is Stage.DOT and 200 <= ended.code < 300:  # noqa: PLR2004
        queued = _QUEUE_ID.search(ended.text)
        return Outcome(OutcomeClass.ACCEPTED, ended.name, provider_id=queued[1] if queued else message_id)
    outcome = classify(ended, private)
    return replace(outcome, may_have_left=outcome.kind is OutcomeClass.AMBIGUOUS)
