"""Push through Getui (个推), REST v2: one request per message, under an id that makes it count once.

Getui drops a message whose ``request_id`` it has seen: so a lost answer is sent again under the same id
(``Ambiguity.RESEND``), and no two messages ever share one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any

import orjson
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
from orchestrator.channel.cached_token import CachedToken, Token, lasting, unminted
from orchestrator.channel.callback import CallbackRequest, Heard, Refused
from orchestrator.channel.json_text import loaded, mapping, text
from orchestrator.channel.options import FromEnvironment, read_options, safe_url, secret_of
from orchestrator.channel.push.getui_callbacks import hear
from orchestrator.channel.push.getui_errors import TABLE, classify, read_answer
from orchestrator.channel.push.getui_message import problems, push_body
from orchestrator.channel.push.vendor import private
from orchestrator.channel.rules import unanswered, unsendable
from orchestrator.channel.secret_hook import secret_if_given
from orchestrator.channel.skew import skew_finding
from orchestrator.channel.transport import Answer, NoAnswer, Transport
from orchestrator.clock import Clock, SystemClock

BASE_URL = "https://restapi.getui.com/v2"
_REQUEST_TIMEOUT = timedelta(seconds=15)
_TOKEN_LIMIT = timedelta(seconds=10)
_JSON = "application/json;charset=utf-8"
_EPOCH_DIGITS = 14


class GetuiOptions(BaseModel):
    """What an app at Getui needs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    app_id: Annotated[str, Field(pattern=r"^[0-9A-Za-z]{8,64}$")]
    app_key: Annotated[str, Field(pattern=r"^[0-9A-Za-z]{8,64}$")]
    master_secret_file: Path | None = None
    master_secret: FromEnvironment = None
    component: Annotated[str, Field(pattern=r"^$|^[A-Za-z][\w.]*/[\w.$]+$")] = ""
    callback_secret_file: Path | None = None
    callback_secret: FromEnvironment = None
    base_url: str = BASE_URL
    timeout: Annotated[timedelta, Field(gt=timedelta(), le=timedelta(seconds=60))] = _REQUEST_TIMEOUT


def open_channel(account: str, options: Mapping[str, Any], callback_url: str) -> Channel:
    """The plugin: a Getui app from its options. Receipts come to ``callback_url/report/SECRET``, by the console."""
    del callback_url
    given = read_options(GetuiOptions, account, options)
    return GetuiChannel(
        given.model_copy(update={"base_url": safe_url(account, "base_url", given.base_url)}),
        secret_of(account, given, "master_secret"),
        Transport(given.timeout),
        SystemClock(),
        callback_secret=secret_if_given(account, given, "callback_secret"),
    )


