"""Push through JPush (极光推送), REST v3: one request per message, under an identifier that makes it count once.

A lost answer is sent again (``Ambiguity.RESEND``) under the same ``cid``, which this process keeps: JPush answers with
the first result and pushes nothing. After a restart, or in another worker, the message gets another ``cid``: on iOS the
copy replaces the first by its collapse id; on Android it may be shown twice.
"""

from __future__ import annotations

from base64 import b64encode
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
    Health,
    Inquiry,
    Outcome,
    OutcomeClass,
    Payload,
    PushPayload,
)
from orchestrator.channel.callback import CallbackRequest, Heard, Refused
from orchestrator.channel.json_text import loaded, mapping, text
from orchestrator.channel.options import FromEnvironment, read_options, safe_url, secret_of
from orchestrator.channel.push.jpush_callbacks import hear
from orchestrator.channel.push.jpush_cids import Cids
from orchestrator.channel.push.jpush_errors import NO_SUCH_AUDIENCE, classify, error_code
from orchestrator.channel.push.jpush_message import problems, push_body
from orchestrator.channel.push.vendor import private
from orchestrator.channel.rules import by_status, unanswered, unsendable
from orchestrator.channel.secret_hook import secret_if_given
from orchestrator.channel.skew import skew_finding
from orchestrator.channel.transport import Answer, NoAnswer, Transport
from orchestrator.clock import Clock, SystemClock

BASE_URL = "https://api.jpush.cn"
_REQUEST_TIMEOUT = timedelta(seconds=15)
_SUCCESS, _REFUSED = 200, 400
_CID_LIMIT = 200
_NOBODY = "000000000000000000"  # a registration id that nobody has
_UNDECIDED = frozenset({OutcomeClass.AMBIGUOUS, OutcomeClass.RETRY, OutcomeClass.RETRY_AFTER})


