"""Access tokens for FCM: a JWT signed with the service account's key, exchanged for a bearer token.

One token for all messages, refreshed five minutes before it ends by one task while the others go on with the old one.
Source: Google, "Using OAuth 2.0 for Server to Server Applications" (JWT bearer grant, RFC 7523).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated
from urllib.parse import urlencode

import jwt
import orjson
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from tenacity import AsyncRetrying, RetryCallState, retry_if_result, stop_after_attempt, wait_random_exponential

from orchestrator.channel.base import Outcome, OutcomeClass, Scope
from orchestrator.channel.options import problem, read_file, safe_url
from orchestrator.channel.retry_after import retry_after
from orchestrator.channel.rules import BY_STATUS, Rule, by_status, unanswered
from orchestrator.channel.transport import Answer, NoAnswer, Transport
from orchestrator.clock import Clock
from orchestrator.errors import ConfigError

SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
EARLY = timedelta(minutes=5)
FORCED_APART = timedelta(minutes=20)
"""A refused token is exchanged at once; when the new one never worked either, not again within this time."""
BREATH = timedelta(seconds=10)
"""A token that worked and is then refused was revoked: exchanged as well, but not in a loop."""
_ASSERTION_LIFE = timedelta(hours=1)
_FAILURE_HOLDS = timedelta(seconds=5)  # a token server in trouble is not asked once per message
_EXCHANGE_LIMIT = timedelta(seconds=10)  # all tries of one exchange
_TRIES = 3
_REFUSED = Rule(OutcomeClass.STOP_CHANNEL, scope=Scope.ACCOUNT)


class _KeyFile(BaseModel):
    """The fields we use of Google's JSON key file; it has more, and may get others."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    project_id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.:\-]{0,62}$")]
    client_email: Annotated[str, Field(min_length=3)]
    private_key_id: str = ""
    private_key: SecretStr
    token_uri: str = "https://oauth2.googleapis.com/token"  # noqa: S105  # an address


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """Who we are at Google."""

    project: str
    email: str
    key_id: str
    key: RSAPrivateKey
    token_url: str

    def assertion(self, now: datetime) -> str:
        """The signed claim that is exchanged for a token."""
        claims = {"iss": self.email, "scope": SCOPE, "aud": self.token_url}
        times = {"iat": int(now.timestamp()), "exp": int((now + _ASSERTION_LIFE).timestamp())}
        return jwt.encode(claims | times, self.key, algorithm="RS256", headers={"kid": self.key_id})


def load_service_account(account: str, field: str, path: Path) -> ServiceAccount:
    """Read Google's JSON key file.

    Raises:
        ConfigError: what is wrong with the file; never what stands in it.
    """
    return read_service_account(account, field, read_file(account, field, path), str(path))


def read_service_account(account: str, field: str, content: bytes, named: str) -> ServiceAccount:
    """Read what stands in Google's JSON key file. ``named``: where it was found.

    Raises:
        ConfigError: what is wrong with it; never what stands in it.
    """
    try:
        read = _KeyFile.model_validate_json(content)
        key = load_pem_private_key(read.private_key.get_secret_value().encode(), password=None)
    except ValidationError as error:
        wrong = ", ".join(
            sorted({".".join(map(str, one["loc"])) or "not JSON" for one in error.errors(include_input=False)})
        )
        raise ConfigError([problem(account, field, f"{named} is no service account's key file ({wrong})")]) from None
    except (ValueError, TypeError):
        raise ConfigError([problem(account, field, f"{named}: private_key is no private key in PEM")]) from None
    if not isinstance(key, RSAPrivateKey):
        raise ConfigError([problem(account, field, f"{named}: private_key is no RSA key")])
    token_url = safe_url(account, f"{field}: token_uri", read.token_uri)
    return ServiceAccount(read.project_id, read.client_email, read.private_key_id, key, token_url)


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer token, when it should be replaced, and when it ends."""

    value: str
    refresh_at: datetime
    ends_at: datetime


class Authority:
    """The account's current token. Its failures are outcomes of the message that needed it: it was not sent."""

    def __init__(self, service: ServiceAccount, transport: Transport, clock: Clock) -> None:
        self._service = service
        self._transport = transport
        self._clock = clock
        self._token: Token | None = None
        self._flight: asyncio.Task[Token | Outcome] | None = None
        self._failed: tuple[datetime, Outcome] | None = None
        self._forced_at: datetime | None = None
        self._proven = ""

    async def token(self) -> str | Outcome:
        """The token to use now; exchanged when there is none, by one task for all who wait."""
        now, token = self._clock.machine(), self._token
        if token is not None and now < token.ends_at:
            if now >= token.refresh_at and not self._recently_failed(now):
                self._flight = self._exchanging()  # in the background; this message goes with the token at hand
            return token.value
        if self._failed is not None and self._recently_failed(now):
            return self._failed[1]
        got = await asyncio.shield(self._exchanging())
        return got.value if isinstance(got, Token) else got

    def proved(self, token: str) -> None:
        """A message was accepted with this token."""
        self._proven = token

    async def instead_of(self, refused: str) -> str | Outcome | None:
        """Another token than the refused one; None when the refusal is not the token's fault."""
        now = self._clock.machine()
        if self._token is not None and self._token.value == refused:
            since = FORCED_APART if self._forced_at is None else now - self._forced_at
            if self._proven != refused and since < FORCED_APART:
                return None
            if since < BREATH:
                rule = Rule(OutcomeClass.RETRY, BREATH - since, Scope.ACCOUNT)
                return replace(rule.outcome("token:refused"), may_have_left=False)
            self._forced_at, self._token = now, None
        return await self.token()

    async def knock(self) -> Answer | NoAnswer:
        """What the token server answers to an empty request: a refusal, with its date."""
        headers = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
        return await self._transport.request("POST", self._service.token_url, headers=headers, body=b"")

    async def close(self) -> None:
        """Give up an exchange under way."""
        if self._flight is not None and not self._flight.done():
            self._flight.cancel()
            await asyncio.wait([self._flight])

    def _recently_failed(self, now: datetime) -> bool:
        return self._failed is not None and now < self._failed[0]

    def _exchanging(self) -> asyncio.Task[Token | Outcome]:
        if self._flight is None or self._flight.done():
            self._flight = asyncio.get_running_loop().create_task(self._exchange())
        return self._flight

    async def _exchange(self) -> Token | Outcome:
        got = await exchange(self._service, self._transport, self._clock)
        if isinstance(got, Token):
            self._token, self._failed = got, None
        else:
            self._failed = (self._clock.machine() + max(_FAILURE_HOLDS, got.retry_after or timedelta()), got)
        return got


