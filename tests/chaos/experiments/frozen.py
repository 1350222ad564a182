"""R3: a worker that stands still for longer than its lease writes nothing and starts nothing when it wakes up."""

from __future__ import annotations

import signal
import time
from pathlib import Path

from sqlalchemy import select

from orchestrator.dispatch.sweep import recover_dead
from orchestrator.store.tables import attempt, worker
from tests.chaos.experiments.kills import answer_slowly, caught_some, reached
from tests.chaos.ground import Ground, Told, experiment, held
from tests.chaos.scene import THREE_CHANNELS, Fleet, People, Scene, Victim
from tests.far_end import wait_for

LEASE = 1.5
GRACE = 0.25
"""Seconds from the beginning of a request to when the far end writes it down."""


def stands_still(victim: Victim) -> bool:
    """Whether the kernel says that the process is stopped."""
    status = Path(f"/proc/{victim.process.pid}/stat").read_text()
    return status.rpartition(")")[2].split()[0] == "T"


def after_lease(scene: Scene) -> list[str]:
    """I9: requests that arrived when the lease of every worker that may have sent them was over.

    A request is told by the provider's id where the ledger has it. What the ledger has no id for belongs to an attempt
    of the same message that is in doubt.
    """
    ends = select(attempt.c.message_id, attempt.c.provider_id, worker.c.lease_until, worker.c.ended_at)
    with scene.reader() as store, store.read() as connection:
        rows = connection.execute(ends.join(worker, worker.c.id == attempt.c.worker_id)).all()
    named, doubtful = dict[str, float](), dict[str, float]()
    for row in rows:
        over = min(row.lease_until, row.ended_at or row.lease_until).timestamp()
        book, key = (named, row.provider_id) if row.provider_id else (doubtful, str(row.message_id))
        book[key] = max(over, book.get(key, over))
    found = []
    for record in scene.far.accepted():
        over = named.get(record["id"], doubtful.get(record["message_id"], float("inf")))
        if record["time"] > over + GRACE:
            found.append(
                f"I9 message {record['message_id']} left {record['time'] - over:.2f} s after its worker's lease"
            )
    return found


@experiment("R3", "SIGSTOP of daemons for three leases under load, then SIGCONT", "100 times")
def frozen(ground: Ground) -> Told:
    rounds, daemons = ground.pick(2, 6, 34), 4 if ground.size != "short" else 2
    messages = ground.pick(1_500, 12_000, 50_000)
    with ground.scene(speed=4.0) as scene:
        scene.populate(People.mixed(messages), **THREE_CHANNELS)
        answer_slowly(scene, 0.3)
        rate = messages * 0.6 / (rounds * LEASE * 5) / daemons
        fleet = Fleet(scene, daemons, ["--lease", str(LEASE), "--connections", "32", "--rate", str(max(rate, 20))])
        fleet.wait_up()
        freezes = 0
        for _ in range(rounds):
            time.sleep(ground.chance.uniform(0.3, 1.0))
            those = ground.chance.sample(fleet.up(), max(1, daemons - 1))
            for one in those:
                one.hit(signal.SIGSTOP)
            time.sleep(3 * LEASE)
            for one in those:
                one.hit(signal.SIGCONT)
            freezes += len(those)
        scene.wait_done(400)
        fleet.end()
        found = reached(scene, messages)
        held(after_lease(scene))
    lost = sum(victim.log.read_text().count("lease_lost") for victim in scene.victims)
    held([f"I9 {freezes} freezes, {lost} leases given up"] * (lost < freezes // 2))
    caught_some(found)
    return Told(
        f"{freezes} freezes, {daemons} daemons, {messages:,} messages",
        f"{lost} leases given up, {found.unknown} unknown",
        found,
    )


@experiment("R3", "broken on purpose: no fence, nobody asks whether the lease is over", catches="I9")
def no_fence_is_caught(ground: Ground) -> Told:
    with ground.scene() as scene:
        scene.populate(People(sms=24), holdout="0%")
        options = ["--lease", "1", "--connections", "12", "--broken", "no_fence"]
        victim = scene.start("--stop-at", "marked:1", *options)
        wait_for(lambda: stands_still(victim), "the victim to stop after its mark", seconds=90)
        time.sleep(3.0)
        with scene.writer() as store:
            recover_dead(store, scene.timeline.clock, {"twilio": False})  # as the sweeper of another process does
        time.sleep(2 * GRACE)
        victim.hit(signal.SIGCONT)
        victim.end()
        held(after_lease(scene))
    return Told("1 freeze, 24 messages")
