"""Mail through Amazon SES v2, signed by hand: one request per attempt. Amazon's own package makes three of one.

There is no idempotency key, and nobody to ask: a mail whose answer was lost is held (``Ambiguity.HOLD``) until an event
of it comes, which carries our message id. Events come through SNS (``sns``, ``ses_events``) to the hook ``events``.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import orjson
from pydantic import BaseModel, ConfigDict, Field

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
from orchestrator.channel.callback import CallbackRequest, Heard, Refused
from orchestrator.channel.email.api_mail import LOOPBACK, own_mailbox, writer_of
from orchestrator.channel.email.ses_errors import classify, read_error
from orchestrator.channel.email.ses_events import read_event
from orchestrator.channel.email.ses_message import SesSender, problems_with, request_body
from orchestrator.channel.email.ses_quota import FRESH, Quota, findings, read_quota
from orchestrator.channel.email.sigv4 import Credentials, Signer
from orchestrator.channel.email.smtp_address import read_mailbox
from orchestrator.channel.email.sns import TOPIC, Settled, SnsDoor
from orchestrator.channel.options import FromEnvironment, read_options, read_secret, safe_url, secret_of
from orchestrator.channel.rules import by_status, unanswered, unsendable
from orchestrator.channel.skew import skew_finding
from orchestrator.channel.transport import Answer, Http, NoAnswer, Transport
from orchestrator.channel.wire import Wire
from orchestrator.clock import Clock, SystemClock

SEND, ACCOUNT = "/v2/email/outbound-emails", "/v2/email/account"
HOOK = "events"
_SERVICE = "ses"
_SNS_TIMEOUT = timedelta(seconds=5)  # Amazon waits fifteen for our answer
_A_MOMENT = timedelta(seconds=2)
_JSON = "application/json"


class SesOptions(BaseModel):
    """What an account at SES needs: a key that may ``ses:SendEmail`` and ``ses:GetAccount``, and a verified sender."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    region: Annotated[str, Field(pattern=r"^[a-z]{2}(-[a-z]+)+-[0-9]$")]
    access_key_id: Annotated[str, Field(pattern=r"^[A-Z0-9]{16,128}$")]
    secret_access_key_file: Path | None = None
    secret_access_key: FromEnvironment = None
    session_token_file: Path | None = None
    sender: Annotated[str, Field(alias="from", min_length=3)]
    reply_to: str | None = None
    configuration_set: Annotated[str | None, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")] = None
    topic_arns: tuple[Annotated[str, Field(pattern=rf"^{TOPIC.pattern}$")], ...] = ()
    base_url: str | None = None
    timeout: Annotated[timedelta, Field(gt=timedelta(), le=timedelta(seconds=60))] = timedelta(seconds=30)
    connections: Annotated[int, Field(ge=1, le=1000)] = 64


def open_channel(account: str, options: Mapping[str, Any], callback_url: str) -> Channel:
    """The plugin: an account at SES from its options. SNS posts to ``callback_url/events``."""
    del callback_url
    given = read_options(SesOptions, account, options)
    ending = "amazonaws.com.cn" if given.region.startswith("cn-") else "amazonaws.com"
    base_url = safe_url(account, "base_url", given.base_url or f"https://email.{given.region}.{ending}")
    token = read_secret(account, "session_token_file", given.session_token_file) if given.session_token_file else ""
    credentials = Credentials(given.access_key_id, secret_of(account, given, "secret_access_key"), token)
    clock = SystemClock()
    # Only an account that itself sends to this machine believes certificates from this machine.
    own_origin = base_url if urlsplit(base_url).hostname in LOOPBACK else ""
    return SesChannel(
        _sender(account, given),
        Signer(credentials, given.region, _SERVICE),
        Wire(given.timeout, connections=given.connections),
        clock,
        base_url=base_url,
        door=SnsDoor(frozenset(given.topic_arns), Transport(_SNS_TIMEOUT, connections=4), clock, own_origin),
    )


def _sender(account: str, given: SesOptions) -> SesSender:
    name, mailbox = writer_of(account, given.sender)
    reply_to = None if given.reply_to is None else own_mailbox(account, "reply_to", given.reply_to)
    return SesSender(name, mailbox, reply_to, given.configuration_set or "")


class SesChannel:
    """One account in one region; also hears what SNS tells about its mails."""

    channel = "email"
    provider = "ses"
    kinds = frozenset({"mailbox"})
    ambiguity = Ambiguity.HOLD

    def __init__(
        self, sender: SesSender, signer: Signer, transport: Http, clock: Clock, *, base_url: str, door: SnsDoor
    ) -> None:
        self.timeout = transport.timeout + timedelta(seconds=3)  # waiting for a connection comes on top
        self._sender = sender
        self._signer = signer
        self._transport = transport
        self._clock = clock
        self._base_url = base_url
        self._door = door
        self._quota: Quota | None = None
        self._accepted = 0  # since the quota was read
        self._due = float("-inf")
        self._reading: asyncio.Task[None] | None = None

    @property
    def most_per_second(self) -> float | None:
        """``MaxSendRate``, as far as it was read; the account never goes faster, whatever its settings say."""
        return self._quota.rate if self._quota is not None and self._quota.rate > 0 else None

    async def send(self, envelope: Envelope) -> Outcome:
        """One request; none for what cannot be sent, or when the quota of the day is known to be used up."""
        payload = envelope.payload
        if (reasons := self.problems(payload)) or not isinstance(payload, EmailPayload):
            return unsendable(reasons)
        to = read_mailbox(envelope.address)
        if to is None:
            return Outcome(OutcomeClass.DROP_ADDRESS, "no_mailbox", may_have_left=False)
        if to.utf8:  # SES has no SMTPUTF8; a mail server of one's own might
            return Outcome(OutcomeClass.DROP_MESSAGE, "no_smtputf8", may_have_left=False)
        self._read_quota_soon()
        if (wait := self._quota_wait()) is not None:
            return Outcome(OutcomeClass.RETRY_AFTER, "quota_used_up", None, wait, Scope.ACCOUNT, may_have_left=False)
        body = orjson.dumps(request_body(self._sender, envelope.message_id, to, payload))
        answer = await self._ask("POST", SEND, body, envelope.begin_by)
        return self._outcome(answer, (envelope.address, to.text, payload.subject, payload.text))

    def problems(self, payload: Payload) -> list[str]:
        """Why SES would refuse this payload whoever it went to."""
        if not isinstance(payload, EmailPayload):
            return ["a mail account carries mails only"]
        return problems_with(payload)

    async def reconcile(self, inquiry: Inquiry) -> Outcome | None:
        """SES finds mails by its own id alone, which is what was lost; the event of the mail tells."""
        del inquiry
        return None

    async def hear(self, request: CallbackRequest) -> Heard | Refused:
        """The hook ``events``: what SNS brings, and the confirmation of the subscription."""
        if request.hook != HOOK:
            return Refused.FORGED
        admitted = await self._door.admit(request.body)
        if isinstance(admitted, Refused):
            return admitted
        if isinstance(admitted, Settled):
            return Heard()
        try:
            event = orjson.loads(admitted.message)
        except orjson.JSONDecodeError:
            event = None  # "Successfully validated SNS topic for Amazon SES event publishing."
        return Heard(read_event(event, admitted.number, admitted.sent_at) if isinstance(event, dict) else [])

    async def check(self) -> Sequence[Finding]:
        """Whether Amazon knows us, and lets us send."""
        answer = await self._ask("GET", ACCOUNT, b"")
        if isinstance(answer, NoAnswer):
            return [Finding(Health.BROKEN, f"SES cannot be reached: {answer.failure}", "check network and region")]
        skew = skew_finding(answer.headers, self._clock.machine())
        deaf = not self._sender.configuration_set or not self._door.topics
        return [*([skew] if skew else []), *_findings(answer), *([_DEAF] if deaf else [])]

    async def close(self) -> None:
        """Let go of connections."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        await self._transport.close()
        await self._door.close()

    async def _ask(self, method: str, path: str, body: bytes, begin_by: float = math.inf) -> Answer | NoAnswer:
        url = self._base_url + path
        headers = self._signer.headers(method, url, body, _JSON if body else "", self._clock.machine())
        return await self._transport.request(method, url, headers=headers, body=body or None, begin_by=begin_by)

    def _outcome(self, answer: Answer | NoAnswer, private: Iterable[str]) -> Outcome:
        if isinstance(answer, NoAnswer):
            return unanswered(answer)
        if 200 <= answer.status < 300:  # noqa: PLR2004  # as HTTP has it
            number = _message_id(answer)
            if not number:
                return by_status(answer.status)
            self._accepted += 1
            return Outcome(OutcomeClass.ACCEPTED, str(answer.status), provider_id=number)
        return classify(answer, self._clock.machine(), private)

    def _read_quota_soon(self) -> None:
        """At the first mail, and every five minutes: beside the mails, which do not wait for it."""
        if self._clock.monotonic() < self._due or (self._reading is not None and not self._reading.done()):
            return
        self._due = self._clock.monotonic() + FRESH.total_seconds()
        self._reading = asyncio.create_task(self._read_quota())

    async def _read_quota(self) -> None:
        answer = await self._ask("GET", ACCOUNT, b"")
        found = read_quota(answer.body) if isinstance(answer, Answer) and answer.status == 200 else None  # noqa: PLR2004
        if found is not None:  # a key that may not read it sends all the same
            self._quota, self._accepted = found, 0

    def _quota_wait(self) -> timedelta | None:
        """How long until the quota has been read again, when it is used up."""
        if self._quota is None or not self._quota.used_up(self._accepted):
            return None
        if self._reading is not None and not self._reading.done():
            return _A_MOMENT
        return timedelta(seconds=max(self._due - self._clock.monotonic(), 1.0))


_DEAF = Finding(Health.WARNING, "no receipts are heard", "set configuration_set and topic_arns")


def _message_id(answer: Answer) -> str:
    try:
        number = orjson.loads(answer.body)["MessageId"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return ""
    return number if isinstance(number, str) and number.isascii() and len(number) <= 200 else ""  # noqa: PLR2004


def _findings(answer: Answer) -> list[Finding]:
    quota = read_quota(answer.body) if answer.status == 200 else None  # noqa: PLR2004  # as HTTP has it
    if quota is not None:
        return list(findings(quota))
    name = read_error(answer).name
    if name == "AccessDeniedException":
        return [Finding(Health.WARNING, "this key may not read the account", "allow ses:GetAccount")]
    hint = "check region, access_key_id and the secret access key"
    return [Finding(Health.BROKEN, f"SES refuses: {answer.status} {name}".strip(), hint)]
