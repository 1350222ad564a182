"""Push to browsers: one encrypted request per message to the endpoint that the browser named.

No service has an idempotency key. The message's ``tag`` makes a second copy replace the first on the screen, so a lost
answer is sent again (``Ambiguity.RESEND``). Endpoints are written by strangers: see ``webpush_endpoint`` and
``channel.outward``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal

from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import BaseModel, ConfigDict, Field

from orchestrator.channel.base import (
    Ambiguity,
    Channel,
    Envelope,
    Finding,
    Health,
    Inquiry,
    Outcome,
    OutcomeClass,
    Payload,
    PushPayload,
)
from orchestrator.channel.options import FromEnvironment, problem, read_file, read_options
from orchestrator.channel.outward import Inward, Outward, Target, read_target
from orchestrator.channel.push.webpush_crypto import encrypt, read_receiver
from orchestrator.channel.push.webpush_endpoint import ALLOWED, Endpoints, wrong_rule
from orchestrator.channel.push.webpush_errors import ACCEPTED, classify, moved, read_error
from orchestrator.channel.push.webpush_message import PLAINTEXT_LIMIT, headers, message_json, problems
from orchestrator.channel.push.webpush_vapid import Vapid, read_vapid_key, wrong_subject
from orchestrator.channel.retry_after import retry_after
from orchestrator.channel.rules import by_status, unanswered, unsendable
from orchestrator.channel.transport import Answer, NoAnswer
from orchestrator.clock import Clock, SystemClock
from orchestrator.errors import ConfigError

REQUEST_TIMEOUT = timedelta(seconds=10)
_REDIRECTS = range(300, 400)

Urgency = Literal["very-low", "low", "normal", "high"]


class WebPushOptions(BaseModel):
    """Who we are to the browsers' push services, and which of them are believed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    vapid_key_file: Path | None = None
    vapid_key: FromEnvironment = None
    subject: str
    allow: tuple[str, ...] = ALLOWED
    urgency: Urgency = "normal"
    use_topic: bool = False
    base_url: str | None = None
    timeout: Annotated[timedelta, Field(gt=timedelta(), le=timedelta(seconds=60))] = REQUEST_TIMEOUT


def open_channel(account: str, options: Mapping[str, Any], callback_url: str) -> Channel:
    """The plugin: one VAPID key. Services never call back."""
    del callback_url
    read = read_options(WebPushOptions, account, options)
    wrong = [problem(account, "allow", reason) for rule in read.allow if (reason := wrong_rule(rule))]
    if reason := wrong_subject(read.subject):
        wrong.append(problem(account, "subject", reason))
    if wrong:
        raise ConfigError(wrong)
    endpoints = Endpoints(read.allow, origin=_origin(account, read.base_url))
    clock = SystemClock()
    vapid = Vapid(_vapid_key(account, read), read.subject, clock)
    return WebPushChannel(
        vapid, endpoints, Outward(read.timeout, clock), clock, urgency=read.urgency, use_topic=read.use_topic
    )


def _vapid_key(account: str, read: WebPushOptions) -> ec.EllipticCurvePrivateKey:
    if (read.vapid_key is None) == (read.vapid_key_file is None):
        raise ConfigError([problem(account, "vapid_key_file", "one of vapid_key_file and vapid_key_env is required")])
    if read.vapid_key is not None:
        text = read.vapid_key.get_secret_value().encode()
    else:
        text = read_file(account, "vapid_key_file", read.vapid_key_file or Path())
    key = read_vapid_key(text)
    if key is None:
        hint = "openssl ecparam -name prime256v1 -genkey -noout -out vapid.pem"
        reason = "must hold a P-256 private key: PEM, or 32 bytes in base64url"
        raise ConfigError([problem(account, "vapid_key_file", reason, hint)])
    return key


def _origin(account: str, base_url: str | None) -> str:
    if base_url is None:
        return ""
    target = read_target(base_url)
    if isinstance(target, str) or not target.own:
        raise ConfigError([problem(account, "base_url", "must be http:// to this machine: it is for the sandbox")])
    return target.origin