class GetuiChannel:
    """One app at Getui; also hears its receipts."""

    channel = "push"
    provider = "getui"
    kinds = frozenset({"getui"})
    ambiguity = Ambiguity.RESEND

    def __init__(
        self,
        options: GetuiOptions,
        master_secret: str,
        transport: Transport,
        clock: Clock,
        *,
        callback_secret: str = "",
    ) -> None:
        self.timeout = 2 * (transport.timeout + _TOKEN_LIMIT)  # the worst: token, refused, token again, message again
        self._options = options
        self._master_secret = master_secret
        self._transport = transport
        self._clock = clock
        self._secret = callback_secret
        self._url = f"{options.base_url}/{options.app_id}"
        self._token = CachedToken(self._mint, clock)

    async def send(self, envelope: Envelope) -> Outcome:
        """One request; a second one only after a refused token, which certainly was not accepted."""
        payload = envelope.payload
        if (reasons := problems(payload)) or not isinstance(payload, PushPayload):
            return unsendable(reasons)
        body = orjson.dumps(push_body(envelope, payload, self._options.component))
        answer = await self._token.use(
            lambda token: self._post("push/single/cid", body, {"token": token}),
            lambda refused: read_answer(refused).token_refused,
        )
        return answer if isinstance(answer, Outcome) else self._outcome(answer, envelope, payload)

    def problems(self, payload: Payload) -> list[str]:
        """Why Getui would refuse this payload."""
        return problems(payload)

    async def reconcile(self, inquiry: Inquiry) -> Outcome | None:
        """Getui answers questions by its own task id alone, which a lost answer did not tell."""
        del inquiry
        return None

    async def hear(self, request: CallbackRequest) -> Heard | Refused:
        """Receipts, signed and on the secret path."""
        options = self._options
        return hear(request, secret=self._secret, master_secret=self._master_secret, app_id=options.app_id)

    async def check(self) -> Sequence[Finding]:
        """Ask for a token, as for a message."""
        answer = await self._authenticate()
        if isinstance(answer, NoAnswer):
            hint = "check the network, and base_url"
            return [Finding(Health.BROKEN, f"Getui does not answer ({answer.failure.value})", hint)]
        skewed = skew_finding(answer.headers, self._clock.machine())
        return [self._finding(answer), *([skewed] if skewed else [])]

    async def close(self) -> None:
        """Let go of connections, and of a request for a token under way."""
        await self._token.close()
        await self._transport.close()

    def _finding(self, answer: Answer) -> Finding:
        got = self._read_token(answer, self._clock.machine())
        if isinstance(got, Token):
            return Finding(Health.FINE, "Getui gives a token")
        if got.kind is OutcomeClass.STOP_CHANNEL:
            hint = "compare app_id, app_key and the master secret with the app's page at Getui"
            return Finding(Health.BROKEN, f"Getui refuses us: {got.code}", hint)
        return Finding(Health.WARNING, f"Getui gives no token now: {got.code}", "try again later")

    def _outcome(self, answer: Answer | NoAnswer, envelope: Envelope, payload: PushPayload) -> Outcome:
        if isinstance(answer, NoAnswer):
            return unanswered(answer)
        read = read_answer(answer)
        if answer.status == 200 and read.taken:  # noqa: PLR2004
            return Outcome(OutcomeClass.ACCEPTED, code=read.status, provider_id=read.task)
        return classify(answer, self._clock.machine(), private(envelope, payload))

    async def _post(self, path: str, body: bytes, headers: Mapping[str, str]) -> Answer | NoAnswer:
        given = {"content-type": _JSON, **headers}
        return await self._transport.request("POST", f"{self._url}/{path}", headers=given, body=body)

    async def _authenticate(self) -> Answer | NoAnswer:
        now = str(int(self._clock.machine().timestamp() * 1000))
        sign = token_sign(self._options.app_key, now, self._master_secret)
        body = {"sign": sign, "timestamp": now, "appkey": self._options.app_key}
        return await self._post("auth", orjson.dumps(body), {})

    async def _mint(self) -> Token | Outcome:
        asked_at = self._clock.machine()
        answer = await self._authenticate()
        if isinstance(answer, NoAnswer):
            return unminted(answer, asked_at)
        return self._read_token(answer, asked_at)

    def _read_token(self, answer: Answer, asked_at: datetime) -> Token | Outcome:
        read = mapping(loaded(answer.body))
        data = mapping(read.get("data"))
        ends = text(data.get("expire_time"))
        if answer.status == 200 and ends.isascii() and ends.isdecimal() and len(ends) <= _EPOCH_DIGITS:  # noqa: PLR2004
            life = datetime.fromtimestamp(int(ends) / 1000, UTC) - asked_at
            token = lasting(data.get("token"), life, asked_at)
            if token is not None:
                return token
        code = read_answer(answer).known
        return unminted(answer, asked_at, code, TABLE.get(code))


def token_sign(app_key: str, timestamp: str, master_secret: str) -> str:
    """The signature of a request for a token: SHA-256 over the three, one after the other."""
    return sha256(f"{app_key}{timestamp}{master_secret}".encode()).hexdigest()
