"""A campaign on Dramatiq and pyfcm: an actor finds the segment; an actor per user, or per chunk, does the rest.

Dramatiq's own way: a process per core, eight threads each; pyfcm's ``notify``, and ``async_notify_multiple_devices``
for a chunk.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from threading import Lock

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from psycopg_pool import ConnectionPool
from pyfcm import FCMNotification

from bench.peers import campaign
from bench.peers.fcm import client, push

dramatiq.set_broker(RedisBroker(url=os.environ["BROKER"]))


_first = Lock()


@cache
def _opened() -> tuple[ConnectionPool, FCMNotification]:
    fcm = client()
    assert fcm.fcm_end_point  # reads the credentials: pyfcm itself lets two threads do that at once, and one fails
    return campaign.pool(), fcm


def ready() -> tuple[ConnectionPool, FCMNotification]:
    """This process's connections and its client."""
    with _first:
        return _opened()


@dramatiq.actor
def start(name: str, size: int) -> None:
    """Whom, ``size`` users a message."""
    with ready()[0].connection() as connection:
        for ids in campaign.chunks(connection, size):
            if size == 1:
                send_one.send(name, ids[0])
            else:
                send_some.send(name, ids)


@dramatiq.actor
def send_one(name: str, user: int) -> None:
    """One user's push."""
    connections, fcm = ready()
    with connections.connection() as connection:
        for one in campaign.written(connection, [user]):
            answer = fcm.notify(**push(one.token, one.title, one.body, f"{name}-{user}"))
            campaign.record(connection, name, [(user, "sent", answer["name"])])


@dramatiq.actor
def send_some(name: str, ids: list[int]) -> None:
    """A chunk's pushes."""
    connections, fcm = ready()
    with connections.connection() as connection:
        pushes = campaign.written(connection, ids)
        batch = [push(one.token, one.title, one.body, f"{name}-{one.user}") for one in pushes]
        done = fcm.async_notify_multiple_devices(batch, timeout=30)
        results = [
            (one.user, "sent" if "name" in answer else "failed", answer.get("name"))
            for one, answer in zip(pushes, done, strict=True)
        ]
        campaign.record(connection, name, results)


def main(count: int, size: int) -> None:
    """Fill, start the workers, and time a campaign."""
    campaign.fill(count)
    command = [sys.executable, "-m", "dramatiq", "bench.peers.dramatiq_pyfcm", "--processes", str(os.cpu_count())]
    worker = subprocess.Popen([*command, "--threads", "8"], stdout=sys.stderr)
    try:
        seconds = campaign.timed(start.send, count, size)
    finally:
        worker.terminate()
        worker.wait(30)
    print(json.dumps({"messages": count, "seconds": seconds}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
