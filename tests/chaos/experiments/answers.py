"""R5, R6, R7: answers that are lost, a storm of errors, and waits that providers name."""

from __future__ import annotations

import signal
import time

from orchestrator.ledger.states import State
from tests.chaos import wire
from tests.chaos.experiments.kills import reached
from tests.chaos.ground import NOT_SHORT, Ground, Told, experiment, held
from tests.chaos.scene import THREE_CHANNELS, Fleet, People, Scene

NAMED, NONSENSE = ("1", "3", "date+4"), ("garbage", "-5", "")
"""Retry-After as it is told. Nonsense is followed by FCM's own minute."""
KEPT = {"1": 1.0, "3": 3.0, "date+4": 2.9}  # a date has whole seconds
CLIMB = 15.0
"""Seconds of a ramp of 60 that are looked at: they are worth less than a quarter of the full rate."""
YEAR = str(365 * 86_400)


def _hits(scene: Scene) -> dict[str, int]:
    """How often each provider's fault was suffered."""
    return {fault["provider"]: fault["hits"] for fault in scene.far.ask("GET", "/sandbox/faults")["faults"]}


@experiment("R5", "answers lost: one request in ten is accepted and then reset", "10 % of 20,000")
def lost_answers(ground: Ground) -> Told:
    messages = ground.pick(800, 5_000, 20_000)
    with ground.scene(speed=10.0) as scene:
        scene.populate(People.mixed(messages), **THREE_CHANNELS)
        for n, provider in enumerate(("fcm", "twilio", "smtp")):
            scene.far.fault(provider=provider, kind="reset_after", probability=0.1, seed=ground.seed + n, times=None)
        scene.start("--lease", "3", "--connections", "32").wait_up()
        assert scene.victims[0].end(600) == 0, scene.victims[0].log.read_text()[-2000:]
        hits = _hits(scene)
        found = reached(scene, messages)
        kept, twice = hits["twilio"] + hits["smtp"], found.duplicates_seen
        held(f"R5 no answer of {provider} was lost" for provider, times in hits.items() if times == 0)
        held([f"I3 {found.unknown} unknown, {kept} answers of SMS and mail were lost"] * (found.unknown != kept))
        held([f"I3 {twice} pushes again, {hits['fcm']} answers were lost"] * (twice > hits["fcm"]))
    lost = sum(hits.values())
    return Told(f"{lost} of {messages:,}", f"{kept} SMS and mails unknown, {twice} pushes again in place", found)


@experiment("R6", "every answer is a 503, then none is", "10 minutes, 20,000 queued", sizes=NOT_SHORT)
def storm(ground: Ground) -> Told:
    seconds, messages, rate = ground.pick(35, 45, 600), ground.pick(500, 2_000, 20_000), 200.0
    with ground.scene() as scene:
        scene.populate(People(push=messages), holdout="0%")
        scene.far.fault(provider="fcm", kind="status", status=503, times=None)
        fleet = Fleet(scene, 1, ["--connections", "8", "--rate", str(rate), "--ramp", "60"])
        fleet.wait_up()
        time.sleep(seconds)
        asked = _hits(scene)["fcm"]
        scene.far.calm()
        most = max(0.02 * rate * seconds, 40)
        held([f"R6 {asked} requests into a storm of {seconds} s, {most:.0f} are 2 %"] * (asked > most))
        held(["R6 nothing was asked in the storm: its breaker saw none"] * (asked == 0))
        calmed = time.time()
        scene.wait_done(900)
        fleet.end()
        found, instants = reached(scene, messages), wire.times(scene.far.accepted(), "fcm")
    climbed = sum(at < instants[0] + CLIMB for at in instants)
    held([f"R6 {climbed} requests in the first {CLIMB:g} s: nothing climbs"] * (climbed > rate * CLIMB / 2))
    usual = f"{climbed:,} in {CLIMB:g} s, {rate * CLIMB:,.0f} are usual"
    resumed = f"resumed after {instants[0] - calmed:.0f} s with {usual}"
    return Told(f"{seconds} s, {messages:,} queued", f"{asked} requests in the storm; {resumed}", found)


@experiment("R7", "429 with every kind of Retry-After", "1,000 of each", sizes=NOT_SHORT)
def waits(ground: Ground) -> Told:
    messages = ground.pick(120, 400, 1_000)
    told_waits, early = NAMED * ground.pick(1, 3, 10) + NONSENSE * ground.pick(0, 0, 1), list[str]()
    with ground.scene() as scene:
        scene.populate(People(push=messages), holdout="0%")
        fleet = Fleet(
            scene, 1, ["--connections", "1", "--burst", "1", "--rate", str(messages / ground.pick(8, 20, 60))]
        )
        scene.wait_taken(3)
        for named in told_waits:
            told = _refused_once(scene, named)
            time.sleep(KEPT.get(named, 0.5) + 0.2)
            early += wire.too_early(wire.times(scene.far.accepted(), "fcm"), told, KEPT.get(named, 0.0))
        scene.wait_done(200)
        fleet.end()
        found = reached(scene, messages)
    held(early)
    return Told(
        f"{len(told_waits)} answers of {len(set(told_waits))} kinds, {messages:,} messages",
        "0 requests before a wait was over",
        found,
    )


def _refused_once(scene: Scene, named: str) -> float:
    """When the one 429 was answered."""
    more = {"retry_after": named} if named else {}
    scene.far.fault(provider="fcm", kind="status", status=429, times=1, **more)
    deadline = time.monotonic() + 90
    while _hits(scene):
        assert time.monotonic() < deadline, f"nothing was asked for 90 s; the next answer was to be {named!r}"
        time.sleep(0.005)
    return time.time()


@experiment("R7", "429 with a Retry-After of a year", "clamped to 24 h or the deadline", sizes=NOT_SHORT)
def a_year(ground: Ground) -> Told:
    with ground.scene(speed=600.0) as scene:
        scene.populate(People(push=40), holdout="0%")
        fleet = Fleet(scene, 1, ["--connections", "1", "--burst", "1", "--rate", "8"])
        scene.wait_taken(3)
        told = _refused_once(scene, YEAR)
        time.sleep(8.0)  # at this speed lunch is over by then
        for one in fleet.members:
            one.hit(signal.SIGTERM)
            one.end()
        found = scene.check()
        held(wire.too_early(wire.times(scene.far.accepted(), "fcm"), told, 3600))
        held([f"I8 {found.states}"] * (set(found.states) != {State.ACCEPTED, State.EXPIRED}))
    return Told("1", f"{found.states[State.EXPIRED]} messages expired at their deadline, none was sent", None)
