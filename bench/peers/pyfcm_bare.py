"""pyfcm's ``async_notify_multiple_devices``: 500 messages a call; no ledger, no caps, no templates."""

from __future__ import annotations

import json
import sys
import time

from bench.peers.fcm import BODY, TITLE, client, push


def send(count: int) -> float:
    """Seconds for all of them."""
    fcm = client()
    began = time.perf_counter()
    for start in range(0, count, 500):
        batch = [push(f"token-{n}", TITLE, BODY, f"r1-{n}-0") for n in range(start, min(start + 500, count))]
        done = fcm.async_notify_multiple_devices(batch, timeout=30)
        assert all("name" in answer for answer in done), done[0]
    return time.perf_counter() - began


if __name__ == "__main__":
    messages = int(sys.argv[1])
    print(json.dumps({"messages": messages, "seconds": send(messages)}))
