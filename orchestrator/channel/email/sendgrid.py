"""Mail through SendGrid's Mail Send (v3): one request per attempt, over our own transport.

There is no idempotency key, and nobody to ask: a mail whose answer was lost is held (``Ambiguity.HOLD``) until an event
of it comes to the hook ``events``, which carries our message id (``sendgrid_events``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Self

import orjson
from cryptography.hazmat.primitives.asymmetric import ec
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
)
from orchestrator.channel.callback import CallbackRequest, Heard, Refused
from orchestrator.channel.email.api_mail import AUTOMATIC, MOST_BYTES, own_mailbox, unsubscribe_headers, writer_of
from orchestrator.channel.email.sendgrid_errors import classify
from orchestrator.channel.email.sendgrid_events import ID_ARGUMENT, hear, read_key
from orchestrator.channel.email.smtp_address import Mailbox, read_mailbox
from orchestrator.channel.email.smtp_message import problems_of
from orchestrator.channel.options import FromEnvironment, problem, read_options, read_secret, safe_url, secret_of
from orchestrator.channel.rules import by_status, unanswered, unsendable
from orchestrator.channel.skew import skew_finding
from orchestrator.channel.transport import Answer, Http, NoAnswer
from orchestrator.channel.wire import Wire
from orchestrator.clock import Clock, SystemClock
from orchestrator.errors import ConfigError

BASE_URL = "https://api.sendgrid.com"
SEND, SCOPES = "/v3/mail/send", "/v3/scopes"
HOOK = "events"
_MAY_SEND = "mail.send"
_NUMBER = re.compile(r"[!-~]{1,200}")


class SendgridOptions(BaseModel):
    """What an account at SendGrid needs: a key that may ``mail.send``, and a verified sender."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    api_key_file: Path | None = None
    api_key: FromEnvironment = None
    sender: Annotated[str, Field(alias="from", min_length=3)]
    reply_to: str | None = None
    verification_key: str | None = None
    verification_key_file: Path | None = None
    categories: Annotated[tuple[Annotated[str, Field(min_length=1, max_length=255)], ...], Field(max_length=10)] = ()
    ip_pool: Annotated[str | None, Field(min_length=2, max_length=64)] = None
    tracking: bool = False
    base_url: str = BASE_URL
    timeout: Annotated[timedelta, Field(gt=timedelta(), le=timedelta(seconds=60))] = timedelta(seconds=30)
    connections: Annotated[int, Field(ge=1, le=1000)] = 64

    @model_validator(mode="after")
    def _one_key(self) -> Self:
        if self.verification_key is not None and self.verification_key_file is not None:
            raise ValueError("one of 'verification_key' and 'verification_key_file' is enough")
        return self


@dataclass(frozen=True, slots=True)
class SendgridSender:
    """Who writes, and what SendGrid is to do with every mail of the account. ``tracking``: SendGrid's own."""

    name: str
    mailbox: Mailbox
    reply_to: Mailbox | None = None
    categories: tuple[str, ...] = ()
    ip_pool: str = ""
    tracking: bool = False


def open_channel(account: str, options: Mapping[str, Any], callback_url: str) -> Channel:
    """The plugin: an account at SendGrid from its options. Its event webhook goes to ``callback_url/events``."""
    del callback_url
    given = read_options(SendgridOptions, account, options)
    return SendgridChannel(
        _sender(account, given),
        secret_of(account, given, "api_key"),
        Wire(given.timeout, connections=given.connections),
        SystemClock(),
        base_url=safe_url(account, "base_url", given.base_url),
        key=_key(account, given),
    )


def _sender(account: str, given: SendgridOptions) -> SendgridSender:
    name, mailbox = writer_of(account, given.sender)
    return SendgridSender(
        name=name,
        mailbox=mailbox,
        reply_to=None if given.reply_to is None else own_mailbox(account, "reply_to", given.reply_to),
        categories=given.categories,
        ip_pool=given.ip_pool or "",
        tracking=given.tracking,
    )


def _key(account: str, given: SendgridOptions) -> ec.EllipticCurvePublicKey | None:
    """The key that events are checked with; without one no event is believed."""
    text, field = given.verification_key, "verification_key"
    if given.verification_key_file is not None:
        field = "verification_key_file"
        text = read_secret(account, field, given.verification_key_file)
    if text is None:
        return None
    key = read_key(text.strip())
    if key is None:
        hint = "copy it from SendGrid: Settings, Mail Settings, Event Webhook, Signature Verification"
        raise ConfigError([problem(account, field, "is no verification key", hint)])
    return key


