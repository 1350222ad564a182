"""R18: a disk that is full, a file that is locked or corrupt, a database that is away. Nothing leaves unwritten."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import tempfile
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

import psycopg

from tests import postgres
from tests.chaos.experiments.kills import answer_slowly
from tests.chaos.ground import NOT_SHORT, Ground, Told, experiment, held
from tests.chaos.scene import PUSH_ALONE, Fleet, People, Scene
from tests.postgres import Postgres, serving

PAGE = 4096


def _unmarked(scene: Scene) -> list[str]:
    """What the provider took and the ledger has no mark of."""
    with scene.reader() as store, store.read() as connection:
        marked = {str(row[0]) for row in connection.exec_driver_sql("SELECT id FROM message WHERE attempts > 0")}
    return [
        f"I2 message {one['message_id']} left without a mark"
        for one in scene.far.accepted()
        if one["message_id"] not in marked
    ]


def _suffer(ground: Ground, scene: Scene, hurt: Callable[[Scene, Fleet], str]) -> Told:
    """Hurt a daemon at work; it goes on by itself afterwards, and loses nothing."""
    messages = ground.pick(400, 1_500, 3_000)
    scene.populate(People(push=messages), **PUSH_ALONE)
    answer_slowly(scene, 0.1)
    fleet = Fleet(scene, 1, ["--connections", "16", "--rate", str(messages / 6), "--lease", "3"])
    fleet.wait_up()
    scene.wait_taken(messages // 10)
    said = hurt(scene, fleet)
    scene.wait_done(300)
    fleet.end()
    held(_unmarked(scene))
    found = scene.check()
    held([f"I1 {found.states}"] * bool(found.unsent))
    return Told(said, f"went on by itself; {found.unknown} unknown", found)


def _many(ground: Ground, address: Callable[[], str], hurt: Callable[[Scene, Fleet], str], full: int = 20) -> Told:
    """The same several times; the last one's row."""
    times, told = ground.pick(1, 1, full), Told("")
    for _ in range(times):
        with ground.scene("sqlite", speed=4.0, address=address()) as scene:
            told = _suffer(ground, scene, hurt)
    return Told(f"{told.did}, {times} times", told.figures, told.found)


def _limit(fleet: Fleet, size: int) -> None:
    _, most = resource.prlimit(fleet.members[0].process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(fleet.members[0].process.pid, resource.RLIMIT_FSIZE, (size, most))


@experiment("R18", "SQLite: no file can grow any more, as on a full disk; then it can", "20 times")
def disk_full(ground: Ground) -> Told:
    def hurt(scene: Scene, fleet: Fleet) -> str:
        _limit(fleet, PAGE)  # and no byte may be written beyond it: every commit fails
        time.sleep(4.0)
        before = scene.taken()
        time.sleep(2.0)
        held([f"R18 {scene.taken() - before} requests left while nothing could be written"] * (scene.taken() > before))
        said = fleet.members[0].log.read_text()
        held(["R18 nobody said anything"] * ("worker_failed" not in said and "disk" not in said))
        _limit(fleet, resource.RLIM_INFINITY)
        return "6 s"

    return _many(ground, str, hurt)


@experiment("R18", "SQLite: another program holds the file locked", "60 s, 20 times", sizes=NOT_SHORT)
def locked(ground: Ground) -> Told:
    seconds = ground.pick(7.0, 15.0, 60.0)

    def hurt(scene: Scene, fleet: Fleet) -> str:
        del fleet
        other = sqlite3.connect(scene.database, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        time.sleep(0.5)
        before = scene.taken()
        time.sleep(seconds)
        held([f"R18 {scene.taken() - before} requests left"] * (scene.taken() > before + 16))
        other.execute("ROLLBACK")
        other.close()
        return f"{seconds:g} s"

    return _many(ground, str, hurt, 3)


@experiment("R18", "SQLite: a corrupt page", "20 times", sizes=NOT_SHORT)
def corrupt(ground: Ground) -> Told:
    times = ground.pick(1, 3, 20)
    for _ in range(times):
        with ground.scene("sqlite") as scene:
            scene.populate(People(push=200), **PUSH_ALONE)
            with sqlite3.connect(scene.database) as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                [root] = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'message'").fetchone()
            connection.close()
            with Path(scene.database).open("r+b") as file:
                file.seek((root - 1) * PAGE)
                file.write(ground.chance.randbytes(PAGE))
            victim = scene.start("--connections", "8")
            code, said = victim.end(60), victim.log.read_text()
            held([f"R18 it sent {scene.taken()} messages from a corrupt file"] * (scene.taken() > 0))
            held([f"R18 it ended with {code}: {said[-300:]}"] * (code == 0 or "malformed" not in said))
    return Told(f"{times} times", "refused to send: “database disk image is malformed”")


@experiment("R18", "PostgreSQL: stopped at once and started again, every connection lost", "20 times")
def database_away(ground: Ground) -> Told:
    shared = Path(tempfile.mkdtemp(prefix="chaos-pg-", dir=ground.folder))
    with serving(shared) as own:
        place, numbers = Path((shared / "postgres").read_text()), count()

        def hurt(scene: Scene, fleet: Fleet) -> str:
            del fleet
            _stop(place)
            time.sleep(0.5)
            before = scene.taken()
            time.sleep(3.0)
            gone = scene.taken() - before
            _start(place, own)
            held([f"R18 {gone} requests left without a database"] * (gone > 0))
            return "3.5 s"

        return _many(ground, lambda: _database(own, f"away_{next(numbers)}"), hurt, 10)


def _database(server: Postgres, name: str) -> str:
    """The address of an empty database that goes with its server: no connection of ours outlives the outage.

    What is committed here survives the server, as it does with PostgreSQL's own defaults and not with our tests'.
    """
    with psycopg.connect(server.uri, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
        connection.execute(f'ALTER DATABASE "{name}" SET synchronous_commit = on')
    return server.url_of(name)


def _stop(place: Path) -> None:
    number = postgres._postmaster(place)
    assert number is not None
    os.kill(number, signal.SIGQUIT)
    deadline = time.monotonic() + 30
    while (place / "data" / "postmaster.pid").exists() and time.monotonic() < deadline:
        time.sleep(0.02)


def _start(place: Path, server: Postgres) -> None:
    alike, _ = postgres._owner(place)
    copied = list(place.glob("programs/*/pginstall/bin"))
    programs = copied[0] if copied else postgres._programs(place, alike)
    postgres._call([programs / "pg_ctl", "-D", place / "data", "-l", place / "log", "-t", 60, "-w", "start"], alike)
    psycopg.connect(server.uri).close()
