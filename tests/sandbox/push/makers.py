"""A real channel at the sandbox, and a customer's server whose receipts reach that channel's ``hear``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from orchestrator.channel.base import Envelope, Outcome, PushPayload
from orchestrator.channel.callback import CallbackRequest, Heard, Refused, Report, Seen
from orchestrator.channel.push.huawei import HuaweiChannel, HuaweiOptions
from orchestrator.channel.push.oppo import OppoChannel, OppoOptions
from orchestrator.channel.push.vivo import VivoChannel, VivoOptions
from orchestrator.channel.push.xiaomi import XiaomiChannel, XiaomiOptions
from orchestrator.channel.transport import Transport
from orchestrator.clock import SystemClock
from orchestrator.sandbox.push import huawei, oppo, vivo, xiaomi
from orchestrator.sandbox.server import Sandbox
from tests.channel.far_end import FarEnd, answers
from tests.channel.far_end import Seen as Asked

HOOK_SECRET = "hook-secret-0123456789"
PATH = f"/callbacks/acc/report/{HOOK_SECRET}"
PAYLOAD = PushPayload("午餐好了", "面条一碗，等你来吃", link="https://app.example/x", data={"coupon": "C1"})
NAMES = ("huawei", "xiaomi", "oppo", "vivo")


def envelope(address: str, message_id: str = "4711", **more: Any) -> Envelope:
    return replace(Envelope(message_id, 1, address, "", PAYLOAD, timedelta(hours=2), f"key-{message_id}"), **more)


def open_channel(name: str, sandbox: Sandbox, callback_url: str = "", secret: str = "") -> Any:
    """The channel with the sandbox's credentials, or with a wrong ``secret``."""
    url, transport, clock = sandbox.url, Transport(timedelta(seconds=5)), SystemClock()
    makers: dict[str, Callable[[], Any]] = {
        "huawei": lambda: HuaweiChannel(
            HuaweiOptions(
                app_id=huawei.APP_ID, base_url=url, token_url=f"{url}/oauth2/v3/token", callback_user="sandbox"
            ),
            secret or sandbox.credentials.secret(huawei.SECRET),
            transport,
            clock,
            callback_secret=HOOK_SECRET,
        ),
        "xiaomi": lambda: XiaomiChannel(
            XiaomiOptions(package=xiaomi.PACKAGE, base_url=url),
            secret or sandbox.credentials.secret(xiaomi.SECRET),
            transport,
            clock,
            callback_secret=HOOK_SECRET,
            callback_url=callback_url,
        ),
        "oppo": lambda: OppoChannel(
            OppoOptions(app_key=oppo.APP_KEY, base_url=url, base_url_abroad=f"{url}/intl"),
            secret or sandbox.credentials.secret(oppo.SECRET),
            transport,
            clock,
            callback_secret=HOOK_SECRET,
            callback_url=callback_url,
        ),
        "vivo": lambda: VivoChannel(
            VivoOptions(app_id=vivo.APP_ID, app_key=vivo.APP_KEY, base_url=url),
            secret or sandbox.credentials.secret(vivo.SECRET),
            transport,
            clock,
            callback_secret=HOOK_SECRET,
            callback_url=callback_url,
        ),
    }
    return makers[name]()


@dataclass
class Listener:
    """What came to the customer's server, and what the channel made of it."""

    verdicts: list[Heard | Refused] = field(default_factory=list)
    told: list[Report | Seen] = field(default_factory=list)
    came: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait(self, posts: int) -> None:
        async with asyncio.timeout(10):
            while len(self.verdicts) < posts:
                self.came.clear()
                await self.came.wait()


@asynccontextmanager
async def listening(name: str, sandbox: Sandbox) -> AsyncIterator[tuple[Any, Listener]]:
    """A channel whose receipts come back to it."""
    listener = Listener()
    async with FarEnd() as far:
        channel = open_channel(name, sandbox, f"{far.url}{PATH}")

        async def act(seen: Asked, writer: asyncio.StreamWriter) -> None:
            hook = seen.path.removeprefix("/callbacks/acc/")
            verdict = await channel.hear(CallbackRequest(seen.target, hook, {}, seen.headers, seen.body))
            listener.verdicts.append(verdict)
            if isinstance(verdict, Heard):
                listener.told += [one for one in verdict.said if isinstance(one, Report | Seen)]
            listener.came.set()
            await answers(200 if isinstance(verdict, Heard) else 403)(seen, writer)

        far.plays(PATH, act).plays(f"{PATH}0", act)
        sandbox._world.callbacks[name] = f"{far.url}{PATH}"
        yield channel, listener
        await channel.close()


def send(name: str, sandbox: Sandbox, *envelopes: Envelope, secret: str = "") -> list[Outcome]:
    """The outcomes of some messages, one after the other."""

    async def main() -> list[Outcome]:
        channel = open_channel(name, sandbox, secret=secret)
        outcomes = [await channel.send(each) for each in envelopes]
        await channel.close()
        return outcomes

    return asyncio.run(main())
