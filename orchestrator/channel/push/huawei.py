"""Push through Huawei Push Kit, v1: one token a request, one OAuth token for all of them.

There is no idempotency key. ``notify_id`` comes from the collapse key, and a notification replaces the one with its
number: so a lost answer is sent again (``Ambiguity.RESEND``). Huawei's own ``collapse_key`` (-1 to 100) stays -1: it
would drop messages that a phone without network has yet to get.

Source: Push Kit, "Downlink messages" (https-send-api), "OAuth 2.0 client credentials". Not confirmed: that an app which
is opened by a tap (``click_action`` 3) finds ``data`` on every version of HMS.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode

import orjson
from pydantic import Field

from orchestrator.channel.base import Ambiguity, Channel, Envelope, Finding, Inquiry, Outcome, Payload, PushPayload
from orchestrator.channel.cached_token import MINT_LIMIT, CachedToken, Token, json_object, lasting, unminted
from orchestrator.channel.callback import CallbackRequest, Heard, Refused
from orchestrator.channel.options import FromEnvironment, read_options, safe_url, secret_of
from orchestrator.channel.push.huawei_errors import ACCEPTED, TABLE, classify, token_refused
from orchestrator.channel.push.huawei_receipts import hear
from orchestrator.channel.push.quotas import DailyQuota
from orchestrator.channel.push.vendor import (
    ANY_TOKEN,
    MakerOptions,
    code_of,
    common_problems,
    custom_data,
    dumped,
    examined,
    notify_id,
    private,
    quota_for,
    seconds_left,
    widest,
)
from orchestrator.channel.rules import unanswered, unsendable
from orchestrator.channel.secret_hook import secret_if_given
from orchestrator.channel.transport import Answer, NoAnswer, Transport
from orchestrator.clock import Clock, SystemClock

BASE_URL = "https://push-api.cloud.huawei.com"
TOKEN_URL = "https://oauth-login.cloud.huawei.com/oauth2/v3/token"  # noqa: S105  # an address
BODY_LIMIT = 4096
"""Bytes of the body, the tokens not counted."""
LONGEST_TTL = 15 * 86_400
_DEAD_ANYWAY = frozenset({"80100000", "80300007"})


class HuaweiOptions(MakerOptions):
    """What an account at Huawei Push Kit needs."""

    app_id: Annotated[str, Field(pattern=r"^\d{5,20}$")]
    client_secret_file: Path | None = None
    client_secret: FromEnvironment = None
    category: Annotated[str, Field(pattern=r"^[A-Z_]{2,32}$")] = "MARKETING"
    test_messages: bool = False
    receipt_id: Annotated[str, Field(max_length=128)] = ""
    callback_user: Annotated[str, Field(max_length=128)] = ""
    base_url: str = BASE_URL
    token_url: str = TOKEN_URL


def open_channel(account: str, options: Mapping[str, Any], callback_url: str) -> Channel:
    """The plugin: a Huawei account from its options. Where receipts go is said in Huawei's console."""
    del callback_url
    read = read_options(HuaweiOptions, account, options)
    urls = {name: safe_url(account, name, getattr(read, name)) for name in ("base_url", "token_url")}
    clock = SystemClock()
    return HuaweiChannel(
        read.model_copy(update=urls),
        secret_of(account, read, "client_secret"),
        Transport(read.timeout),
        clock,
        callback_secret=secret_if_given(account, read, "callback_secret"),
        quota=quota_for(account, "huawei", read.quota, clock.machine()),
    )


