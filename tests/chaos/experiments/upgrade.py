"""R32, P4: two releases on one database, a migration that is killed, a leader and a worker that die."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tarfile
import time
from pathlib import Path

from sqlalchemy import select, text

from orchestrator.store import Store
from orchestrator.store.tables import leader
from tests.chaos.experiments.kills import answer_slowly
from tests.chaos.ground import NOT_SHORT, Ground, NotPossibleHereError, Told, experiment, held
from tests.chaos.scene import ROOT, Fleet, People, Scene, Took
from tests.far_end import wait_for

BEFORE = "e1dbe83"
"""The last commit of schema 0013: release N-1."""
UPGRADE = """
import sys
from orchestrator.store import Store, upgrade
store = Store(sys.argv[1])
print("up", flush=True)
upgrade(store)
"""
POPULATE = """
import sys
from pathlib import Path
from tests.chaos.scene import People, Scene
from tests.far_end import FarEnd
folder, state, port, url, push, sms = sys.argv[1:]
scene = Scene(Path(folder), FarEnd(int(port), Path(state), 0), address=url)
scene.populate(People(push=int(push), sms=int(sms)), holdout="0%")
"""
SECONDS = 10.0
"""Within which a lost leader is replaced."""
FOLLOWED = 5.0
"""Seconds from the start of a follower."""


def release_before(folder: Path) -> Path:
    """The code of release N-1, from this repository's history.

    Raises:
        NotPossibleHereError: the history is not here.
    """
    git = shutil.which("git")
    if git is None:
        raise NotPossibleHereError("git is not installed: release N-1 cannot be had")
    done = subprocess.run([git, "archive", BEFORE], cwd=ROOT, capture_output=True, check=False)
    if done.returncode:
        raise NotPossibleHereError(f"commit {BEFORE} is not in this clone: fetch the whole history")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder


def _python(code: Path, script: str, *words: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", script, *map(str, words)]
    env = {**os.environ, "PYTHONPATH": str(code)}
    return subprocess.Popen(command, cwd=code, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _done(process: subprocess.Popen[str], seconds: float = 120) -> None:
    _, said = process.communicate(timeout=seconds)
    assert process.returncode == 0, said[-2000:]


def _killed_migrations(ground: Ground, scene: Scene, times: int) -> int:
    """Upgrade under load, killed at random moments; how many times the schema was still the old one after that."""
    killed, before = 0, _schema(scene)
    for pause in sorted(ground.chance.uniform(0.0, 0.06) for _ in range(times)):  # the one that comes too late, last
        with _python(ROOT, UPGRADE, scene.database) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(pause)
            process.kill()
        killed += _schema(scene) == before
    return killed


def _schema(scene: Scene) -> str:
    with scene.reader() as store, store.read() as connection:
        found: str = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
    return found


@experiment(
    "R32",
    "a rolling upgrade under load from schema 0013, its migration killed on the way",
    "N-1 and N together, kill in migration × 20",
)
def rolling_upgrade(ground: Ground) -> Told:
    old = release_before(ground.folder / "before")
    messages, times = ground.pick(600, 4_000, 20_000), ground.pick(2, 6, 20)
    texts = messages // 3
    with ground.scene(speed=4.0) as scene:
        told = (scene.folder, scene.far.state, scene.far.port, scene.database, messages - texts, texts)
        _done(_python(old, POPULATE, *told))
        answer_slowly(scene, 0.5)
        scene.code, scene.entry = old, "tests.chaos.victim"
        few = ["--lease", "3", "--connections", str(ground.pick(6, 16, 48))]
        before = Fleet(scene, 2, few)
        before.wait_up()
        scene.wait_taken(messages // 20)
        killed = _killed_migrations(ground, scene, times)
        _done(_python(ROOT, UPGRADE, scene.database))
        migrated = scene.taken()
        scene.code, scene.entry = ROOT, "tests.chaos.life"
        scene.wait_taken(min(migrated + messages // 20, messages - 50))
        after = Fleet(scene, 2, few)
        after.wait_up()
        beside = scene.taken()
        scene.far.calm()
        before.end()
        scene.wait_done(300)
        after.end()
        found = scene.check()
        held([f"I1 {found.unsent} messages ended without being sent: {found.states}"] * bool(found.unsent))
        held([f"I3 {found.duplicates_seen} duplicates of an orderly upgrade"] * bool(found.duplicates_seen))
        sent, _ = scene.first_marks()
        held(["R32 no migration was killed before its end"] * (killed == 0))
        held(["R32 release N-1 sent nothing on the new schema"] * (beside <= migrated))
        held(["R32 release N sent nothing"] * (not any(one.process.pid in sent for one in after.members)))
    did = f"{messages:,} messages, 2 daemons of each release, migration killed {killed} times"
    figures = f"{migrated:,} sent when the schema was new, {beside - migrated:,} more by N-1 on it before N came"
    return Told(did, figures, found)


def _leaders(scene: Scene) -> dict[str, str]:
    with scene.reader() as store, store.read() as connection:
        return {row.role: row.holder for row in connection.execute(select(leader))}


@experiment("P4", "the leader is killed; a daemon on another machine leads", "within 10 s", sizes=NOT_SHORT)
def lost_leader(ground: Ground) -> Told:
    times, took = ground.pick(1, 4, 20), list[float]()
    with ground.scene() as scene:
        scene.populate(People(push=10), holdout="0%")
        fleet = Fleet(scene, 3, ["--lease", "3", "--apart"])
        fleet.wait_up()
        wait_for(lambda: len(_leaders(scene)) == 2, "somebody to lead", seconds=20)
        for _ in range(times):
            held_by = _leaders(scene)
            pids = {int(holder.split(":")[1]) for holder in held_by.values()}
            began = time.monotonic()
            for victim in [one for one in fleet.up() if one.process.pid in pids]:
                fleet.kill(victim)
            wait_for(
                lambda gone=held_by: not set(gone.values()) & set(_leaders(scene).values()), "a new leader", seconds=30
            )
            took.append(time.monotonic() - began)
            fleet.wait_up()
        scene.wait_done(60)
        fleet.end()
    held(f"P4 a leader was followed after {one:.1f} s" for one in took if one > SECONDS)
    return Told(f"{times} leaders killed, 3 daemons", f"followed after {max(took):.1f} s at most")


@experiment("P4", "what a dead worker held is taken up again on other machines", "lease + 5 s")
def taken_up_again(ground: Ground) -> Told:
    lease, took = ground.pick(3.0, 6.0, 60.0), list[float]()
    for _ in range(ground.pick(1, 2, 3)):
        with ground.scene() as scene:
            scene.populate(People(push=2_000), holdout="0%")
            answer_slowly(scene, 0.4)
            fleet = Fleet(scene, 2, ["--lease", str(lease), "--connections", "16", "--apart"])
            fleet.wait_up()
            scene.wait_taken(60)
            victim = fleet.up()[1]
            fleet.kill(victim, follow=False)
            began = time.monotonic()
            with scene.reader() as store:
                pid = victim.process.pid
                held(["P4 the victim had nothing in hand"] * (not _held_by(store, pid)))
                wait_for(
                    lambda store=store, pid=pid: not _held_by(store, pid), "its work to be taken up", seconds=lease + 60
                )
            took.append(time.monotonic() - began)
    held(f"P4 work was stuck for {one:.1f} s under a lease of {lease:g} s" for one in took if one > lease + 5)
    return Told(f"lease of {lease:g} s, {len(took)} times", f"stuck for {max(took):.1f} s at most")


@experiment("P4", "a daemon that follows on the same machine takes up at once what a dead one held", "5 s, no lease")
def followed(ground: Ground) -> Told:
    up, stuck, times = list[Took](), list[float](), ground.pick(1, 3, 20)
    for _ in range(times):
        with ground.scene() as scene:
            scene.populate(People(push=600), holdout="0%")
            answer_slowly(scene, 0.4)
            fleet = Fleet(scene, 1, ["--lease", "600", "--connections", "16"])
            fleet.wait_up()
            scene.wait_taken(60)
            led, pid = _leaders(scene), fleet.members[0].process.pid
            fleet.kill(fleet.members[0])
            with scene.reader() as store:
                held(["P4 the victim had nothing in hand"] * (not _held_by(store, pid)))
                wait_for(lambda store=store, pid=pid: not _held_by(store, pid), "its work to be taken up", seconds=90)
            stuck.append(time.monotonic() - fleet.members[0].began)
            wait_for(lambda led=led: not set(led.values()) & set(_leaders(scene).values()), "a new leader", seconds=90)
            fleet.wait_up()
            up.append(fleet.slowest_up())
            scene.far.calm()
            scene.wait_done(60)
            fleet.end()
            scene.check()
    waited = [seconds - alone for seconds, alone in up]
    held(
        f"P4 work was stuck for {one:.1f} s, {busy:.1f} s of them without a processor"
        for one, busy in zip(stuck, waited, strict=True)
        if one - busy > FOLLOWED
    )
    slowest = max(up)
    figures = f"taken up {max(stuck):.1f} s after its start at most, up after {slowest.seconds:.1f} s"
    return Told(f"{times} kills, lease of ten minutes", f"{figures} ({slowest.alone:.1f} s by itself)")


def _held_by(store: Store, pid: int) -> bool:
    query = text("SELECT 1 FROM message JOIN worker ON worker.id = message.worker_id WHERE worker.pid = :pid LIMIT 1")
    with store.read() as connection:
        return connection.execute(query, {"pid": pid}).first() is not None
