"""Push through OPPO PUSH (OPPO, OnePlus, realme): one registration id a request; two regions, a token for each.

``app_message_id`` is our message id: OPPO sends the same one to the same phone only once. So a lost answer is sent
again (``Ambiguity.RESEND``).

Source: OPPO PUSH, "Authentication", "Single push", "Message receipts", and its server SDK 1.1 (limits). Not confirmed:
that ``action_parameters`` takes 4000 characters; what answers an ``app_message_id`` that was there (taken to be 32).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode

from pydantic import Field

from orchestrator.channel.base import Ambiguity, Channel, Envelope, Finding, Inquiry, Outcome, Payload, PushPayload
from orchestrator.channel.cached_token import MINT_LIMIT, CachedToken, Token, json_object, lasting, unminted
from orchestrator.channel.callback import CallbackRequest, Heard, Refused, Report, ReportState
from orchestrator.channel.options import FromEnvironment, read_options, safe_url, secret_of
from orchestrator.channel.push.oppo_errors import TABLE, classify, token_refused
from orchestrator.channel.push.quotas import DailyQuota
from orchestrator.channel.push.vendor import (
    DEAD,
    MakerOptions,
    callback_of,
    code_of,
    common_problems,
    custom_data,
    dumped,
    examined,
    notify_id,
    private,
    quota_for,
    read_hook,
    seconds_left,
    told_of,
    widest,
)
from orchestrator.channel.rules import unanswered, unsendable
from orchestrator.channel.secret_hook import secret_if_given
from orchestrator.channel.transport import Answer, NoAnswer, Transport
from orchestrator.clock import Clock, SystemClock

BASE_URL = "https://api.push.oppomobile.com"
BASE_URL_ABROAD = "https://api-intl.push.oppomobile.com"
TITLE_LIMIT, BODY_LIMIT, DATA_LIMIT = 50, 200, 4000
"""Characters."""
CALLBACK_LIMIT = 200
LONGEST_TTL = 10 * 86_400
TOKEN_LIFE = timedelta(hours=24)
_FORM = {"content-type": "application/x-www-form-urlencoded;charset=UTF-8", "accept": "application/json"}

EVENTS: dict[str, ReportState] = {
    "push_arrive": ReportState.DELIVERED,
    "regid_invalid": ReportState.UNDELIVERED,
    "user_daily_limit": ReportState.UNDELIVERED,  # of this phone, for today
}


class OppoOptions(MakerOptions):
    """What an account at OPPO needs."""

    app_key: Annotated[str, Field(pattern=r"^[A-Za-z0-9]{8,64}$")]
    master_secret_file: Path | None = None
    master_secret: FromEnvironment = None
    channel_id: Annotated[str, Field(max_length=64)] = ""
    category: Annotated[str, Field(pattern=r"^[A-Z_]{0,32}$")] = ""
    base_url: str = BASE_URL
    base_url_abroad: str = BASE_URL_ABROAD


def open_channel(account: str, options: Mapping[str, Any], callback_url: str) -> Channel:
    """The plugin: an OPPO account from its options. Receipts are asked for with every message."""
    read = read_options(OppoOptions, account, options)
    urls = {name: safe_url(account, name, getattr(read, name)) for name in ("base_url", "base_url_abroad")}
    callback_secret = secret_if_given(account, read, "callback_secret")
    clock = SystemClock()
    return OppoChannel(
        read.model_copy(update=urls),
        secret_of(account, read, "master_secret"),
        Transport(read.timeout),
        clock,
        callback_secret=callback_secret,
        callback_url=callback_of(account, callback_url, callback_secret, CALLBACK_LIMIT),
        quota=quota_for(account, "oppo", read.quota, clock.machine()),
    )


class OppoChannel:
    """One app at OPPO, at home and abroad; also reads its receipts."""

    channel = "push"
    provider = "oppo"
    kinds = frozenset({"oppo"})
    ambiguity = Ambiguity.RESEND

    def __init__(
        self,
        options: OppoOptions,
        master_secret: str,
        transport: Transport,
        clock: Clock,
        *,
        callback_secret: str = "",
        callback_url: str = "",
        quota: DailyQuota | None = None,
    ) -> None:
        self.timeout = 2 * (transport.timeout + MINT_LIMIT)  # the worst: token, refusal, token again, message again
        self.quota = quota
        self._options = options
        self._master_secret = master_secret
        self._callback_secret = callback_secret
        self._callback_url = callback_url
        self._transport = transport
        self._clock = clock
        bases = {False: options.base_url, True: options.base_url_abroad}
        self._regions = {far: (base, CachedToken(partial(self._mint, base), clock)) for far, base in bases.items()}

    async def send(self, envelope: Envelope) -> Outcome:
        """One request; a second one only after the access token was refused, which certainly was not accepted."""
        payload = envelope.payload
        if (reasons := self.problems(payload)) or not isinstance(payload, PushPayload):
            return unsendable(reasons)
        base, tokens = self._regions[is_abroad(envelope.address)]
        message = dumped(message_of(envelope, payload, self._options, self._callback_url))

        async def post(token: str) -> Answer | NoAnswer:
            body = urlencode({"auth_token": token, "message": message}).encode()
            url = f"{base}/server/v1/message/notification/unicast"
            return await self._transport.request("POST", url, headers=_FORM, body=body)

        answer = await tokens.use(post, token_refused)
        if isinstance(answer, Outcome):
            return answer
        if isinstance(answer, NoAnswer):
            return unanswered(answer)
        return classify(answer, envelope, self._clock.machine(), private(envelope, payload))

    def problems(self, payload: Payload) -> list[str]:
        """Why OPPO would refuse this payload."""
        found = common_problems(payload)
        if found or not isinstance(payload, PushPayload):
            return found
        data = dumped(custom_data(widest(payload), payload))
        limits = [("title", payload.title, TITLE_LIMIT), ("body", payload.body, BODY_LIMIT), ("data", data, DATA_LIMIT)]
        return [f"{name}: {len(text)} characters; OPPO takes {most}" for name, text, most in limits if len(text) > most]

    async def reconcile(self, inquiry: Inquiry) -> Outcome | None:
        """A lost answer is sent again instead."""
        del inquiry
        return None

    async def hear(self, request: CallbackRequest) -> Heard | Refused:
        """Receipts, on ``report/SECRET``: a list of events."""
        read = read_hook(request, self._callback_secret)
        if isinstance(read, Refused):
            return read
        if not isinstance(read, list):
            return Refused.MALFORMED
        told = [_report(each) for each in read if isinstance(each, dict)]
        return Heard([each for each in told if each is not None], b"{}")

    async def check(self) -> Sequence[Finding]:
        """A token of either region, and what time it is there."""
        found: list[Finding] = []
        for far, (base, _) in self._regions.items():
            answer = await self._ask(base)
            now = self._clock.machine()
            token = self._read(answer)
            told = examined(answer, token if isinstance(token, Outcome) else None, now)
            found += [replace(each, what=f"{'abroad' if far else 'in China'}: {each.what}") for each in told]
        return found

    async def close(self) -> None:
        """Let go of connections, and of token requests under way."""
        for _, tokens in self._regions.values():
            await tokens.close()
        await self._transport.close()

    async def _mint(self, base: str) -> Token | Outcome:
        return self._read(await self._ask(base))

    async def _ask(self, base: str) -> Answer | NoAnswer:
        """``sign`` is SHA-256 over app key, milliseconds, and master secret."""
        key, stamp = self._options.app_key, str(int(self._clock.machine().timestamp() * 1000))
        sign = sha256(f"{key}{stamp}{self._master_secret}".encode()).hexdigest()
        body = urlencode({"app_key": key, "timestamp": stamp, "sign": sign}).encode()
        return await self._transport.request("POST", f"{base}/server/v1/auth", headers=_FORM, body=body)

    def _read(self, answer: Answer | NoAnswer) -> Token | Outcome:
        now = self._clock.machine()
        read = json_object(answer) if isinstance(answer, Answer) else {}
        code, data = code_of(read.get("code")), read.get("data")
        value = data.get("auth_token") if isinstance(data, dict) else None
        token = lasting(value, TOKEN_LIFE, now) if code == "0" else None
        return token or unminted(answer, now, "" if code == "0" else code, TABLE.get(code))


def is_abroad(registration_id: str) -> bool:
    """``US_…`` and ``OPPO_US_…`` are; ``CN_…``, ``OPPO_CN_…`` and what has no prefix are not."""
    *prefixes, _ = registration_id.split("_")
    return bool(prefixes) and prefixes[:2][-1] != "CN"


def message_of(envelope: Envelope, payload: PushPayload, options: OppoOptions, callback_url: str) -> dict[str, Any]:
    """The ``message`` of a single push."""
    notification: dict[str, Any] = {
        "app_message_id": envelope.message_id,
        "style": 1,
        "title": payload.title,
        "content": payload.body,
        "click_action_type": 0,  # opens the app, which finds the rest in the parameters
        "action_parameters": dumped(custom_data(envelope, payload)),
        "off_line": True,
        "off_line_ttl": seconds_left(envelope, 1, LONGEST_TTL),
        "notify_id": notify_id(envelope.collapse_key),
    }
    optional = {"channel_id": options.channel_id, "category": options.category, "call_back_url": callback_url}
    notification |= {name: value for name, value in optional.items() if value}
    if callback_url:
        notification["call_back_parameter"] = envelope.message_id
    return {"target_type": 2, "target_value": envelope.address, "notification": notification}


def _report(event: dict[str, Any]) -> Report | None:
    """One event; None for what says nothing we use."""
    kind, provider_id = event.get("eventType"), event.get("messageId") or event.get("taskId")
    if not isinstance(kind, str) or kind not in EVENTS or not isinstance(provider_id, str):
        return None
    message_id, address = told_of(event, "registrationIds")
    dead = DEAD.kind if kind == "regid_invalid" else None
    return Report(provider_id[:128], kind, EVENTS[kind], kind, dead, message_id=message_id, address=address)
