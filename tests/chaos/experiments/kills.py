"""R1, R2, R20: ``kill -9`` at random moments, at every step, and by a message that kills whoever touches it."""

from __future__ import annotations

import signal
import time

from orchestrator.ledger.states import State
from tests.chaos import wire
from tests.chaos.checker import Accounting
from tests.chaos.ground import NOT_SHORT, Ground, Told, experiment, held
from tests.chaos.scene import THREE_CHANNELS, Fleet, People, Scene

LEASE = "3"
RESTART = 5.0
"""Seconds that a restart may take, from the start of the process until it is up, on a machine that has time for it."""
WELL = {State.ACCEPTED, State.UNKNOWN, State.FAILED}
"""Where everybody's messages may be when everybody could be reached; failed is asked about apart: poison alone."""
STEPS = {
    "claiming": "in the claim",
    "claimed": "after the claim",
    "composed": "after composing",
    "admitted": "after the rate was reserved",
    "marking": "before the mark's commit",
    "marked": "after the mark's commit",
    "leaving": "before the request",
    "sent": "after the answer",
    "settling": "before the outcome's transaction",
    "written": "before the outcome's commit",
    "settled": "after the outcome's commit",
    "beating": "in the heartbeat",
    "ending": "in the drain",
    "planning": "between two chunks of a plan",
}
"""The door's probes."""


def answer_slowly(scene: Scene, seconds: float) -> None:
    """Every provider accepts at once and answers later: a kill finds requests on the wire."""
    for provider in ("fcm", "twilio", "smtp"):
        scene.far.fault(provider=provider, kind="delay", accept=True, seconds=seconds, times=None)


def hunt(ground: Ground, scene: Scene, fleet: Fleet, kills: int, messages: int) -> None:
    """Kill whoever is up, at random moments spread over the whole of the run."""
    for number in range(kills):
        scene.wait_taken(int(messages * 0.8 * (number + 0.5) / kills))
        fleet.wait_up(1)
        time.sleep(ground.chance.uniform(0.0, 0.25))
        fleet.kill(ground.chance.choice(fleet.up()))


def reached(scene: Scene, messages: int) -> Accounting:
    """The books at the end: everybody was reached, is listed as unknown, or was set aside as poison."""
    found = scene.check()
    lost = found.unsent - found.poisoned
    held([f"I1 {lost} of {messages} messages ended without being sent: {found.states}"] * bool(lost))
    held([f"I1 {found.messages} messages, {messages} were owed"] * (found.messages != messages))
    held(wire.canaries(victim.log for victim in scene.victims))
    return found


def caught_some(found: Accounting) -> None:
    """Whoever was hit had requests on their way: else nothing was tried."""
    held(["R1 nothing was on its way when they were hit"] * (found.on_the_wire == 0))


def restarted(fleet: Fleet) -> str:
    """How long those took that followed, in words; more than was promised is a broken promise.

    Daemons, database and far end share the cores: what a restart waits for one is told, and is not its own time.
    """
    (seconds, alone), first = fleet.slowest_up(), fleet.slowest_first()
    held([f"R1 a restart took {alone:.1f} s by itself, {RESTART:g} s are promised"] * (alone > RESTART))
    held(["R1 nobody who followed has sent anything"] * (first == 0))
    return f"a restart took {seconds:.1f} s at most ({alone:.1f} s by itself), {first:.1f} s to its first message"


def killed(ground: Ground, *options: str, daemons: int, kills: int, messages: int, seconds: float = 0.15) -> Told:
    """A campaign over three channels by several daemons, killed and followed all along."""
    with ground.scene(speed=4.0) as scene:
        scene.populate(People.mixed(messages), **THREE_CHANNELS)
        answer_slowly(scene, seconds)
        fleet = Fleet(scene, daemons, ["--lease", LEASE, "--connections", "32", *options])
        fleet.wait_up()
        began = time.monotonic()
        hunt(ground, scene, fleet, kills, messages)
        scene.wait_done(600)
        took = time.monotonic() - began
        fleet.end()
        found, restarts = reached(scene, messages), restarted(fleet)
        caught_some(found)
    did = f"{found.kills} kills, {daemons} daemons, {messages:,} messages"
    more = f"{found.unknown} unknown, {found.poisoned} set aside; {restarts}"
    return Told(did, f"{more}; {messages / took:,.0f} messages/s all the same", found)


