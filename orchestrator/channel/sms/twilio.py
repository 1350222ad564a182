"""SMS through Twilio Programmable Messaging, with Twilio's package over our transport: one request per call, no retry.

There is no idempotency key: a message whose answer was lost is held (``Ambiguity.HOLD``) until ``reconcile`` finds it,
or finds that it never arrived, in Twilio's list of messages.
"""

from __future__ import annotations

import logging
import math
from base64 import b64encode
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import urlencode, urlsplit

from pydantic import BaseModel, ConfigDict, Field, model_validator
from twilio.base import values
from twilio.http import AsyncHttpClient
from twilio.http.response import Response
from twilio.rest import Client
from typing_extensions import override

from orchestrator.channel.base import (
    Ambiguity,
    Channel,
    Envelope,
    Finding,
    Inquiry,
    Outcome,
    OutcomeClass,
    Payload,
    SmsPayload,
)
from orchestrator.channel.callback import CallbackRequest, Heard, Refused
from orchestrator.channel.options import FromEnvironment, problem, read_options, read_secret, safe_url, secret_of
from orchestrator.channel.rules import by_status, unanswered, unsendable
from orchestrator.channel.sms.twilio_account import account_findings
from orchestrator.channel.sms.twilio_callbacks import Signature, hear
from orchestrator.channel.sms.twilio_errors import classify
from orchestrator.channel.transport import ANSWER_LIMIT, Answer, Failure, Http, NoAnswer
from orchestrator.channel.wire import Wire
from orchestrator.clock import Clock, SystemClock
from orchestrator.errors import ConfigError

BASE_URL = "https://api.twilio.com"
BODY_LIMIT = 1600
_REQUEST_TIMEOUT = timedelta(seconds=15)
_VALID_LEAST, _VALID_MOST = 5, 36_000
_PAGES, _PAGE_SIZE = 3, 50
_LIST_LIMIT = 1024 * 1024  # fifty long messages in escaped Chinese
_CLOCKS_APART = timedelta(minutes=2)  # between Twilio and us, generously
_DAY = timedelta(days=1)


class TwilioOptions(BaseModel):
    """What an account at Twilio needs: who we are, and a sender or a messaging service."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    account_sid: Annotated[str, Field(pattern=r"^AC[0-9a-fA-F]{32}$")]
    auth_token_file: Path | None = None
    auth_token: FromEnvironment = None
    sender: Annotated[str | None, Field(alias="from", min_length=3)] = None
    messaging_service_sid: Annotated[str | None, Field(pattern=r"^MG[0-9a-fA-F]{32}$")] = None
    signing_key_file: Path | None = None
    base_url: str = BASE_URL
    timeout: Annotated[timedelta, Field(gt=timedelta(), le=timedelta(seconds=60))] = _REQUEST_TIMEOUT

    @model_validator(mode="after")
    def _has_sender(self) -> Self:
        if self.sender is None and self.messaging_service_sid is None:
            raise ValueError("one of 'from' and 'messaging_service_sid' is required")
        return self


def open_channel(account: str, options: Mapping[str, Any], callback_url: str) -> Channel:
    """The plugin: a Twilio account from its options. Status callbacks go to ``callback_url/status``."""
    given = read_options(TwilioOptions, account, options)
    base_url = safe_url(account, "base_url", given.base_url)
    token = secret_of(account, given, "auth_token")
    key = read_secret(account, "signing_key_file", given.signing_key_file) if given.signing_key_file else None
    if "_" in (urlsplit(callback_url).hostname or ""):
        raise ConfigError([problem(account, "", "Twilio calls no host with an underscore", "change public_url")])
    return TwilioChannel(
        given.model_copy(update={"base_url": base_url}),
        token,
        Wire(given.timeout),
        SystemClock(),
        signature=Signature(token, key),
        callback_url=callback_url,
    )


class _NotAcceptedError(Exception):
    """Carries what Twilio's package would hide (headers, whether the request left) past it."""

    def __init__(self, answer: Answer | NoAnswer) -> None:
        super().__init__()
        self.answer = answer