class HuaweiChannel:
    """One app at Huawei; also reads its receipts."""

    channel = "push"
    provider = "huawei"
    kinds = frozenset({"huawei"})
    ambiguity = Ambiguity.RESEND

    def __init__(
        self,
        options: HuaweiOptions,
        client_secret: str,
        transport: Transport,
        clock: Clock,
        *,
        callback_secret: str = "",
        quota: DailyQuota | None = None,
    ) -> None:
        self.timeout = 2 * (transport.timeout + MINT_LIMIT)  # the worst: token, refusal, token again, message again
        self.quota = quota
        self._options = options
        self._client_secret = client_secret
        self._callback_secret = callback_secret
        self._transport = transport
        self._clock = clock
        self._tokens = CachedToken(self._mint, clock)
        self._url = f"{options.base_url}/v1/{options.app_id}/messages:send"

    async def send(self, envelope: Envelope) -> Outcome:
        """One request; a second one only after the access token was refused, which certainly was not accepted."""
        payload = envelope.payload
        if (reasons := self.problems(payload)) or not isinstance(payload, PushPayload):
            return unsendable(reasons)
        answer = await self._post(message_json(envelope, payload, self._options))
        if isinstance(answer, Outcome):
            return answer
        if isinstance(answer, NoAnswer):
            return unanswered(answer)
        return classify(answer, envelope.address, self._clock.machine(), private(envelope, payload))

    def problems(self, payload: Payload) -> list[str]:
        """Why Huawei would refuse this payload."""
        found = common_problems(payload)
        if found or not isinstance(payload, PushPayload):
            return found
        size = len(message_json(widest(payload), payload, self._options))
        if size > BODY_LIMIT:
            found.append(f"{size} bytes; Huawei takes {BODY_LIMIT}")
        if payload.image and not payload.image.startswith("https://"):
            found.append("Huawei takes images by https:// alone")
        return found

    async def reconcile(self, inquiry: Inquiry) -> Outcome | None:
        """Huawei answers no questions about a message."""
        del inquiry
        return None

    async def hear(self, request: CallbackRequest) -> Heard | Refused:
        """Receipts, on ``report/SECRET``."""
        return hear(request, self._callback_secret, self._options.callback_user, self._clock.machine())

    async def check(self) -> Sequence[Finding]:
        """A message for nobody, only to be looked at: that its token is invalid proves that ours is not."""
        payload = PushPayload("check", "check")
        envelope = Envelope("0", 1, ANY_TOKEN, "huawei", payload, timedelta(minutes=1), "check")
        answer = await self._post(message_json(envelope, payload, self._options, validate_only=True))
        now = self._clock.machine()
        if not isinstance(answer, Answer):
            return examined(answer, answer if isinstance(answer, Outcome) else None, now)
        code = code_of(json_object(answer).get("code"))
        fine = code == ACCEPTED or code in _DEAD_ANYWAY
        return examined(answer, None if fine else classify(answer, "", now, private(envelope, payload)), now)

    async def close(self) -> None:
        """Let go of connections, and of a token request under way."""
        await self._tokens.close()
        await self._transport.close()

    async def _post(self, body: bytes) -> Answer | NoAnswer | Outcome:
        async def post(token: str) -> Answer | NoAnswer:
            headers = {"authorization": f"Bearer {token}", "content-type": "application/json;charset=UTF-8"}
            return await self._transport.request("POST", self._url, headers=headers, body=body)

        return await self._tokens.use(post, token_refused)

    async def _mint(self) -> Token | Outcome:
        """OAuth 2.0 client credentials (RFC 6749 §4.4): usually an hour."""
        asked_at = self._clock.machine()
        fields = {"grant_type": "client_credentials", "client_id": self._options.app_id}
        form = urlencode({**fields, "client_secret": self._client_secret}).encode()
        headers = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
        answer = await self._transport.request("POST", self._options.token_url, headers=headers, body=form)
        read = json_object(answer) if isinstance(answer, Answer) else {}
        seconds = read.get("expires_in")
        token = None
        if isinstance(answer, Answer) and answer.status == 200 and isinstance(seconds, int):  # noqa: PLR2004
            token = lasting(read.get("access_token"), timedelta(seconds=min(max(seconds, 0), 10**6)), asked_at)
        code = code_of(read.get("error"))
        return token or unminted(answer, asked_at, code, TABLE.get(code))


def message_json(
    envelope: Envelope, payload: PushPayload, options: HuaweiOptions, *, validate_only: bool = False
) -> bytes:
    """The body of ``messages:send``."""
    android: dict[str, Any] = {
        "collapse_key": -1,
        "category": options.category,
        "ttl": f"{seconds_left(envelope, 1, LONGEST_TTL)}s",
        "bi_tag": envelope.message_id,
        "target_user_type": int(options.test_messages),
        "notification": {
            "title": payload.title,
            "body": payload.body,
            "click_action": {"type": 3},
            "notify_id": notify_id(envelope.collapse_key),
            "foreground_show": True,
        },
    }
    if payload.image:
        android["notification"]["image"] = payload.image
    if options.receipt_id:
        android["receipt_id"] = options.receipt_id
    message = {"data": dumped(custom_data(envelope, payload)), "android": android, "token": [envelope.address]}
    return orjson.dumps({"validate_only": validate_only, "message": message})
