"""SMS through any gateway with an HTTP API that a few lines of YAML can describe: no code of its own.

Nothing is known of its idempotency, so a message whose answer was lost is held (``Ambiguity.HOLD``); receipts that
carry our id settle it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from orchestrator.channel.base import (
    Ambiguity,
    Channel,
    Envelope,
    Finding,
    Health,
    Inquiry,
    Outcome,
    Payload,
    SmsPayload,
)
from orchestrator.channel.callback import CallbackRequest, Heard, Refused
from orchestrator.channel.options import FromEnvironment, problem, read_options, safe_url, secret_of
from orchestrator.channel.rules import unanswered, unsendable
from orchestrator.channel.secret_hook import secret_if_given
from orchestrator.channel.skew import skew_finding
from orchestrator.channel.sms.gateway_answers import Meaning
from orchestrator.channel.sms.gateway_callbacks import hear
from orchestrator.channel.sms.gateway_patterns import filled, places
from orchestrator.channel.sms.gateway_request import Sender, build
from orchestrator.channel.sms.gateway_spec import (
    CheckSpec,
    ErrorRule,
    ReceiptSpec,
    ReplySpec,
    RequestSpec,
    SuccessSpec,
    Where,
    texts_in,
)
from orchestrator.channel.transport import Http, NoAnswer
from orchestrator.channel.wire import Wire
from orchestrator.clock import Clock, SystemClock
from orchestrator.errors import ConfigError

_REQUEST_TIMEOUT = timedelta(seconds=15)
_MOST_ERRORS = 200
_LEAST_SECRET = 16


class GatewayOptions(BaseModel):
    """A gateway: where it is, who we are, and the description of what it is asked and answers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    base_url: str
    request: RequestSpec
    success: SuccessSpec = Field(default_factory=SuccessSpec)
    id: Where | None = None
    errors: Annotated[list[ErrorRule], Field(max_length=_MOST_ERRORS)] = Field(default_factory=list)
    receipts: ReceiptSpec | None = None
    replies: ReplySpec | None = None
    check: CheckSpec | None = None
    user: str = ""
    sender: str = ""
    secret_file: Path | None = None
    secret: FromEnvironment = None
    callback_secret_file: Path | None = None
    callback_secret: FromEnvironment = None
    text_limit: Annotated[int, Field(ge=1, le=10_000)] = 1000
    timeout: Annotated[timedelta, Field(gt=timedelta(), le=timedelta(seconds=60))] = _REQUEST_TIMEOUT


def open_channel(account: str, options: Mapping[str, Any], callback_url: str) -> Channel:
    """The plugin: a gateway from its description. Where it posts receipts is told to the gateway."""
    del callback_url
    given = read_options(GatewayOptions, account, options)
    base_url = safe_url(account, "base_url", given.base_url)
    needs_secret = bool({"secret", "basic"} & {name for each in _templates(given) for name in places(each)})
    callback_secret = secret_if_given(account, given, "callback_secret")
    if (given.receipts or given.replies) and not callback_secret:
        hint = "make one with: openssl rand -hex 16"
        raise ConfigError([problem(account, "callback_secret_file", "receipts and replies need it", hint)])
    if callback_secret and len(callback_secret) < _LEAST_SECRET:
        raise ConfigError([problem(account, "callback_secret_file", f"at least {_LEAST_SECRET} characters")])
    return GatewayChannel(
        given.model_copy(update={"base_url": base_url}),
        secret_of(account, given, "secret") if needs_secret else "",
        Wire(given.timeout),
        SystemClock(),
        callback_secret=callback_secret,
    )


class GatewayChannel:
    """One account at a gateway; also hears its receipts, and what people write back."""

    channel = "sms"
    provider = "gateway"
    kinds = frozenset({"phone"})
    ambiguity = Ambiguity.HOLD

    def __init__(
        self,
        options: GatewayOptions,
        secret: str,
        transport: Http,
        clock: Clock,
        *,
        callback_secret: str = "",
    ) -> None:
        self.timeout = transport.timeout + timedelta(seconds=3)  # waiting for a connection comes on top
        self._options = options
        self._sender = Sender(options.sender, options.user, secret)
        self._transport = transport
        self._clock = clock
        self._callback_secret = callback_secret
        self._meaning = Meaning(options.success, options.id, options.errors, options.request.charset)

    async def send(self, envelope: Envelope) -> Outcome:
        """One request."""
        payload = envelope.payload
        if (reasons := self.problems(payload)) or not isinstance(payload, SmsPayload):
            return unsendable(reasons)
        built = build(self._options.request, envelope, payload, self._sender)
        url = f"{self._options.base_url}{built.target}"
        answer = await self._transport.request(
            built.method, url, headers=built.headers, body=built.body, begin_by=envelope.begin_by
        )
        if isinstance(answer, NoAnswer):
            return unanswered(answer)
        private = [envelope.address, payload.body, self._sender.secret, self._sender.basic]
        return self._meaning.outcome(answer, self._clock.machine(), private)

    def problems(self, payload: Payload) -> list[str]:
        """Why this gateway would refuse this payload."""
        if not isinstance(payload, SmsPayload):
            return ["an SMS account carries SMS payloads only"]
        found = [] if payload.body.strip() else ["empty body"]
        if len(payload.body) > self._options.text_limit:
            found.append(f"{len(payload.body)} characters; this gateway takes {self._options.text_limit}")
        charset = "utf-8" if self._options.request.json_ is not None else self._options.request.charset
        try:
            payload.body.encode(charset)
        except UnicodeEncodeError:
            found.append(f"a character that {charset} has not")
        return found

    async def reconcile(self, inquiry: Inquiry) -> Outcome | None:
        """A description says nothing of how to ask about one message."""
        del inquiry
        return None

    async def hear(self, request: CallbackRequest) -> Heard | Refused:
        """Receipts (``report/SECRET``) and replies (``reply/SECRET``), as described."""
        options = self._options
        return hear(request, secret=self._callback_secret, receipts=options.receipts, replies=options.replies)

    async def check(self) -> Sequence[Finding]:
        """The described GET, which sends nothing; without one, nothing can be said."""
        spec = self._options.check
        if spec is None:
            return [Finding(Health.FINE, "the description is sound; it names no request to check the account with")]
        values = {"secret": self._sender.secret, "basic": self._sender.basic}
        headers = {name.lower(): filled(value, values) for name, value in spec.headers.items()}
        answer = await self._transport.request("GET", f"{self._options.base_url}{spec.path}", headers=headers)
        if isinstance(answer, NoAnswer):
            hint = "check the network, and base_url"
            return [Finding(Health.BROKEN, f"the gateway does not answer ({answer.failure.value})", hint)]
        skewed = skew_finding(answer.headers, self._clock.machine())
        wanted = spec.status if isinstance(spec.status, list) else [spec.status]
        if answer.status in wanted:
            found = Finding(Health.FINE, "the gateway accepts us")
        else:
            found = Finding(Health.BROKEN, f"the gateway answers {answer.status}", "compare the secret, and check.path")
        return [found, *([skewed] if skewed else [])]

    async def close(self) -> None:
        """Let go of connections."""
        await self._transport.close()


def _templates(options: GatewayOptions) -> Iterator[str]:
    request = options.request
    yield from (request.text or "", *request.headers.values(), *request.query.values())
    yield from (request.form or {}).values()
    yield from texts_in(request.json_)
    yield from (options.check.headers if options.check else {}).values()
