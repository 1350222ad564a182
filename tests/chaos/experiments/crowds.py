"""R4, R12: many workers on one PostgreSQL claim nothing twice, and keep caps together."""

from __future__ import annotations

import signal
import time
from collections import Counter
from dataclasses import replace

from sqlalchemy import select

from orchestrator.ledger.states import State
from orchestrator.store.tables import attempt
from tests.chaos import wire
from tests.chaos.ground import NOT_SHORT, Ground, Size, Told, experiment, held
from tests.chaos.scene import PUSH_ALONE, Fleet, People, Scene

CAPS = "caps:\n  - {most: 2, within: 24h}\n"


def sent_by(scene: Scene) -> Counter[int]:
    """Attempts by worker."""
    with scene.reader() as store, store.read() as connection:
        return Counter(connection.execute(select(attempt.c.worker_id)).scalars())


def _paced(ground: Ground, daemons: int, messages: int, runs: int) -> tuple[float, Told]:
    """So many daemons over so many runs; messages a second from when all are up."""
    with ground.scene() as scene:
        scene.populate(People(push=messages // runs), campaigns=runs, **PUSH_ALONE)
        options = ["--connections", "64"]
        fleet = Fleet(scene, daemons, options)
        fleet.wait_up(1)
        began, before = time.monotonic(), scene.taken()
        scene.wait_done(900)
        speed = (messages - before) / (time.monotonic() - began)
        fleet.end()
        found, shares = scene.check(), sent_by(scene)
        held([f"I3 {found.requests} requests for {messages} messages"] * (found.requests != messages))
        held([f"I1 {found.states}"] * (found.states != {State.ACCEPTED: messages}))
        held(["I3 one of them did everything"] * (daemons > 1 and len(shares) < min(daemons, 2)))
    return speed, Told(f"{daemons} daemons, {messages:,} messages, {runs} runs", f"{len(shares)} of them sent", found)


@experiment("R4", "several daemons on one PostgreSQL", "8 processes, 100,000 messages, 10 runs")
def many_daemons(ground: Ground) -> Told:
    daemons, messages, runs = ground.pick((3, 1_500, 3), (8, 20_000, 10), (8, 100_000, 10))
    speed, told = _paced(ground, daemons, messages, runs)
    if ground.size == "short":
        return told
    alone, _ = _paced(ground, 1, messages // 4, runs)
    figures = f"{speed:,.0f} messages/s, one alone {alone:,.0f}; the far end and all of them share this machine's cores"
    return Told(told.did, figures, told.found)


@experiment("R4", "a second writer of one SQLite file is refused in words", sizes=NOT_SHORT)
def second_writer(ground: Ground) -> Told:
    with ground.scene("sqlite") as scene:
        scene.populate(People(push=5), holdout="0%")
        first = scene.start("--daemon")
        first.wait_up()
        second = scene.start("--daemon")
        code, said = second.end(), second.log.read_text()
        held(
            [f"R4 the second one ended with {code} and said {said[-300:]}"]
            * (code == 0 or "is being written by process" not in said)
        )
        held(["R4 'database is locked' came to the surface"] * ("database is locked" in said + first.log.read_text()))
        scene.wait_done(30)
        first.hit(signal.SIGTERM)
        first.end()
        found = scene.check()
    return Told("2 processes", "“… is being written by process …”", found)


def _capped(ground: Ground, caps: str) -> Told:
    """Campaigns that all want the same people now, under a cap of two a day."""
    people, campaigns, daemons = ground.pick((60, 6, 3), (300, 20, 4), (1_000, 20, 8))
    with ground.scene() as scene:
        scene.populate(People(push=people), campaigns=campaigns, **PUSH_ALONE)
        folder = scene.folder / "campaigns"
        folder.mkdir()
        (folder / "caps.yaml").write_text(caps)
        fleet = Fleet(scene, daemons, ["--connections", "16", "--campaigns", str(folder)])
        wanted = 2 * people
        fleet.wait_up()
        scene.wait_taken(wanted, 300)
        time.sleep(2)
        fleet.end()
        found, taken = scene.check(over=False), scene.far.accepted()
        held(wire.over_cap(taken, 2))
        held([f"I7 {len(taken)} were sent, {wanted} may be"] * (len({one["message_id"] for one in taken}) != wanted))
    return Told(
        f"{people:,} people, {campaigns} campaigns, {daemons} daemons",
        f"nobody got more than 2; {wanted:,} sent",
        found,
        found.unsent,
    )


@experiment(
    "R12", "caps of two a day, campaigns and daemons at once", "1,000 people, 20 campaigns, 8 workers", sizes=NOT_SHORT
)
def caps(ground: Ground) -> Told:
    return _capped(ground, CAPS)


@experiment("R12", "broken on purpose: no cap", catches="I7", sizes=NOT_SHORT)
def no_cap_is_caught(ground: Ground) -> Told:
    return _capped(replace(ground, size=Size.SHORT), "caps: []\n")
