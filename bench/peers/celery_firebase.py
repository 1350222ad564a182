"""A campaign on Celery and firebase-admin: a task finds the segment; a task per user, or per chunk, does the rest.

Prefork with a process per core, late acknowledgement, one task prefetched, no results kept; firebase-admin's ``send``,
and ``send_each`` for a chunk, which is what a Celery task calls: the worker has no event loop.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache

from celery import Celery
from firebase_admin import messaging
from psycopg_pool import ConnectionPool

from bench.peers import campaign
from bench.peers.firebase import connect, push

app = Celery("bench.peers.celery_firebase", broker=os.environ["BROKER"].replace("unix://", "redis+socket://"))
app.conf.update(
    task_acks_late=True,
    worker_prefetch_multiplier=1,
    task_ignore_result=True,
    worker_concurrency=os.cpu_count(),
    broker_connection_retry_on_startup=True,
)


@cache
def ready() -> ConnectionPool:
    """This process's connections, made after the fork."""
    connect()
    return campaign.pool()


@app.task(name="start")
def start(name: str, size: int) -> None:
    """Whom, ``size`` users a task."""
    with ready().connection() as connection:
        for ids in campaign.chunks(connection, size):
            if size == 1:
                send_one.delay(name, ids[0])
            else:
                send_some.delay(name, ids)


@app.task(name="send_one")
def send_one(name: str, user: int) -> None:
    """One user's push."""
    with ready().connection() as connection:
        for one in campaign.written(connection, [user]):
            found = messaging.send(push(one.token, one.title, one.body, f"{name}-{user}"))
            campaign.record(connection, name, [(user, "sent", found)])


@app.task(name="send_some")
def send_some(name: str, ids: list[int]) -> None:
    """A chunk's pushes."""
    with ready().connection() as connection:
        pushes = campaign.written(connection, ids)
        done = messaging.send_each([push(one.token, one.title, one.body, f"{name}-{one.user}") for one in pushes])
        results = [
            (one.user, "sent" if answer.success else str(answer.exception), answer.message_id)
            for one, answer in zip(pushes, done.responses, strict=True)
        ]
        campaign.record(connection, name, results)


def main(count: int, size: int) -> None:
    """Fill, start a worker, and time a campaign."""
    campaign.fill(count)
    command = [sys.executable, "-m", "celery", "-A", "bench.peers.celery_firebase", "worker", "--loglevel", "ERROR"]
    worker = subprocess.Popen(command, stdout=sys.stderr)
    try:
        seconds = campaign.timed(start.delay, count, size)
    finally:
        worker.terminate()
        worker.wait(30)
    print(json.dumps({"messages": count, "seconds": seconds}))


if __name__ == "__main__":
    from bench.peers import celery_firebase  # noqa: PLW0406  # its tasks as the worker knows them

    celery_firebase.main(int(sys.argv[1]), int(sys.argv[2]))
