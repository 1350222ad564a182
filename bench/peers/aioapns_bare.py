"""aioapns: as many requests at once as its connections have streams for; no ledger, no caps, no templates."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import sys
import time
from pathlib import Path

import uvloop
from aioapns import APNs, NotificationRequest, PushType
from aioapns.connection import APNsProductionClientProtocol

IN_FLIGHT = 384
"""128 streams on each of three connections: what ours has."""


def client() -> APNs:
    """With a key of its own, sending to the far end instead of to Apple."""
    APNsProductionClientProtocol.APNS_SERVER = "localhost"
    APNsProductionClientProtocol.APNS_PORT = int(os.environ["FAR_END_TLS_PORT"])
    context = ssl.create_default_context(cafile=os.environ["FAR_END_CERTIFICATE"])
    context.set_alpn_protocols(["h2"])
    key = Path(os.environ["APNS_KEY"]).read_text(encoding="ascii")
    names = {"key_id": "ABCDE12345", "team_id": "TEAM123456", "topic": "com.example.food"}
    return APNs(key=key, **names, max_connections=3, ssl_context=context)


async def send(count: int) -> float:
    """Seconds for all of them."""
    apns, left = client(), iter(range(count))

    async def one_after_another() -> None:
        for n in left:
            alert = {"title": "Lunch today: ramen?", "body": "x" * 120}
            request = NotificationRequest(
                device_token=f"{n:064x}",
                message={"aps": {"alert": alert}, "link": "app://menu", "msg_id": str(n)},
                time_to_live=1800,
                priority=10,
                collapse_key=f"r1-{n}-0",
                push_type=PushType.ALERT,
            )
            assert (await apns.send_notification(request)).is_successful

    began = time.perf_counter()
    await asyncio.gather(*(one_after_another() for _ in range(IN_FLIGHT)))
    return time.perf_counter() - began


if __name__ == "__main__":
    messages = int(sys.argv[1])
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps({"messages": messages, "seconds": runner.run(send(messages))}))