@experiment(
    "R1",
    "`kill -9` of daemons on several machines and one PostgreSQL at random moments, push, SMS and mail",
    "200 kills, 4 workers × concurrency 32, 50,000 messages, 3 channels",
)
def random_kills(ground: Ground) -> Told:
    kills, messages = ground.pick((5, 1_500), (40, 8_000), (200, 50_000))
    return killed(ground, "--apart", daemons=ground.pick(2, 4, 4), kills=kills, messages=messages)


@experiment(
    "R1", "two daemons on one machine, twenty `kill -9` in a row", "20 kills, 100,000 messages", sizes=NOT_SHORT
)
def twenty_in_a_row(ground: Ground) -> Told:
    return killed(ground, daemons=2, kills=20, messages=ground.pick(0, 20_000, 100_000), seconds=0.02)


@experiment("R1", "`kill -9` of one daemon on a SQLite file at random moments", "as above, embedded", sizes=NOT_SHORT)
def embedded_kills(ground: Ground) -> Told:
    kills, messages = ground.pick((4, 900), (12, 4_000), (60, 20_000))
    with ground.scene("sqlite", speed=4.0) as scene:
        scene.populate(People.mixed(messages), **THREE_CHANNELS)
        answer_slowly(scene, 0.1)
        fleet = Fleet(scene, 1, ["--connections", "32"])
        hunt(ground, scene, fleet, kills, messages)
        scene.wait_done(600)
        fleet.end()
        found, restarts = reached(scene, messages), restarted(fleet)
        caught_some(found)
    return Told(f"{found.kills} kills, {messages:,} messages", restarts, found)


@experiment("R1", "broken on purpose: a recovery that sends again whatever was on its way", catches="I3")
def send_again_is_caught(ground: Ground) -> Told:
    with ground.scene() as scene:
        scene.populate(People(sms=40, mail=20), **THREE_CHANNELS)
        answer_slowly(scene, 1.0)
        scene.start("--lease", "1", "--die-at", "leaving:20", "--delay", "0.3").end()
        time.sleep(1.2)
        scene.start("--lease", "1", "--broken", "send_again").end()
        scene.check()
    return Told("60 messages, 1 kill")


@experiment(
    "R2",
    "`kill -9` exactly at each step of the door, of planning and of draining",
    "≥ 12 points, 20 times each",
    sizes=NOT_SHORT,
)
def each_step(ground: Ground) -> Told:
    times, steps = ground.pick(1, 1, 20), tuple(STEPS)
    kills = doubt = allowed = seen = lost = messages = requests = 0
    for step in steps:
        for _ in range(times):
            found = _died_at(ground, step)
            kills, messages, requests = kills + found.kills, messages + found.messages, requests + found.requests
            doubt, allowed = doubt + found.in_doubt, allowed + found.duplicates_allowed
            seen, lost = seen + found.duplicates_seen, lost + found.unsent
    total = Accounting(kills, doubt, allowed, seen, 0, lost, {}, messages, requests, doubt)
    return Told(f"{len(steps)} points, {times} times each", ", ".join(STEPS[step] for step in steps), total)


def _died_at(ground: Ground, step: str) -> Accounting:
    nth = 1 if step == "ending" else ground.chance.randint(1, 3 if step in {"leaving", "sent"} else 1)
    with ground.scene("sqlite") as scene:
        many = step == "planning"
        scene.populate(People(push=1200) if many else People(push=10, sms=6, mail=6), plan=not many, **THREE_CHANNELS)
        if step in {"beating", "settled"}:
            answer_slowly(scene, 0.7)
        scene.dies("--die-at", f"{step}:{nth}", "--lease", "1")
        scene.far.calm()
        scene.finish()
        return reached(scene, 1200 if many else 22)


@experiment("R20", "messages that kill their worker while they are composed", "10 among 10,000", sizes=NOT_SHORT)
def poison(ground: Ground) -> Told:
    bad, messages = ground.pick((1, 60), (3, 2_000), (10, 10_000))
    with ground.scene("sqlite") as scene:
        scene.populate(People(push=messages - bad, tokyo=0, sms=0, mail=0, new_york=0, poisonous=bad), holdout="0%")
        while (victim := scene.start("--allergy", "Poison", "--connections", "32")).end() != 0:
            assert victim.end() == -signal.SIGKILL, victim.log.read_text()[-2000:]
            scene.kills += 1
            assert scene.kills <= 3 * bad, "it was not set aside after three crashes"
        found = reached(scene, messages)
    held([f"I1 {found.poisoned} were set aside, {bad} are poisonous"] * (found.poisoned != bad))
    return Told(
        f"{bad} among {messages:,}", f"{found.kills} crashes, {found.poisoned} set aside, the others sent", found
    )
