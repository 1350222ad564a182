"""Push to iPhones through Apple's service, HTTP/2: one request per message, on a few connections that are kept.

APNs does not de-duplicate: the collapse id makes a second copy replace the first. So a lost answer is sent again
(``Ambiguity.RESEND``), under the same collapse id.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

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
    Scope,
)
from orchestrator.channel.http2 import Connection
from orchestrator.channel.http2_connect import client_context
from orchestrator.channel.http2_fields import Fields
from orchestrator.channel.http2_pool import Pool
from orchestrator.channel.options import FromEnvironment, problem, read_file, read_options, safe_url
from orchestrator.channel.push.apns_check import findings, probe
from orchestrator.channel.push.apns_errors import AGAIN, OF_THE_TOPIC, RECONNECT, classify, read_error
from orchestrator.channel.push.apns_message import Request, is_device, is_topic, problems, request_of
from orchestrator.channel.push.apns_token import HOLD, ProviderTokens, Signer, load_signer
from orchestrator.channel.rules import by_status, unanswered, unsendable
from orchestrator.channel.transport import Answer, Failure, NoAnswer
from orchestrator.clock import Clock, SystemClock
from orchestrator.errors import ConfigError

PRODUCTION = "https://api.push.apple.com"
DEVELOPMENT = "https://api.sandbox.push.apple.com"
REQUEST_TIMEOUT = timedelta(seconds=15)
_MOST_REQUESTS = 4
"""Of one attempt, each only after the one before was certainly refused: two environments, two tokens in each."""
_REMEMBERED = 10_000
_ID = Annotated[str, Field(pattern=r"^[A-Za-z0-9]{10}$")]

Environment = Literal["production", "sandbox"]


class ApnsOptions(BaseModel):
    """What an account at APNs needs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    team_id: _ID
    key_id: _ID
    key_file: Path | None = None
    key: FromEnvironment = None
    topic: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.\-]{0,254}$")]
    environment: Environment = "production"
    connections: Annotated[int, Field(ge=1, le=50)] = 3
    base_url: str = PRODUCTION
    development_url: str | None = None
    ca_file: Path | None = None
    timeout: Annotated[timedelta, Field(gt=timedelta(), le=timedelta(seconds=60))] = REQUEST_TIMEOUT


@dataclass(frozen=True, slots=True)
class Servers:
    """Where to. Of equal addresses there is but one server, and no other environment to try."""

    production: str
    sandbox: str
    default: Environment
    context: ssl.SSLContext
    connections: int
    timeout: timedelta


def open_channel(account: str, options: Mapping[str, Any], callback_url: str) -> Channel:
    """The plugin: an APNs account from its options. APNs never calls back."""
    del callback_url
    given = read_options(ApnsOptions, account, options)
    elsewhere = given.base_url if given.base_url != PRODUCTION else DEVELOPMENT
    servers = Servers(
        production=_https(account, "base_url", given.base_url),
        sandbox=_https(account, "development_url", given.development_url or elsewhere),
        default=given.environment,
        context=_context(account, given.ca_file),
        connections=given.connections,
        timeout=given.timeout,
    )
    signer = load_signer(account, given.team_id, given.key_id, _pem(account, given))
    return ApnsChannel(signer, given.topic, servers, SystemClock())


def _pem(account: str, given: ApnsOptions) -> bytes:
    if (given.key is None) == (given.key_file is None):
        raise ConfigError([problem(account, "key_file", "one of key_file and key_env is required")])
    if given.key is not None:
        return given.key.get_secret_value().replace("\\n", "\n").encode()
    return read_file(account, "key_file", given.key_file or Path())


def _https(account: str, field: str, url: str) -> str:
    if not url.startswith("https://"):
        raise ConfigError([problem(account, field, "must be https://", "APNs is spoken over TLS alone")])
    return safe_url(account, field, url)


def _context(account: str, ca_file: Path | None) -> ssl.SSLContext:
    try:
        return client_context(ca_file)
    except OSError:
        message = f"cannot read certificates from {ca_file}"
        raise ConfigError([problem(account, "ca_file", message, "a PEM file")]) from None


