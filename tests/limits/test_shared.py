"""Rates shared by processes through a real Valkey: never exceeded, whoever starts, dies or loses the server."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import NamedTuple
from uuid import uuid4

import pytest
import redis

from orchestrator import metrics
from orchestrator.errors import InputError
from orchestrator.limits.breaker import LAST, OPEN_SECONDS, Breaker, BreakerState
from orchestrator.limits.rate import Rate
from orchestrator.limits.shared import AWAY_SECONDS, SharedLimiter, SharedProbes, ask, connect
from tests.valkey import Valkey, valkey_server

RATE = Rate(50, 10, timedelta(0))
KEYS = [("account:fcm", RATE)]
TAKER = """
import sys, time
from datetime import timedelta
from orchestrator.limits.rate import MemoryLimiter, Rate
from orchestrator.limits.shared import SharedLimiter, connect
address, name, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
keys = [("account:fcm", Rate(50, 10, timedelta(0)))]
limiter = SharedLimiter(connect(address), name, time.monotonic) if address else MemoryLimiter(time.monotonic)
end = time.time() + seconds
while (before := time.time()) < end:
    if got := limiter.take(keys, 5):
        print(repr(before), repr(time.time()), got)
    time.sleep(0.002)
"""


@pytest.fixture
def server() -> Iterator[Valkey]:
    with valkey_server() as made:
        yield made


@pytest.fixture
def client(valkey: str) -> Iterator[redis.Redis]:
    made = connect(valkey)
    yield made
    made.close()


class Taken(NamedTuple):
    """So many tokens were taken between two instants."""

    before: float
    after: float
    n: int


def taken(address: str, name: str, *, processes: int, seconds: float) -> list[Taken]:
    """What several processes take within ``seconds``, each restarted once on the way."""
    command = [sys.executable, "-c", TAKER, address, name, str(seconds / 2)]
    log: list[Taken] = []
    for _ in range(2):
        running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(processes)]
        for each in running:
            said, _ = each.communicate(timeout=60)
            log += [Taken(float(a), float(b), int(n)) for a, b, n in (line.split() for line in said.splitlines())]
    return sorted(log)


def most_within(log: list[Taken], span: float) -> int:
    """The most that was certainly taken in any ``span`` seconds."""
    inside = (
        sum(one.n for one in log if first.before <= one.before and one.after <= first.before + span) for first in log
    )
    return max(inside, default=0)


def test_four_processes_share_one_rate(valkey: str) -> None:
    log = taken(valkey, uuid4().hex, processes=4, seconds=4)
    assert most_within(log, 1.0) <= RATE.burst + RATE.per_second
    began, ended = log[0].before, log[-1].after
    assert sum(one.n for one in log) >= 0.5 * RATE.per_second * (ended - began)


def test_limits_of_one_process_each_are_caught() -> None:
    """The variant that everybody gets wrong: four processes, four limits."""
    log = taken("", "", processes=4, seconds=6)
    assert most_within(log, 0.8) > RATE.burst + RATE.per_second


def test_while_the_server_is_away_nothing_is_given(server: Valkey) -> None:
    seconds = [0.0]
    limiter = SharedLimiter(connect(server.address), "away", lambda: seconds[0])
    rate = [("account:fcm", Rate(1000, 10, timedelta(0)))]
    limiter.available(rate)
    time.sleep(0.05)
    assert limiter.take(rate, 3) == 3
    server.stop()
    assert limiter.available(rate) == limiter.take(rate, 1) == 0
    assert limiter.wait(rate) == AWAY_SECONDS
    assert metrics.limiter_away._value.get() == 1  # prometheus has no other way to read a gauge
    limiter.give_back(rate, 1)
    server.start()
    assert limiter.take(rate, 1) == 0, "left alone for a while"
    seconds[0] += AWAY_SECONDS
    assert limiter.take(rate, 10) == 0, "an emptied server starts with empty buckets"
    time.sleep(0.05)
    assert 0 < limiter.take(rate, 10) <= 10
    assert metrics.limiter_away._value.get() == 0


def test_a_pause_told_while_the_server_is_away_holds_here(server: Valkey) -> None:
    seconds = [0.0]
    limiter = SharedLimiter(connect(server.address), "paused", lambda: seconds[0])
    server.stop()
    limiter.pause("account:fcm", 60)
    limiter.flush()
    server.start()
    seconds[0] = AWAY_SECONDS + 1
    time.sleep(0.05)
    assert limiter.take(KEYS, 1) == 0
    assert 50 < limiter.wait(KEYS) <= 60
    seconds[0] = 61
    limiter.take(KEYS, 1)
    time.sleep(0.1)
    assert limiter.take(KEYS, 1) == 1


def test_a_pause_holds_for_the_others(client: redis.Redis) -> None:
    name, now = uuid4().hex, [1000.0]
    one, other = (SharedLimiter(client, name, lambda: 0.0, lambda: now[0]) for _ in range(2))
    other.take(KEYS, 1)
    one.pause("account:fcm", 5)
    one.flush()
    now[0] += 4.9
    assert other.take(KEYS, 1) == 0
    now[0] += 1.0
    assert other.take(KEYS, 1) == 1


def test_a_clock_that_is_put_back_gives_nothing_and_goes_on(client: redis.Redis) -> None:
    now = [10_000.0]
    limiter = SharedLimiter(client, uuid4().hex, lambda: 0.0, lambda: now[0])
    limiter.take(KEYS, 1)
    now[0] += 0.1
    assert limiter.take(KEYS, 5) == 5
    now[0] -= 3600
    assert limiter.take(KEYS, 5) == 0
    now[0] += 0.1
    assert limiter.take(KEYS, 5) == 5


def test_every_key_ends_by_itself_and_all_of_a_decision_share_a_slot(client: redis.Redis) -> None:
    name = uuid4().hex
    limiter = SharedLimiter(client, name, lambda: 0.0)
    limiter.take([*KEYS, ("campaign:lunch", Rate(1))], 1)
    limiter.pause("account:unused", 5)
    limiter.flush()
    SharedProbes(client, name).claim("fcm")
    found = [key.decode() for key in client.scan_iter(f"*{name}*")]
    assert len(found) == 4
    assert all(key.startswith(f"{{{name}}}:") for key in found)
    assert all(0 < client.ttl(key) <= 400 for key in found)


def test_one_process_probes_for_all(client: redis.Redis) -> None:
    name, seconds = uuid4().hex, [0.0]
    probes = SharedProbes(client, name)
    one, other = Breaker(lambda: seconds[0], probes), Breaker(lambda: seconds[0], SharedProbes(client, name))
    for _ in range(LAST):
        one.record("fcm", failed=True)
        other.record("fcm", failed=True)
    seconds[0] = OPEN_SECONDS
    assert one.allow("fcm")
    assert not other.allow("fcm")
    one.record("fcm", failed=False)
    assert one.state("fcm") is BreakerState.CLOSED
    probes.flush()
    assert other.allow("fcm"), "the others need not wait"


def test_nobody_probes_while_the_server_is_away(server: Valkey) -> None:
    client = connect(server.address)
    server.stop()
    probes = SharedProbes(client, "away")
    assert not probes.claim("fcm")
    probes.release("fcm")
    server.start()
    assert probes.claim("fcm")


def test_a_password_is_never_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        limiter = SharedLimiter(connect("redis://:canary-secret@127.0.0.1:1/0"), "x", time.monotonic)
        assert limiter.take(KEYS, 1) == 0
        with pytest.raises(InputError) as caught:
            connect("canary-secret://nowhere")
    assert "limiter_away" in caplog.text
    assert "canary" not in caplog.text + str(caught.value)


def test_asked_it_says_what_it_is(client: redis.Redis) -> None:
    told = ask(client)
    assert told is not None
    assert told.name.startswith("Valkey ")
    assert timedelta(0) < told.took < timedelta(seconds=1)
    assert ask(connect("redis://127.0.0.1:1/0")) is None