class SendgridChannel:
    """One account at SendGrid; also reads and checks its event webhook."""

    channel = "email"
    provider = "sendgrid"
    kinds = frozenset({"mailbox"})
    ambiguity = Ambiguity.HOLD

    def __init__(
        self,
        sender: SendgridSender,
        api_key: str,
        transport: Http,
        clock: Clock,
        *,
        base_url: str = BASE_URL,
        key: ec.EllipticCurvePublicKey | None = None,
    ) -> None:
        self.timeout = transport.timeout + timedelta(seconds=3)  # waiting for a connection comes on top
        self._sender = sender
        self._headers = {"authorization": f"Bearer {api_key}", "content-type": "application/json"}
        self._transport = transport
        self._clock = clock
        self._base_url = base_url
        self._key = key

    async def send(self, envelope: Envelope) -> Outcome:
        """One request; none for what cannot be sent."""
        payload = envelope.payload
        if (reasons := self.problems(payload)) or not isinstance(payload, EmailPayload):
            return unsendable(reasons)
        to = read_mailbox(envelope.address)
        if to is None:
            return Outcome(OutcomeClass.DROP_ADDRESS, "no_mailbox", may_have_left=False)
        if to.utf8:  # SendGrid has no SMTPUTF8; a mail server of one's own might
            return Outcome(OutcomeClass.DROP_MESSAGE, "no_smtputf8", may_have_left=False)
        body = orjson.dumps(request_body(self._sender, envelope.message_id, to, payload))
        answer = await self._transport.request(
            "POST", self._base_url + SEND, headers=self._headers, body=body, begin_by=envelope.begin_by
        )
        return self._outcome(answer, (envelope.address, to.text, payload.subject, payload.text))

    def problems(self, payload: Payload) -> list[str]:
        """Why SendGrid would refuse this payload whoever it went to."""
        if not isinstance(payload, EmailPayload):
            return ["a mail account carries mails only"]
        return problems_of(payload, MOST_BYTES)

    async def reconcile(self, inquiry: Inquiry) -> Outcome | None:
        """SendGrid's list of mails is sold apart, and says nothing for minutes; the event of the mail tells."""
        del inquiry
        return None

    async def hear(self, request: CallbackRequest) -> Heard | Refused:
        """The hook ``events``: an array of what happened, signed."""
        if request.hook != HOOK or self._key is None:
            return Refused.FORGED
        return hear(self._key, request, self._clock.machine())

    async def check(self) -> Sequence[Finding]:
        """Whether SendGrid knows our key, and it may send."""
        answer = await self._transport.request("GET", self._base_url + SCOPES, headers=self._headers)
        if isinstance(answer, NoAnswer):
            return [
                Finding(Health.BROKEN, f"SendGrid cannot be reached: {answer.failure}", "check network and base_url")
            ]
        skew = skew_finding(answer.headers, self._clock.machine())
        deaf = [] if self._key is not None else [_DEAF]
        return [*([skew] if skew else []), _finding(answer), *deaf]

    async def close(self) -> None:
        """Let go of connections."""
        await self._transport.close()

    def _outcome(self, answer: Answer | NoAnswer, private: Iterable[str]) -> Outcome:
        if isinstance(answer, NoAnswer):
            return unanswered(answer)
        if 200 <= answer.status < 300:  # noqa: PLR2004  # as HTTP has it
            number = answer.headers.get("x-message-id", "")
            if not _NUMBER.fullmatch(number):
                return by_status(answer.status)
            return Outcome(OutcomeClass.ACCEPTED, str(answer.status), provider_id=number)
        return classify(answer, self._clock.machine(), private)


_DEAF = Finding(Health.WARNING, "no verification key: events are not heard", "set verification_key")


def _finding(answer: Answer) -> Finding:
    try:
        scopes = orjson.loads(answer.body)["scopes"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        scopes = None
    if answer.status != 200 or not isinstance(scopes, list):  # noqa: PLR2004  # as HTTP has it
        return Finding(Health.BROKEN, f"SendGrid refuses the key: {answer.status}", "check the API key and base_url")
    if _MAY_SEND not in scopes:
        return Finding(Health.BROKEN, "the key may not send", "give it the scope mail.send")
    return Finding(Health.FINE, "the key may send")


def request_body(sender: SendgridSender, message_id: str, to: Mailbox, payload: EmailPayload) -> dict[str, Any]:
    """The JSON of one ``mail/send`` to one recipient."""
    body: dict[str, Any] = {
        "personalizations": [{"to": [{"email": to.text}], "custom_args": {ID_ARGUMENT: message_id}}],
        "from": {"email": sender.mailbox.text} | ({"name": sender.name} if sender.name else {}),
        "subject": payload.subject,
        "content": [{"type": "text/plain", "value": payload.text}, {"type": "text/html", "value": payload.html}],
        "headers": {**AUTOMATIC, **unsubscribe_headers(payload.unsubscribe)},
        "tracking_settings": {
            "click_tracking": {"enable": sender.tracking, "enable_text": False},
            "open_tracking": {"enable": sender.tracking},
            "subscription_tracking": {"enable": False},  # it would put its own address in List-Unsubscribe
        },
    }
    if sender.reply_to is not None:
        body["reply_to"] = {"email": sender.reply_to.text}
    if sender.categories:
        body["categories"] = list(dict.fromkeys(sender.categories))
    if sender.ip_pool:
        body["ip_pool_name"] = sender.ip_pool
    return body
