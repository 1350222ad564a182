"""A backup is put back under a deployment that has sent since: P3 beyond what a crash can do."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from pydantic import SecretStr

from orchestrator.daemon.restoring import accept_restored
from orchestrator.settings import Settings
from tests.chaos.ground import Ground, Told, experiment, held
from tests.chaos.scene import PUSH_ALONE, Fleet, People, Scene
from tests.valkey import valkey_server

SPREAD: dict[str, Any] = {**PUSH_ALONE, "window": {"local": "10:30-10:50", "late": "skip", "spread": "90%"}}
"""A third of it is due at the scene's beginning; the rest comes within the next quarter of an hour."""
SPEED = 30.0
QUIET = 4.0
"""Seconds in which daemons that may send do."""


def _twice(scene: Scene) -> list[str]:
    times = Counter(str(record["message_id"]) for record in scene.far.accepted())
    return [f"P3 message {message} was accepted {n} times" for message, n in times.items() if n > 1]


def _restored(ground: Ground, *options: str) -> Told:
    people, daemons = ground.pick(600, 6_000, 50_000), ground.pick(2, 3, 4)
    with (
        valkey_server() as server,
        ground.server.database(empty=True) as backup,
        ground.scene(speed=SPEED) as scene,
    ):
        scene.populate(People(push=people), **SPREAD)
        ground.server.put_back(backup, scene.database)
        scene.steady()
        to_start = ["--redis", server.address, "--lease", "3", *options]
        _sent_until(Fleet(scene, daemons, to_start), people * 45 // 100)
        ground.server.put_back(scene.database, backup)
        before = scene.taken()
        fleet = Fleet(scene, daemons, to_start)
        fleet.wait_up()
        time.sleep(QUIET)
        held(_twice(scene))
        held([f"P3 {scene.taken() - before} left before an operator had looked"] * (scene.taken() > before))
        with scene.writer() as store:
            found = Settings(database=scene.database, redis=SecretStr(server.address))
            done = accept_restored(store, scene.timeline.clock, found, "operator chaos")
        scene.wait_done()
        fleet.end()
        held(_twice(scene))
        after = scene.taken() - before
    held([f"P3 nothing left any more: {done}"] * (after == 0))
    skipped = done["skipped"]
    held([f"P1 {skipped} were skipped, then {after} left, of {people}"] * (skipped + after != people))
    return Told(
        f"{daemons} daemons killed, {people:,} messages, the backup of before put back",
        f"{before:,} had left; 0 until accepted; {skipped:,} skipped, {after:,} sent, none twice",
    )


def _sent_until(fleet: Fleet, n: int) -> None:
    fleet.scene.wait_taken(n)
    for one in list(fleet.members):
        fleet.kill(one, follow=False)


@experiment("P3", "an old backup of PostgreSQL is put back under daemons that have sent since")
def restored_backup(ground: Ground) -> Told:
    return _restored(ground)


@experiment("P3", "broken on purpose: nobody asks the guard", catches="P3")
def no_guard_is_caught(ground: Ground) -> Told:
    return _restored(ground, "--broken", "no_guard")
