"""Push through Xiaomi (Mi Push), v3: one registration id a request, the app's secret in every request.

There is no idempotency key on the server; on the phone, ``extra.jobkey`` makes a second copy of a message vanish, and
``notify_id`` replace what is shown under it: so a lost answer is sent again (``Ambiguity.RESEND``).

Source: Xiaomi, "Server API addresses and parameters", "Server Java SDK" (receipts). Not confirmed: that ``payload``
needs no escaping besides the form's; the names of bad registration ids in an answer; receipts above 16.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode

from pydantic import Field

from orchestrator.channel.base import Ambiguity, Channel, Envelope, Finding, Inquiry, Outcome, Payload, PushPayload
from orchestrator.channel.cached_token import json_object
from orchestrator.channel.callback import (
    CallbackRequest,
    Heard,
    Refused,
    Report,
    ReportState,
    Seen,
    SeenDeed,
)
from orchestrator.channel.json_text import loaded
from orchestrator.channel.options import FromEnvironment, read_options, safe_url, secret_of
from orchestrator.channel.push.quotas import DailyQuota
from orchestrator.channel.push.vendor import (
    DEAD,
    STOP,
    MakerOptions,
    callback_of,
    code_of,
    common_problems,
    custom_data,
    dumped,
    examined,
    moment,
    notify_id,
    private,
    quota_for,
    read_hook,
    seconds_left,
    told_of,
    widest,
)
from orchestrator.channel.push.xiaomi_errors import TABLE, classify
from orchestrator.channel.rules import by_status, unanswered, unsendable
from orchestrator.channel.secret_hook import secret_if_given
from orchestrator.channel.transport import NoAnswer, Transport
from orchestrator.clock import Clock, SystemClock

BASE_URL = "https://api.xmpush.xiaomi.com"
TITLE_LIMIT, BODY_LIMIT = 49, 127
"""Characters: fewer than 50 and 128."""
PAYLOAD_LIMIT = 4096
CALLBACK_LIMIT = 256
LONGEST_TTL = 14 * 86_400
WANTED_RECEIPTS = 1 + 2 + 16
"""Delivered, clicked, invalid device."""
_CLICKED = "2"

RECEIPTS: dict[str, tuple[str, ReportState]] = {
    "1": ("delivered", ReportState.DELIVERED),
    "16": ("invalid_device", ReportState.UNDELIVERED),
    "32": ("push_disabled", ReportState.UNDELIVERED),  # the app switched push off
    "64": ("filtered", ReportState.UNDELIVERED),  # the device does not meet the message's conditions
    "128": ("daily_limit", ReportState.UNDELIVERED),  # of this device
}


class XiaomiOptions(MakerOptions):
    """What an account at Xiaomi needs."""

    package: Annotated[str, Field(pattern=r"^[A-Za-z][\w.]{2,127}$")]
    app_secret_file: Path | None = None
    app_secret: FromEnvironment = None
    channel_id: Annotated[str, Field(max_length=64)] = ""
    base_url: str = BASE_URL


def open_channel(account: str, options: Mapping[str, Any], callback_url: str) -> Channel:
    """The plugin: a Xiaomi account from its options. Receipts are asked for with every message."""
    read = read_options(XiaomiOptions, account, options)
    callback_secret = secret_if_given(account, read, "callback_secret")
    clock = SystemClock()
    return XiaomiChannel(
        read.model_copy(update={"base_url": safe_url(account, "base_url", read.base_url)}),
        secret_of(account, read, "app_secret"),
        Transport(read.timeout),
        clock,
        callback_secret=callback_secret,
        callback_url=callback_of(account, callback_url, callback_secret, CALLBACK_LIMIT),
        quota=quota_for(account, "xiaomi", read.quota, clock.machine()),
    )


class XiaomiChannel:
    """One app at Xiaomi; also reads its receipts."""

    channel = "push"
    provider = "xiaomi"
    kinds = frozenset({"xiaomi"})
    ambiguity = Ambiguity.RESEND

    def __init__(
        self,
        options: XiaomiOptions,
        app_secret: str,
        transport: Transport,
        clock: Clock,
        *,
        callback_secret: str = "",
        callback_url: str = "",
        quota: DailyQuota | None = None,
    ) -> None:
        self.timeout = transport.timeout + timedelta(seconds=3)  # waiting for a connection comes on top
        self.quota = quota
        self._options = options
        self._headers = {"authorization": f"key={app_secret}", "accept": "application/json"}
        self._callback_secret = callback_secret
        self._callback_url = callback_url
        self._transport = transport
        self._clock = clock

    async def send(self, envelope: Envelope) -> Outcome:
        """One request."""
        payload = envelope.payload
        if (reasons := self.problems(payload)) or not isinstance(payload, PushPayload):
            return unsendable(reasons)
        body = urlencode(form(envelope, payload, self._options, self._callback_url)).encode()
        headers = {**self._headers, "content-type": "application/x-www-form-urlencoded;charset=UTF-8"}
        url = f"{self._options.base_url}/v3/message/regid"
        answer = await self._transport.request("POST", url, headers=headers, body=body)
        if isinstance(answer, NoAnswer):
            return unanswered(answer)
        return classify(answer, envelope.address, self._clock.machine(), private(envelope, payload))

    def problems(self, payload: Payload) -> list[str]:
        """Why Xiaomi would refuse this payload."""
        found = common_problems(payload)
        if found or not isinstance(payload, PushPayload):
            return found
        for name, text, most in (("title", payload.title, TITLE_LIMIT), ("body", payload.body, BODY_LIMIT)):
            if len(text) > most:
                found.append(f"{name}: {len(text)} characters; Xiaomi takes {most}")
        size = len(dumped(custom_data(widest(payload), payload)).encode())
        if size > PAYLOAD_LIMIT:
            found.append(f"{size} bytes of data; Xiaomi takes {PAYLOAD_LIMIT}")
        return found

    async def reconcile(self, inquiry: Inquiry) -> Outcome | None:
        """A lost answer is sent again instead."""
        del inquiry
        return None

    async def hear(self, request: CallbackRequest) -> Heard | Refused:
        """Receipts, on ``report/SECRET``: a map from Xiaomi's id to what became of the message."""
        read = read_hook(request, self._callback_secret)
        if read is Refused.MALFORMED:  # a form then, with the same JSON in ``data``
            read = loaded((request.form() or {}).get("data", ""))
        if isinstance(read, Refused):
            return read
        if not isinstance(read, dict):
            return Refused.MALFORMED
        now = self._clock.machine()
        told = [_told(name, said, now) for name, said in read.items() if isinstance(said, dict)]
        return Heard([each for each in told if each is not None], b"{}")

    async def check(self) -> Sequence[Finding]:
        """A question about a message that never was: only the secret matters."""
        url = f"{self._options.base_url}/v1/trace/message/status?msg_id=0"
        answer = await self._transport.request("GET", url, headers=self._headers)
        now = self._clock.machine()
        if isinstance(answer, NoAnswer):
            return examined(answer, None, now)
        code = code_of(json_object(answer).get("code"))
        rule = TABLE.get(code)
        if rule is STOP:
            return examined(answer, rule.outcome(code), now)
        return examined(answer, None if code else by_status(answer.status), now)

    async def close(self) -> None:
        """Let go of connections."""
        await self._transport.close()