_BEGIN_BY: ContextVar[float] = ContextVar("begin_by", default=math.inf)
"""Of the message that is being sent: past Twilio's package, which has no place for it."""


class _OverTransport(AsyncHttpClient):  # type: ignore[misc]  # the package has no types
    """Twilio's own client over our transport: its default one hangs for ever, and logs bodies and numbers."""

    def __init__(self, transport: Http, base_url: str) -> None:
        super().__init__(logging.getLogger(__name__), is_async=True, timeout=transport.timeout.total_seconds())
        self._transport = transport
        self._base_url = base_url

    @override
    async def request(
        self,
        method: str,
        uri: str,
        params: dict[str, object] | None = None,
        data: dict[str, object] | None = None,
        headers: dict[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        timeout: float | None = None,
        allow_redirects: bool = False,
    ) -> Response:
        if not uri.startswith(f"{self._base_url}/"):  # a page's next link: credentials do not follow it elsewhere
            raise _NotAcceptedError(NoAnswer(Failure.REQUEST, left=False))
        url = f"{uri}?{urlencode(params, doseq=True)}" if params else uri
        body = urlencode(data, doseq=True).encode() if data else None
        limit = ANSWER_LIMIT if body else _LIST_LIMIT
        answer = await self._transport.request(
            method, url, headers=_with_auth(headers, auth), body=body, limit=limit, begin_by=_BEGIN_BY.get()
        )
        if isinstance(answer, NoAnswer) or not 200 <= answer.status < 300 or not answer.whole:  # noqa: PLR2004
            raise _NotAcceptedError(answer)
        return Response(answer.status, answer.body.decode(errors="replace"), dict(answer.headers))


class TwilioChannel:
    """One account at Twilio; also reads and checks its callbacks."""

    channel = "sms"
    provider = "twilio"
    kinds = frozenset({"phone"})
    ambiguity = Ambiguity.HOLD

    def __init__(
        self,
        options: TwilioOptions,
        auth_token: str,
        transport: Http,
        clock: Clock,
        *,
        signature: Signature,
        callback_url: str = "",
    ) -> None:
        self.timeout = transport.timeout + timedelta(seconds=3)  # waiting for a connection comes on top
        self._options = options
        self._transport = transport
        self._clock = clock
        self._signature = signature
        self._callback_url = callback_url
        self._auth_token = auth_token
        http = _OverTransport(transport, options.base_url)
        # The package reads region and edge from the environment, and would send elsewhere: it gets one of ours.
        client = Client(options.account_sid, auth_token, http_client=http, environment={"TWILIO_REGION": ""})
        client.api.base_url = options.base_url
        self._messages = client.messages

    async def send(self, envelope: Envelope) -> Outcome:
        """One request. What Twilio's package cannot read of an acceptance is ambiguous."""
        payload = envelope.payload
        if (reasons := self.problems(payload)) or not isinstance(payload, SmsPayload):
            return unsendable(reasons)
        until = _BEGIN_BY.set(envelope.begin_by)
        try:
            message = await self._messages.create_async(**self._fields(envelope, payload))
        except _NotAcceptedError as error:
            return self._refusal(error.answer, envelope, payload)
        except Exception:  # noqa: BLE001  # a 2xx that is not what the package expects
            return Outcome(OutcomeClass.AMBIGUOUS, code="unreadable")
        finally:
            _BEGIN_BY.reset(until)  # what this task asks next is not bound by it
        if not _is_sid(message.sid):
            return Outcome(OutcomeClass.AMBIGUOUS, code="no_sid")
        return Outcome(OutcomeClass.ACCEPTED, code=str(message.status or ""), provider_id=message.sid)

    def problems(self, payload: Payload) -> list[str]:
        """Why Twilio would refuse this payload whoever it went to."""
        if not isinstance(payload, SmsPayload):
            return ["an SMS account carries SMS payloads only"]
        found = [] if payload.body.strip() else ["empty body"]
        if len(payload.body) > BODY_LIMIT:
            found.append(f"{len(payload.body)} characters; Twilio takes {BODY_LIMIT}")
        if any("\ud800" <= character <= "\udfff" for character in payload.body):
            found.append("half of a character (a lone surrogate) in the text")
        return found

    async def reconcile(self, inquiry: Inquiry) -> Outcome | None:
        """Look for the message in Twilio's list. ``sent_at`` is compared with Twilio's clock: machine time.

        First among those sent since; then among all to this number, since one still queued has no date yet.
        """
        if not isinstance(inquiry.payload, SmsPayload):
            return None
        try:
            found = await self._find(inquiry, inquiry.payload.body, inquiry.sent_at - _DAY)
            if isinstance(found, bool):
                found = await self._find(inquiry, inquiry.payload.body, None)
        except Exception:  # noqa: BLE001  # the package raises many things; none of them is an answer
            return None
        if isinstance(found, str):
            return Outcome(OutcomeClass.ACCEPTED, code="reconciled", provider_id=found)
        return Outcome(OutcomeClass.DROP_MESSAGE, code="never_arrived") if found else None

    async def hear(self, request: CallbackRequest) -> Heard | Refused:
        """Status callbacks, where the query's ``m`` is our message id, and what people write back."""
        return hear(self._signature, request)

    async def check(self) -> Sequence[Finding]:
        """Ask Twilio for the account itself: are the credentials good, is it active."""
        options = self._options
        url = f"{options.base_url}/2010-04-01/Accounts/{options.account_sid}.json"
        headers = _with_auth({"accept": "application/json"}, (options.account_sid, self._auth_token))
        answer = await self._transport.request("GET", url, headers=headers)
        return account_findings(answer, self._clock.machine())

    async def close(self) -> None:
        """Let go of connections."""
        await self._transport.close()

    def _fields(self, envelope: Envelope, payload: SmsPayload) -> dict[str, object]:
        seconds = int(envelope.ttl.total_seconds())
        callback = f"{self._callback_url}/status?m={envelope.message_id}" if self._callback_url else values.unset
        return {
            "to": envelope.address,
            "body": payload.body,
            "from_": self._options.sender or values.unset,
            "messaging_service_sid": self._options.messaging_service_sid or values.unset,
            "validity_period": min(max(seconds, _VALID_LEAST), _VALID_MOST),
            "status_callback": callback,
        }

    def _refusal(self, answer: Answer | NoAnswer, envelope: Envelope, payload: SmsPayload) -> Outcome:
        if isinstance(answer, NoAnswer):
            return unanswered(answer)
        if answer.status < 400:  # noqa: PLR2004
            return by_status(answer.status)
        return classify(answer, self._clock.machine(), (envelope.address, payload.body))

    async def _find(self, inquiry: Inquiry, body: str, since: datetime | None) -> str | bool:
        """The id of the message; True when it certainly is not there, False when that cannot be said.

        It is composed again to be looked for, and the facts in it may have changed since: another text of that very
        time to that number may be it.
        """
        earliest, doubtful = inquiry.sent_at - _CLOCKS_APART, False
        latest = inquiry.sent_at + self.timeout + _CLOCKS_APART
        page = await self._messages.page_async(
            to=inquiry.address, date_sent_after=since or values.unset, page_size=_PAGE_SIZE
        )
        for number in range(1, _PAGES + 1):
            records = list(page)
            for record in records:
                young = record.date_created is None or record.date_created >= earliest
                if young and record.body == body and _is_sid(record.sid):
                    return str(record.sid)
                doubtful |= young and (record.date_created is None or record.date_created <= latest)
            past = bool(records) and all(record.date_created and record.date_created < earliest for record in records)
            if past or not page.next_page_url:  # the newest come first
                return not doubtful
            if number < _PAGES:
                page = await page.next_page_async()
        return False


def _with_auth(headers: Mapping[str, str] | None, auth: tuple[str, str] | None) -> dict[str, str]:
    given = {name: value for name, value in (headers or {}).items() if name.lower() != "accept-charset"}
    if auth is not None:
        given["Authorization"] = "Basic " + b64encode(f"{auth[0]}:{auth[1]}".encode()).decode()
    return given


def _is_sid(sid: object) -> bool:
    return isinstance(sid, str) and sid.startswith(("SM", "MM")) and sid.isalnum() and len(sid) <= 64  # noqa: PLR2004