class ApnsChannel:
    """One team's key and one app, in both environments."""

    channel = "push"
    provider = "apns"
    kinds = frozenset({"apns"})
    ambiguity = Ambiguity.RESEND

    def __init__(self, signer: Signer, topic: str, servers: Servers, clock: Clock) -> None:
        self.timeout = _MOST_REQUESTS * servers.timeout
        self._topic = topic
        self._clock = clock
        self._default = servers.default
        self._tokens = ProviderTokens(signer, clock)
        production = self._pool(servers.production, servers)
        both_one = servers.sandbox == servers.production
        self._pools = {
            "production": production,
            "sandbox": production if both_one else self._pool(servers.sandbox, servers),
        }
        self._elsewhere: set[str] = set()  # devices found in the environment that is not the default

    async def send(self, envelope: Envelope) -> Outcome:
        """One request; another one only after a refusal that another token, or the other environment, may lift."""
        payload = envelope.payload
        if (reasons := problems(payload)) or not isinstance(payload, PushPayload):
            return unsendable(reasons)
        if not is_device(envelope.address):
            return Outcome(OutcomeClass.DROP_ADDRESS, "no_token", may_have_left=False)
        topic = envelope.details.get("app") or self._topic
        if not is_topic(topic):
            return unsendable(["the address's app is no bundle id"])
        request = request_of(envelope, payload, topic, self._clock.machine())
        environment = envelope.details.get("environment", "")
        if environment in self._pools:
            return await self._ask(environment, request)
        return await self._ask_both(request)

    def problems(self, payload: Payload) -> list[str]:
        """Why APNs would refuse this payload."""
        return problems(payload)

    async def reconcile(self, inquiry: Inquiry) -> Outcome | None:
        """APNs answers no questions about a message."""
        del inquiry
        return None

    async def check(self) -> Sequence[Finding]:
        """A push to a device that cannot exist: APNs looks at the key first, and says which of the two is wrong."""
        pool = self._pools[self._default]
        answer = await self._post(pool, probe(self._topic))
        return findings(answer, pool, self._topic, self._clock.machine())

    async def close(self) -> None:
        """Hang up."""
        for pool in self._pools.values():
            await pool.close()

    async def _ask_both(self, request: Request) -> Outcome:
        """A device of which nobody said where it is registered: the other environment once, when this one denies it."""
        environments = [self._default, "sandbox" if self._default == "production" else "production"]
        if request.device in self._elsewhere:
            environments.reverse()
        first = await self._ask(environments[0], request)
        if first.code != "BadDeviceToken" or self._pools["sandbox"] is self._pools["production"]:
            return first
        second = await self._ask(environments[1], request)
        if second.kind in {OutcomeClass.STOP_CHANNEL, OutcomeClass.DROP_MESSAGE}:
            return first  # the key or the topic is not for that environment: so neither is the device
        if second.kind is OutcomeClass.ACCEPTED:
            self._remember(request.device, environments[1])
        return second

    def _remember(self, device: str, environment: str) -> None:
        if environment == self._default:
            self._elsewhere.discard(device)
        elif len(self._elsewhere) < _REMEMBERED:
            self._elsewhere.add(device)

    async def _ask(self, environment: str, request: Request) -> Outcome:
        pool = self._pools[environment]
        answer = await self._post(pool, request)
        if _reason(answer) in AGAIN:
            answer = await self._post(pool, request)
            if _reason(answer) == "ExpiredProviderToken":
                self._tokens.give_up()
        return self._outcome(answer, request, pool)

    async def _post(self, pool: Pool, request: Request) -> Answer | NoAnswer:
        def compose(connection: Connection) -> Fields:
            return request.fields(pool.authority, self._tokens.of(connection))

        return await pool.request(compose, request.body, begin_by=request.begin_by)

    def _outcome(self, answer: Answer | NoAnswer, request: Request, pool: Pool) -> Outcome:
        if isinstance(answer, NoAnswer):
            if answer.failure is Failure.POOL and (wait := pool.resting):
                return Outcome(OutcomeClass.RETRY_AFTER, "resting", None, wait, Scope.ACCOUNT, may_have_left=False)
            return replace(unanswered(answer), detail=pool.trouble)
        if answer.status < 400:  # noqa: PLR2004
            apns_id = answer.headers.get("apns-id", "")[:100]
            if answer.status == 200 and apns_id:  # noqa: PLR2004
                return Outcome(OutcomeClass.ACCEPTED, "200", provider_id=apns_id)
            return by_status(answer.status)
        outcome = classify(read_error(answer), answer, self._clock.machine())
        if outcome.code in OF_THE_TOPIC and request.topic != self._topic:
            return replace(outcome, scope=Scope.ADDRESS)  # the address's own app, not the one that we configured
        return outcome

    def _pool(self, url: str, servers: Servers) -> Pool:
        return Pool(url, servers.context, self._judge, connections=servers.connections, timeout=servers.timeout)

    def _judge(self, pool: Pool, connection: Connection, answer: Answer) -> None:
        """What an answer says of its connection, and of the token it presented."""
        reason = _reason(answer)
        if reason in AGAIN:
            if not connection.retired:  # else another answer has said it already
                if reason == "ExpiredProviderToken":
                    self._tokens.expired_on(connection)
                pool.renew()
        elif reason in RECONNECT:
            connection.retire()
        elif reason == "TooManyProviderTokenUpdates":
            connection.rest(HOLD)
        elif answer.status != 403 and answer.status < 500:  # noqa: PLR2004
            connection.proven = True


def _reason(answer: Answer | NoAnswer) -> str:
    """Why it was refused, if it was and says so."""
    return "" if isinstance(answer, NoAnswer) or answer.status < 400 else read_error(answer).reason  # noqa: PLR2004