class WebPushChannel:
    """One VAPID key at every push service."""

    channel = "push"
    provider = "webpush"
    kinds = frozenset({"webpush"})
    ambiguity = Ambiguity.RESEND

    def __init__(
        self,
        vapid: Vapid,
        endpoints: Endpoints,
        services: Outward,
        clock: Clock,
        *,
        urgency: Urgency = "normal",
        use_topic: bool = False,
    ) -> None:
        self.timeout = 2 * services.timeout if use_topic else services.timeout
        self._vapid = vapid
        self._endpoints = endpoints
        self._services = services
        self._clock = clock
        self._urgency = urgency
        self._use_topic = use_topic

    async def send(self, envelope: Envelope) -> Outcome:
        """One request; a second one only when the Topic was refused, which certainly was not accepted."""
        payload = envelope.payload
        if (reasons := problems(payload)) or not isinstance(payload, PushPayload):
            return unsendable(reasons)
        target = self._endpoints.target(envelope.address)
        if target is None:
            return self._not_allowed(envelope.address)
        receiver = read_receiver(envelope.details)
        if receiver is None:
            return _dead("keys", "p256dh or auth is missing, or malformed")
        plaintext = message_json(envelope, payload)
        if len(plaintext) > PLAINTEXT_LIMIT:
            return unsendable([f"{len(plaintext)} bytes of JSON; Web Push carries {PLAINTEXT_LIMIT}"])
        body = encrypt(plaintext, receiver)
        answer = await self._post(target, envelope, body, topic=self._use_topic)
        if self._use_topic and isinstance(answer, Answer) and read_error(answer).blames_topic:
            answer = await self._post(target, envelope, body, topic=False)
        return self._outcome(answer, target, envelope, payload)

    def problems(self, payload: Payload) -> list[str]:
        """Why services would refuse this payload."""
        return problems(payload)

    async def reconcile(self, inquiry: Inquiry) -> Outcome | None:
        """Services answer no questions about a message."""
        del inquiry
        return None

    async def check(self) -> Sequence[Finding]:
        """The key that the site has to subscribe with, and whether the services' names lead outward."""
        own = f"the site subscribes with applicationServerKey {self._vapid.public_key}"
        found = [Finding(Health.FINE, own)]
        for host in self._endpoints.hosts():
            target = read_target(f"https://{host}/")
            assert isinstance(target, Target)
            addresses = await self._services.addresses(target)
            if isinstance(addresses, Inward):
                hint = "the resolver of this machine answers wrongly"
                found.append(Finding(Health.BROKEN, f"{host} leads into a private network", hint))
            elif isinstance(addresses, NoAnswer):
                found.append(Finding(Health.WARNING, f"{host} does not resolve", "look at this machine's DNS"))
        return found

    async def close(self) -> None:
        """Let go of connections."""
        await self._services.close()

    async def _post(
        self, target: Target, envelope: Envelope, body: bytes, *, topic: bool
    ) -> Answer | NoAnswer | Inward:
        given = headers(envelope, self._urgency, topic=topic)
        given["authorization"] = self._vapid.authorization(target.origin)
        return await self._services.request(target, given, body)

    def _not_allowed(self, endpoint: str) -> Outcome:
        """Our list may be wrong, or a ``base_url`` forgotten: that ends no address. What could never be one does."""
        if not self._endpoints.could_be(endpoint):
            return _dead("endpoint", "no push service's endpoint")
        detail = "not the endpoint of a push service that is allowed: see `allow` and `base_url`"
        return Outcome(OutcomeClass.DROP_MESSAGE, "endpoint_not_allowed", detail=detail, may_have_left=False)

    def _outcome(
        self, answer: Answer | NoAnswer | Inward, target: Target, envelope: Envelope, payload: PushPayload
    ) -> Outcome:
        if isinstance(answer, Inward):  # the service's name, by a resolver that lies: the address is not to blame
            return Outcome(OutcomeClass.RETRY, "inward", may_have_left=False)
        if isinstance(answer, NoAnswer):
            return unanswered(answer)
        if answer.status in ACCEPTED:
            return Outcome(OutcomeClass.ACCEPTED, str(answer.status), _id(answer, envelope))
        if answer.status in _REDIRECTS:
            return moved(answer, lambda location: self._endpoints.target(location) is not None)
        if answer.status < _REDIRECTS.start:
            return by_status(answer.status)
        outcome = classify(
            read_error(answer),
            named=retry_after(answer.headers, self._clock.machine()),
            private=_private(envelope, payload),
        )
        if outcome.kind is OutcomeClass.STOP_CHANNEL:
            self._vapid.forget(target.origin)
        return outcome


def _dead(code: str, detail: str) -> Outcome:
    """A subscription to which nothing can be sent; nothing was."""
    return Outcome(OutcomeClass.DROP_ADDRESS, code, detail=detail, may_have_left=False)


def _id(answer: Answer, envelope: Envelope) -> str:
    """Apple's id; else a name for the message's own URL, which itself is a secret: who has it can take it back."""
    if "apns-id" in answer.headers:
        return answer.headers["apns-id"][:100]
    location = answer.headers.get("location", "")
    return f"loc-{sha256(location.encode()).hexdigest()[:32]}" if location else f"webpush-{envelope.message_id}"


def _private(envelope: Envelope, payload: PushPayload) -> Iterator[str]:
    yield from (envelope.address, *envelope.details.values(), envelope.ack)
    yield from (payload.title, payload.body, payload.link, payload.image, *payload.data.values())