class JPushOptions(BaseModel):
    """What an app at JPush needs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    app_key: Annotated[str, Field(pattern=r"^[0-9A-Za-z]{8,64}$")]
    master_secret_file: Path | None = None
    master_secret: FromEnvironment = None
    apns_production: bool = True
    harmony: bool = False
    cids: Annotated[int, Field(ge=1, le=1000)] = 10
    callback_secret_file: Path | None = None
    callback_secret: FromEnvironment = None
    base_url: str = BASE_URL
    timeout: Annotated[timedelta, Field(gt=timedelta(), le=timedelta(seconds=60))] = _REQUEST_TIMEOUT


def open_channel(account: str, options: Mapping[str, Any], callback_url: str) -> Channel:
    """The plugin: a JPush app from its options. Receipts come to ``callback_url/report/SECRET``."""
    given = read_options(JPushOptions, account, options)
    return JPushChannel(
        given.model_copy(update={"base_url": safe_url(account, "base_url", given.base_url)}),
        secret_of(account, given, "master_secret"),
        Transport(given.timeout),
        SystemClock(),
        callback_url=callback_url,
        callback_secret=secret_if_given(account, given, "callback_secret"),
    )


class JPushChannel:
    """One app at JPush; also hears its receipts."""

    channel = "push"
    provider = "jpush"
    kinds = frozenset({"jpush"})
    ambiguity = Ambiguity.RESEND

    def __init__(
        self,
        options: JPushOptions,
        master_secret: str,
        transport: Transport,
        clock: Clock,
        *,
        callback_url: str = "",
        callback_secret: str = "",
    ) -> None:
        self.timeout = 2 * transport.timeout + timedelta(seconds=3)  # the worst: some identifiers first
        self._options = options
        self._transport = transport
        self._clock = clock
        self._basic = "Basic " + b64encode(f"{options.app_key}:{master_secret}".encode()).decode()
        self._secret = callback_secret
        self._callback = f"{callback_url}/report/{callback_secret}" if callback_url and callback_secret else ""
        self._cids = Cids(self._fetch_cids, clock)

    async def send(self, envelope: Envelope) -> Outcome:
        """One request; identifiers are fetched before it, for several messages at a time."""
        payload = envelope.payload
        if (reasons := problems(payload)) or not isinstance(payload, PushPayload):
            return unsendable(reasons)
        cid = await self._cids.of(envelope.message_id)
        if isinstance(cid, Outcome):
            return cid
        answer = await self._post("/v3/push", self._body(envelope, payload, cid))
        outcome = self._outcome(answer, private(envelope, payload))
        if outcome.kind not in _UNDECIDED:
            self._cids.settled(envelope.message_id)
        return outcome

    def problems(self, payload: Payload) -> list[str]:
        """Why JPush would refuse this payload."""
        return problems(payload)

    async def reconcile(self, inquiry: Inquiry) -> Outcome | None:
        """JPush answers questions by its own message id alone, which a lost answer did not tell."""
        del inquiry
        return None

    async def hear(self, request: CallbackRequest) -> Heard | Refused:
        """Deliveries and clicks, where ``params.m`` is our message id."""
        return hear(request, secret=self._secret, basic=self._basic, now=self._clock.machine())

    async def check(self) -> Sequence[Finding]:
        """Let JPush validate a push to nobody: 1011 says that all but the audience was right."""
        payload = PushPayload("", "check")
        envelope = Envelope("0", 1, _NOBODY, "jpush", payload, timedelta(minutes=1), "check")
        body = self._body(envelope, payload, "")
        answer = await self._post("/v3/push/validate", {name: part for name, part in body.items() if name != "cid"})
        if isinstance(answer, NoAnswer):
            hint = "check the network, and base_url"
            return [Finding(Health.BROKEN, f"JPush does not answer ({answer.failure.value})", hint)]
        skewed = skew_finding(answer.headers, self._clock.machine())
        return [self._finding(answer), *([skewed] if skewed else [])]

    async def close(self) -> None:
        """Let go of connections."""
        await self._transport.close()

    def _finding(self, answer: Answer) -> Finding:
        if answer.status == _SUCCESS or error_code(answer) == NO_SUCH_AUDIENCE:
            return Finding(Health.FINE, "JPush accepts app key and master secret")
        outcome = classify(answer, self._clock.machine(), ())
        if outcome.kind is OutcomeClass.STOP_CHANNEL:
            hint = "compare app_key and the master secret with the app's settings at Jiguang, and its list of IPs"
            return Finding(Health.BROKEN, f"JPush refuses us: {outcome.code} {outcome.detail}".strip(), hint)
        return Finding(Health.WARNING, f"JPush answers {outcome.code} {outcome.detail}".strip(), "try again later")

    def _body(self, envelope: Envelope, payload: PushPayload, cid: str) -> dict[str, Any]:
        development = envelope.details.get("environment") == "sandbox"
        return push_body(
            envelope,
            payload,
            cid=cid,
            production=self._options.apns_production and not development,
            harmony=self._options.harmony,
            callback=self._callback,
        )

    async def _post(self, path: str, body: dict[str, Any]) -> Answer | NoAnswer:
        headers = {"authorization": self._basic, "content-type": "application/json"}
        url = f"{self._options.base_url}{path}"
        return await self._transport.request("POST", url, headers=headers, body=orjson.dumps(body))

    def _outcome(self, answer: Answer | NoAnswer, words: Iterator[str]) -> Outcome:
        if isinstance(answer, NoAnswer):
            return unanswered(answer)
        if answer.status >= _REFUSED:
            return classify(answer, self._clock.machine(), words)
        provider_id = text(mapping(loaded(answer.body)).get("msg_id")) if answer.whole else ""
        if answer.status != _SUCCESS or not provider_id.isalnum():
            return by_status(answer.status)
        return Outcome(OutcomeClass.ACCEPTED, code="200", provider_id=provider_id[:64])

    async def _fetch_cids(self) -> list[str] | Outcome:
        """Some fresh identifiers; a failure here certainly sent no message."""
        url = f"{self._options.base_url}/v3/push/cid?count={self._options.cids}&type=push"
        answer = await self._transport.request("GET", url, headers={"authorization": self._basic}, limit=256 * 1024)
        if isinstance(answer, NoAnswer):
            return Outcome(OutcomeClass.RETRY, f"cid_{answer.failure.value}", may_have_left=False)
        listed = mapping(loaded(answer.body)).get("cidlist") if answer.status == _SUCCESS else None
        fetched = [cid for cid in listed if _is_cid(cid)] if isinstance(listed, list) else []
        if fetched:
            return fetched
        return _before_sending(classify(answer, self._clock.machine(), ()))


def _before_sending(outcome: Outcome) -> Outcome:
    """What a refusal to give identifiers means for the message: it waits, unless it is our credentials."""
    kept = outcome.kind in {OutcomeClass.STOP_CHANNEL, OutcomeClass.RETRY_AFTER}
    return Outcome(
        outcome.kind if kept else OutcomeClass.RETRY,
        code=f"cid_{outcome.code}",
        retry_after=outcome.retry_after,
        scope=outcome.scope,
        detail=outcome.detail,
        uncharted=outcome.uncharted,
        may_have_left=False,
    )


def _is_cid(cid: object) -> bool:
    return isinstance(cid, str) and 0 < len(cid) <= _CID_LIMIT and cid.isascii() and cid.isprintable()
