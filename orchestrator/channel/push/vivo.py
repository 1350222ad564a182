"""Push through vivo (vivo, iQOO): one registration id a request, one token for all of them.

``requestId`` is our message id, stable over resends, and ``notifyId`` comes from the collapse key: a notification
replaces the one with its number. So a lost answer is sent again (``Ambiguity.RESEND``).

Source: vivo, "Push server API" 2.9 and later. Not confirmed: whether a repeated ``requestId`` is sent again; what
``ackType`` of a receipt means; that a token that ends is told by 10000.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import md5
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
from pydantic import Field

from orchestrator.channel.base import Ambiguity, Channel, Envelope, Finding, Inquiry, Outcome, Payload, PushPayload
from orchestrator.channel.cached_token import MINT_LIMIT, CachedToken, Token, json_object, lasting, unminted
from orchestrator.channel.callback import (
    CallbackRequest,
    Heard,
    Refused,
    Report,
    ReportState,
    Seen,
    SeenDeed,
)
from orchestrator.channel.options import FromEnvironment, read_options, safe_url, secret_of
from orchestrator.channel.push.quotas import DailyQuota
from orchestrator.channel.push.vendor import (
    MakerOptions,
    callback_of,
    code_of,
    common_problems,
    examined,
    moment,
    private,
    quota_for,
    read_hook,
    told_of,
)
from orchestrator.channel.push.vivo_errors import TABLE, classify, token_refused
from orchestrator.channel.push.vivo_message import message_of, problems
from orchestrator.channel.rules import unanswered, unsendable
from orchestrator.channel.secret_hook import secret_if_given
from orchestrator.channel.transport import Answer, NoAnswer, Transport
from orchestrator.clock import Clock, SystemClock

BASE_URL = "https://api-push.vivo.com.cn"
CALLBACK_LIMIT = 128
TOKEN_LIFE = timedelta(hours=2)
"""It is good for a day; vivo asks for a new one every hour or two."""
_JSON = {"content-type": "application/json", "accept": "application/json"}
_CLICKED = "1"


class VivoOptions(MakerOptions):
    """What an account at vivo needs."""

    app_id: Annotated[int, Field(gt=0, lt=10**12)]
    app_key: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{8,64}$")]
    app_secret_file: Path | None = None
    app_secret: FromEnvironment = None
    classification: Literal["operational", "system"] = "operational"
    category: Annotated[str, Field(pattern=r"^[A-Z_]{2,32}$")] = "MARKETING"
    test_messages: bool = False
    base_url: str = BASE_URL


def open_channel(account: str, options: Mapping[str, Any], callback_url: str) -> Channel:
    """The plugin: a vivo account from its options. Receipts are asked for with every message."""
    read = read_options(VivoOptions, account, options)
    callback_secret = secret_if_given(account, read, "callback_secret")
    clock = SystemClock()
    return VivoChannel(
        read.model_copy(update={"base_url": safe_url(account, "base_url", read.base_url)}),
        secret_of(account, read, "app_secret"),
        Transport(read.timeout),
        clock,
        callback_secret=callback_secret,
        callback_url=callback_of(account, callback_url, callback_secret, CALLBACK_LIMIT),
        quota=quota_for(account, "vivo", read.quota, clock.machine()),
    )


class VivoChannel:
    """One app at vivo; also reads its receipts."""

    channel = "push"
    provider = "vivo"
    kinds = frozenset({"vivo"})
    ambiguity = Ambiguity.RESEND

    def __init__(
        self,
        options: VivoOptions,
        app_secret: str,
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
        self._app_secret = app_secret
        self._callback_secret = callback_secret
        self._callback_url = callback_url
        self._transport = transport
        self._clock = clock
        self._tokens = CachedToken(self._mint, clock)
        self._common = {
            "appId": options.app_id,
            "classification": int(options.classification == "system"),
            "category": options.category,
            "pushMode": int(options.test_messages),
        }

    async def send(self, envelope: Envelope) -> Outcome:
        """One request; a second one only after the access token was refused, which certainly was not accepted."""
        payload = envelope.payload
        if (reasons := self.problems(payload)) or not isinstance(payload, PushPayload):
            return unsendable(reasons)
        body = orjson.dumps(self._common | message_of(envelope, payload, self._callback_url))

        async def post(token: str) -> Answer | NoAnswer:
            url, headers = f"{self._options.base_url}/message/send", {**_JSON, "authToken": token}
            return await self._transport.request("POST", url, headers=headers, body=body)

        answer = await self._tokens.use(post, token_refused)
        if isinstance(answer, Outcome):
            return answer
        if isinstance(answer, NoAnswer):
            return unanswered(answer)
        now, quoted = self._clock.machine(), private(envelope, payload)
        return classify(answer, envelope.address, now, quoted, testing=self._options.test_messages)

    def problems(self, payload: Payload) -> list[str]:
        """Why vivo would refuse this payload."""
        found = common_problems(payload)
        if found or not isinstance(payload, PushPayload):
            return found
        return list(problems(payload, testing=self._options.test_messages))

    async def reconcile(self, inquiry: Inquiry) -> Outcome | None:
        """A lost answer is sent again instead."""
        del inquiry
        return None

    async def hear(self, request: CallbackRequest) -> Heard | Refused:
        """Receipts, on ``report/SECRET``: a map from vivo's task id to whom the message reached."""
        read = read_hook(request, self._callback_secret)
        if isinstance(read, Refused):
            return read
        if not isinstance(read, dict):
            return Refused.MALFORMED
        now = self._clock.machine()
        return Heard([_told(name, said, now) for name, said in read.items() if isinstance(said, dict)], b"{}")

    async def check(self) -> Sequence[Finding]:
        """A token, and what time it is there."""
        answer = await self._ask()
        token = self._read(answer)
        return examined(answer, token if isinstance(token, Outcome) else None, self._clock.machine())

    async def close(self) -> None:
        """Let go of connections, and of a token request under way."""
        await self._tokens.close()
        await self._transport.close()

    async def _mint(self) -> Token | Outcome:
        return self._read(await self._ask())

    async def _ask(self) -> Answer | NoAnswer:
        """``sign`` is MD5 over app id, app key, milliseconds and app secret: vivo's choice."""
        app_id, key = self._options.app_id, self._options.app_key
        stamp = int(self._clock.machine().timestamp() * 1000)
        sign = md5(f"{app_id}{key}{stamp}{self._app_secret}".encode(), usedforsecurity=False).hexdigest()
        body = orjson.dumps({"appId": app_id, "appKey": key, "timestamp": stamp, "sign": sign})
        url = f"{self._options.base_url}/message/auth"
        return await self._transport.request("POST", url, headers=_JSON, body=body)

    def _read(self, answer: Answer | NoAnswer) -> Token | Outcome:
        now = self._clock.machine()
        read = json_object(answer) if isinstance(answer, Answer) else {}
        code = code_of(read.get("result"))
        token = lasting(read.get("authToken"), TOKEN_LIFE, now) if code == "0" else None
        return token or unminted(answer, now, "" if code == "0" else code, TABLE.get(code))


def _told(task_id: str, said: dict[str, Any], now: datetime) -> Report | Seen:
    message_id, address = told_of(said)
    if code_of(said.get("ackType")) == _CLICKED:
        at = moment(said.get("ackTime"), now)
        return Seen(f"vivo:{task_id}:click", task_id, SeenDeed.CLICK, at, message_id)
    return Report(task_id, "delivered", ReportState.DELIVERED, message_id=message_id, address=address)
