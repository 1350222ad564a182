"""Push through Firebase Cloud Messaging, HTTP v1: one request per message, one token for all, over HTTP/2.

FCM has no idempotency key: the collapse key, sent as Android's tag and APNs' collapse id as well, makes a second copy
replace the first. So a lost answer is sent again (``Ambiguity.RESEND``).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import orjson
from pydantic import BaseModel, ConfigDict, Field

from orchestrator.channel.base import (
    Ambiguity,
    Channel,
    Envelope,
    Finding,
    Inquiry,
    Outcome,
    OutcomeClass,
    Payload,
    PushPayload,
)
from orchestrator.channel.cached_token import CachedToken
from orchestrator.channel.negotiated import Negotiated
from orchestrator.channel.options import FromEnvironment, problem, read_certificates, read_options, safe_url
from orchestrator.channel.push.fcm_auth import (
    Exchange,
    ServiceAccount,
    load_service_account,
    read_service_account,
)
from orchestrator.channel.push.fcm_check import PROBE, answered, no_token
from orchestrator.channel.push.fcm_errors import classify, read_error, slow
from orchestrator.channel.push.fcm_message import message_json, problems, shape
from orchestrator.channel.retry_after import retry_after
from orchestrator.channel.rules import by_status, unanswered, unsendable
from orchestrator.channel.transport import Answer, Http, NoAnswer
from orchestrator.clock import Clock, SystemClock
from orchestrator.errors import ConfigError

BASE_URL = "https://fcm.googleapis.com"
REQUEST_TIMEOUT = timedelta(seconds=12)  # Google asks for ten at least
_TOKEN_LIMIT = timedelta(seconds=10)
_SHAPES = 512  # more than any deployment has templates; beyond it the doubt is the message's


class FcmOptions(BaseModel):
    """What an account at FCM needs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    service_account_file: Path | None = None
    service_account: FromEnvironment = None
    base_url: str = BASE_URL
    ca_file: Path | None = None
    timeout: Annotated[timedelta, Field(gt=timedelta(), le=timedelta(seconds=60))] = REQUEST_TIMEOUT


def open_channel(account: str, options: Mapping[str, Any], callback_url: str) -> Channel:
    """The plugin: an FCM account from its options. FCM never calls back."""
    del callback_url
    read = read_options(FcmOptions, account, options)
    service = _service(account, read)
    base_url = safe_url(account, "base_url", read.base_url)
    root_pem = read_certificates(account, "ca_file", read.ca_file)
    return FcmChannel(service, Negotiated(read.timeout, root_pem=root_pem), SystemClock(), base_url=base_url)


def _service(account: str, given: FcmOptions) -> ServiceAccount:
    field = "service_account_file"
    if given.service_account_file is not None and given.service_account is None:
        return load_service_account(account, field, given.service_account_file)
    if given.service_account is None:
        raise ConfigError([problem(account, field, "is required, or service_account_env")])
    if given.service_account_file is not None:
        raise ConfigError([problem(account, field, "stands beside service_account_env: give one of the two")])
    content = given.service_account.get_secret_value().encode()
    return read_service_account(account, "service_account_env", content, "the variable")


class FcmChannel:
    """One Firebase project."""

    channel = "push"
    provider = "fcm"
    kinds = frozenset({"token", "fid"})
    ambiguity = Ambiguity.RESEND

    def __init__(self, service: ServiceAccount, transport: Http, clock: Clock, *, base_url: str = BASE_URL) -> None:
        self.timeout = 2 * (transport.timeout + _TOKEN_LIMIT)  # the worst: token, 401, token again, message again
        self._transport = transport
        self._clock = clock
        self._exchange = Exchange(service, transport, clock)
        self._tokens = CachedToken(self._exchange, clock)
        self._url = f"{base_url}/v1/projects/{service.project}/messages:send"
        self._accepted_shapes: set[tuple[bool | str, ...]] = set()

    async def send(self, envelope: Envelope) -> Outcome:
        """One request; a second one only after a 401, which certainly was not accepted."""
        payload = envelope.payload
        if (reasons := problems(payload)) or not isinstance(payload, PushPayload):
            return unsendable(reasons)
        body = message_json(envelope, payload, self._clock.machine())
        answer = await self._tokens.use(lambda token: self._post(token, body, envelope.begin_by), _token_refused)
        return answer if isinstance(answer, Outcome) else self._outcome(answer, envelope, payload)

    def problems(self, payload: Payload) -> list[str]:
        """Why FCM would refuse this payload."""
        return problems(payload)

    async def reconcile(self, inquiry: Inquiry) -> Outcome | None:
        """FCM answers no questions about a message."""
        del inquiry
        return None

    async def check(self) -> Sequence[Finding]:
        """A token, and a message that FCM only looks at, to a device that cannot exist."""
        token = await self._tokens.token()
        if isinstance(token, Outcome):
            asked = await self._exchange.knock()  # what time is it there?
            return no_token(token, asked, self._clock.machine())
        return answered(await self._post(token, PROBE), self._clock.machine())

    async def close(self) -> None:
        """Let go of connections, and of a token exchange under way."""
        await self._tokens.close()
        await self._transport.close()

    async def _post(self, token: str, body: bytes, begin_by: float = math.inf) -> Answer | NoAnswer:
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json; charset=utf-8"}
        return await self._transport.request("POST", self._url, headers=headers, body=body, begin_by=begin_by)

    def _outcome(self, answer: Answer | NoAnswer, envelope: Envelope, payload: PushPayload) -> Outcome:
        if isinstance(answer, NoAnswer):
            return slow(unanswered(answer))
        used = shape(payload)
        if (name := _accepted_name(answer)) is not None:
            if len(self._accepted_shapes) < _SHAPES:
                self._accepted_shapes.add(used)
            return Outcome(OutcomeClass.ACCEPTED, code=str(answer.status), provider_id=name)
        if answer.status < 400:  # noqa: PLR2004
            return slow(by_status(answer.status))
        return classify(
            read_error(answer),
            named=retry_after(answer.headers, self._clock.machine()),
            proven=used in self._accepted_shapes,
            private=_private(envelope, payload),
        )


def _token_refused(answer: Answer) -> bool:
    return answer.status in {401, 403} and read_error(answer).credentials_refused


def _accepted_name(answer: Answer) -> str | None:
    """``projects/P/messages/ID`` of a 200; None when it is not there."""
    if answer.status != 200 or not answer.whole:  # noqa: PLR2004
        return None
    try:
        read = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        return None
    name = read.get("name") if isinstance(read, dict) else None
    is_name = isinstance(name, str) and name.startswith("projects/") and "/messages/" in name and len(name) < 400  # noqa: PLR2004
    return name if is_name else None


def _private(envelope: Envelope, payload: PushPayload) -> Iterator[str]:
    yield from (envelope.address, payload.title, payload.body, payload.link, payload.image)
    yield from payload.data.values()
