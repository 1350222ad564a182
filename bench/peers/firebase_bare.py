"""firebase-admin's ``send_each_async``: 500 messages a call, as many as it takes; no ledger, no caps, no templates."""

from __future__ import annotations

import asyncio
import json
import sys
import time

import uvloop
from firebase_admin import messaging

from bench.peers.firebase import BODY, TITLE, connect, push


async def send(count: int) -> float:
    """Seconds for all of them."""
    connect()
    await messaging.send_each_async([push("warm", TITLE, BODY, "r0")])  # its access token
    began = time.perf_counter()
    for start in range(0, count, 500):
        batch = [push(f"token-{n}", TITLE, BODY, f"r1-{n}-0") for n in range(start, min(start + 500, count))]
        done = await messaging.send_each_async(batch)
        assert done.failure_count == 0, done.responses[0].exception
    return time.perf_counter() - began


if __name__ == "__main__":
    messages = int(sys.argv[1])
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps({"messages": messages, "seconds": runner.run(send(messages))}))