def form(envelope: Envelope, payload: PushPayload, options: XiaomiOptions, callback_url: str) -> dict[str, str]:
    """The fields of ``/v3/message/regid``."""
    fields = {
        "registration_id": envelope.address,
        "restricted_package_name": options.package,
        "pass_through": "0",
        "title": payload.title,
        "description": payload.body,
        "payload": dumped(custom_data(envelope, payload)),
        "notify_type": "-1",
        "notify_id": str(notify_id(envelope.collapse_key)),
        "time_to_live": str(1000 * seconds_left(envelope, 1, LONGEST_TTL)),
        "extra.notify_effect": "1",  # a tap opens the app, which finds the rest in the payload
        "extra.notify_foreground": "1",
        "extra.jobkey": sha256(envelope.message_id.encode()).hexdigest()[:8],  # eight characters fit every version
    }
    if options.channel_id:
        fields["extra.channel_id"] = options.channel_id
    if callback_url:
        fields["extra.callback"] = callback_url
        fields["extra.callback.param"] = envelope.message_id
        fields["extra.callback.type"] = str(WANTED_RECEIPTS)
    return fields


def _told(provider_id: str, said: dict[str, Any], now: datetime) -> Report | Seen | None:
    """One entry of the map; None for what says nothing we use."""
    kind, (message_id, address) = code_of(said.get("type")), told_of(said)
    if kind == _CLICKED:
        at = moment(said.get("timestamp"), now)
        return Seen(f"xiaomi:{provider_id}:click", provider_id, SeenDeed.CLICK, at, message_id)
    if kind not in RECEIPTS:
        return None
    status, state = RECEIPTS[kind]
    dead = DEAD.kind if kind == "16" else None
    return Report(provider_id, status, state, kind, dead, message_id=message_id, address=address)