async def exchange(service: ServiceAccount, transport: Transport, clock: Clock) -> Token | Outcome:
    """One exchange, with a few tries when the token server is in passing trouble. No message hangs on it."""

    def last(state: RetryCallState) -> Token | Outcome:
        assert state.outcome is not None
        result: Token | Outcome = state.outcome.result()
        return result

    tries = AsyncRetrying(
        stop=stop_after_attempt(_TRIES),
        wait=wait_random_exponential(multiplier=0.2, max=1),
        retry=retry_if_result(_passing),
        retry_error_callback=last,
    )
    try:
        async with asyncio.timeout(_EXCHANGE_LIMIT.total_seconds()):
            got: Token | Outcome = await tries(_ask, service, transport, clock)
    except TimeoutError:
        return Outcome(OutcomeClass.RETRY, "token:timeout", may_have_left=False)
    return got


def _passing(got: Token | Outcome) -> bool:
    return isinstance(got, Outcome) and got.kind is OutcomeClass.RETRY


async def _ask(service: ServiceAccount, transport: Transport, clock: Clock) -> Token | Outcome:
    asked_at = clock.machine()
    form = urlencode({"grant_type": GRANT, "assertion": service.assertion(asked_at)}).encode()
    headers = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
    answer = await transport.request("POST", service.token_url, headers=headers, body=form)
    if isinstance(answer, NoAnswer):
        return _unsent(unanswered(answer))
    return _read(answer, asked_at) or _unsent(_refusal(answer, asked_at))


def _read(answer: Answer, asked_at: datetime) -> Token | None:
    fields = _fields(answer)
    value, seconds = fields.get("access_token"), fields.get("expires_in", 3600)
    if answer.status != 200 or not isinstance(value, str) or not isinstance(seconds, int):  # noqa: PLR2004
        return None
    if not value.isascii() or not value.isprintable() or not 0 < seconds <= 10**6:
        return None
    life = timedelta(seconds=seconds)
    return Token(value, asked_at + life - min(EARLY, life / 6), asked_at + life)


def _refusal(answer: Answer, now: datetime) -> Outcome:
    """``invalid_grant`` (wrong clock, deleted key) and every other 4xx: an operator's business."""
    error = _fields(answer).get("error")
    code = error if isinstance(error, str) and error.isidentifier() and len(error) < 64 else str(answer.status)  # noqa: PLR2004
    named = retry_after(answer.headers, now)
    if 400 <= answer.status < 500 and answer.status not in {408, 425, 429}:  # noqa: PLR2004
        return _REFUSED.outcome(code, "the token server refused the service account")
    rule = BY_STATUS.get(answer.status)
    return rule.outcome(code, "", named) if rule else by_status(answer.status, "", named)


def _unsent(outcome: Outcome) -> Outcome:
    """The message was not on its way yet, whatever became of the exchange: nothing is ambiguous about it."""
    kind = OutcomeClass.RETRY if outcome.kind is OutcomeClass.AMBIGUOUS else outcome.kind
    return replace(outcome, kind=kind, code=f"token:{outcome.code}", may_have_left=False)


def _fields(answer: Answer) -> dict[str, object]:
    try:
        read = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        return {}
    return read if isinstance(read, dict) else {}
