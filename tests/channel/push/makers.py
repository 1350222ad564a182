"""The four phone makers, each as a far end plays it: what opens a channel there, and what it answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from orchestrator.channel.base import Channel, Envelope, Outcome, PushPayload
from orchestrator.channel.push.huawei import HuaweiChannel, HuaweiOptions
from orchestrator.channel.push.oppo import OppoChannel, OppoOptions
from orchestrator.channel.push.vivo import VivoChannel, VivoOptions
from orchestrator.channel.push.xiaomi import XiaomiChannel, XiaomiOptions
from orchestrator.channel.transport import Transport
from orchestrator.clock import ManualClock
from tests.channel.far_end import Act, FarEnd, answers

SECRET = "canary-app-secret-0123456789"
HOOK_SECRET = "canary-hook-secret"
CALLBACK = f"https://push.example/callbacks/acc/report/{HOOK_SECRET}"
PAYLOAD = PushPayload(
    "午餐Canarytitle", "面条Canarybody一碗", link="https://app.example/x", data={"coupon": "Canarycoupon"}
)
ENVELOPE = Envelope("4711", 1, "CanaryToken0123456789abcdef", "", PAYLOAD, timedelta(minutes=90), "run-7-user-9")
Keywords = dict[str, Any]


@dataclass(frozen=True)
class Maker:
    """One of the four."""

    name: str
    send: str
    accepted: dict[str, Any]
    refused: Callable[[str], dict[str, Any]]
    token: str = ""
    token_answer: Callable[[int], dict[str, Any]] = field(default=lambda _: {})
    token_refused: str = ""
    provider_id: str = ""

    def open(self, url: str, clock: ManualClock, patience: float, **options: Any) -> Any:
        transport = Transport(timedelta(seconds=patience))
        match self.name:
            case "huawei":
                read = HuaweiOptions(app_id="104567890", base_url=url, token_url=f"{url}{self.token}", **options)
                return HuaweiChannel(read, SECRET, transport, clock, callback_secret=HOOK_SECRET)
            case "xiaomi":
                mi = XiaomiOptions(package="com.example.sandbox", base_url=url, **options)
                return XiaomiChannel(mi, SECRET, transport, clock, callback_secret=HOOK_SECRET, callback_url=CALLBACK)
            case "oppo":
                op = OppoOptions(app_key="0123456789abcdef", base_url=url, base_url_abroad=f"{url}/intl", **options)
                return OppoChannel(op, SECRET, transport, clock, callback_secret=HOOK_SECRET, callback_url=CALLBACK)
            case _:
                vi = VivoOptions(app_id=104567, app_key="0123456789abcdef", base_url=url, **options)
                return VivoChannel(vi, SECRET, transport, clock, callback_secret=HOOK_SECRET, callback_url=CALLBACK)

    def ok(self) -> Act:
        return answers(200, self.accepted)

    def error(self, code: str, status: int = 200, **headers: str) -> Act:
        return answers(status, self.refused(code), **headers)


def number(code: str) -> int | str:
    return int(code) if code.removeprefix("-").isdecimal() else code


HUAWEI = Maker(
    "huawei",
    "/v1/104567890/messages:send",
    {"code": "80000000", "msg": "Success", "requestId": "157000006"},
    lambda code: {"code": code, "msg": "no CanaryToken0123456789abcdef here", "requestId": "1"},
    "/oauth2/v3/token",
    lambda n: {"access_token": f"t-{n}", "expires_in": 3600, "token_type": "Bearer"},
    "80200003",
    "157000006",
)
XIAOMI = Maker(
    "xiaomi",
    "/v3/message/regid",
    {"result": "ok", "code": 0, "data": {"id": "scm52b"}, "description": "成功", "info": "Received 1 regid"},
    lambda code: {"result": "error", "code": number(code), "reason": "no CanaryToken0123456789abcdef here"},
    provider_id="scm52b",
)
OPPO = Maker(
    "oppo",
    "/server/v1/message/notification/unicast",
    {"code": 0, "message": "Success", "data": {"messageId": "app-1-1-622ff7"}},
    lambda code: {"code": number(code), "message": "no CanaryToken0123456789abcdef here"},
    "/server/v1/auth",
    lambda n: {"code": 0, "message": "Success", "data": {"auth_token": f"t-{n}", "create_time": 1}},
    "11",
    "app-1-1-622ff7",
)
VIVO = Maker(
    "vivo",
    "/message/send",
    {"result": 0, "desc": "请求成功", "taskId": "121397329"},
    lambda code: {"result": number(code), "desc": "no CanaryToken0123456789abcdef here"},
    "/message/auth",
    lambda n: {"result": 0, "desc": "请求成功", "authToken": f"t-{n}"},
    "10000",
    "121397329",
)
MAKERS = (HUAWEI, XIAOMI, OPPO, VIVO)
WITH_TOKENS = (HUAWEI, OPPO, VIVO)


@asynccontextmanager
async def opened(
    maker: Maker, clock: ManualClock, *acts: Act, patience: float = 5, tokens: Sequence[Act] = (), **options: Any
) -> AsyncIterator[tuple[Any, FarEnd]]:
    async with FarEnd() as far:
        if maker.token:
            far.plays(maker.token, *(tokens or [answers(200, maker.token_answer(n)) for n in (1, 2, 3)]))
        far.plays(maker.send, *acts)
        channel = maker.open(far.url, clock, patience, **options)
        yield channel, far
        await channel.close()


def sent(
    maker: Maker,
    clock: ManualClock,
    *acts: Act,
    envelope: Envelope = ENVELOPE,
    patience: float = 5,
    tokens: Sequence[Act] = (),
    **options: Any,
) -> tuple[Outcome, int, int]:
    """The outcome, how many requests carried the message, and how many asked for a token."""

    async def main() -> tuple[Outcome, int, int]:
        async with opened(maker, clock, *acts, patience=patience, tokens=tokens, **options) as (channel, far):
            given: Channel = channel
            outcome = await given.send(envelope)
            return outcome, len(far.seen(maker.send)), len(far.seen(maker.token)) if maker.token else 0

    return asyncio.run(main())


def to(address: str) -> Envelope:
    return replace(ENVELOPE, address=address)
