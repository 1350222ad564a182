"""R8: rates shared through Valkey are never exceeded, whatever happens to it and to those who share it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.chaos import wire
from tests.chaos.ground import Ground, Size, Told, experiment, held
from tests.chaos.scene import PUSH_ALONE, Fleet, People, Scene
from tests.chaos.wire import Limit
from tests.valkey import Valkey, valkey_server

LIMIT = Limit(50.0, 50)


@contextmanager
def _deployed(ground: Ground, messages: int, daemons: int, redis: str) -> Iterator[tuple[Scene, Fleet]]:
    with ground.scene() as scene:
        scene.populate(People(push=messages), **PUSH_ALONE)
        options = ["--connections", "64", "--rate", str(LIMIT.per_second), "--burst", str(LIMIT.burst), "--lease", "3"]
        fleet = Fleet(scene, daemons, [*options, *(["--redis", redis] if redis else [])])
        fleet.wait_up()
        yield scene, fleet


def _mean(instants: list[float], since: float, until: float) -> float:
    return sum(since <= at < until for at in instants) / (until - since)


@experiment(
    "R8",
    "one rate for several daemons that are restarted again and again",
    "4 processes, 50/s, burst 50, 10 min, restart every 60 s",
)
def shared_rate(ground: Ground) -> Told:
    seconds, every, daemons = ground.pick((8, 4, 2), (66, 20, 4), (600, 60, 4))
    with (
        valkey_server() as server,
        _deployed(ground, int(seconds * 60) + 600, daemons, server.address) as (scene, fleet),
    ):
        began = time.time()
        while time.time() < began + seconds:
            time.sleep(every)
            fleet.kill(ground.chance.choice(fleet.up()))
        ended = time.time()
        instants = wire.times(scene.far.accepted(), "fcm")
        fleet.end()
        scene.check(over=False)
    held(wire.over_rate(instants, LIMIT))
    mean = _mean(instants, began + 1, ended)
    held([f"R8 {mean:.1f}/s on average: nobody came near the limit"] * (mean < LIMIT.per_second / 2))
    held(
        [f"R8 {mean:.1f}/s on average, 95 % are {LIMIT.per_second * 0.95}"]
        * (ground.size != Size.SHORT and mean < LIMIT.per_second * 0.95)
    )
    return Told(
        f"{daemons} daemons, 50/s, burst 50, {seconds} s, one restarted every {every} s", _figures(instants, mean)
    )


def _figures(instants: list[float], mean: float) -> str:
    second, minute = wire.most_in(instants, 1.0), wire.most_in(instants, 60.0)
    return f"at most {second} in 1 s (100), {minute:,} in 60 s (3,050); {mean:.1f}/s on average"


@experiment("R8", "Valkey stands still, is killed, comes back empty, again and again", "breaks no limit")
def valkey_away(ground: Ground) -> Told:
    rounds, daemons = ground.pick(1, 4, 20), ground.pick(2, 4, 4)
    messages = rounds * 900 + 300
    with valkey_server() as server, _deployed(ground, messages, daemons, server.address) as (scene, fleet):
        began = time.time()
        for _ in range(rounds):
            time.sleep(ground.chance.uniform(1.0, 2.0))
            _stand_still(server, ground.chance.uniform(1.0, 3.0))
            time.sleep(ground.chance.uniform(1.0, 2.0))
            server.stop()
            time.sleep(ground.chance.uniform(0.3, 2.0))
            server.start()
        time.sleep(3.0)
        instants, mean = wire.times(scene.far.accepted(), "fcm"), 0.0
        mean = _mean(instants, began, time.time())
        held(["R8 nothing was sent after Valkey came back"] * (not instants or time.time() - instants[-1] > 2.5))
        fleet.end()
        found = scene.check(over=False)
    held(wire.over_rate(instants, LIMIT))
    return Told(
        f"{rounds} times stopped and {rounds} times emptied, {daemons} daemons", _figures(instants, mean), found
    )


def _stand_still(server: Valkey, seconds: float) -> None:
    number = server.pid
    os.kill(number, signal.SIGSTOP)
    time.sleep(seconds)
    os.kill(number, signal.SIGCONT)


@experiment("R8", "broken on purpose: each daemon has a limit of its own", catches="I6")
def own_limits_are_caught(ground: Ground) -> Told:
    with _deployed(ground, 1_500, 3, "") as (scene, fleet):
        time.sleep(4.0)
        instants = wire.times(scene.far.accepted(), "fcm")
        fleet.end()
    held(wire.over_rate(instants, LIMIT))
    return Told("3 daemons, 4 s")
