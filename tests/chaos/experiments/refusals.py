"""R11, R33: a refusal, and a pause, of another process than the one that sends."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

from sqlalchemy import select

from orchestrator.audience import people
from orchestrator.ledger import runs
from orchestrator.ledger.states import CampaignState
from orchestrator.store import Store
from orchestrator.store.tables import users
from tests.chaos import wire
from tests.chaos.experiments.kills import answer_slowly, reached
from tests.chaos.ground import NOT_SHORT, Ground, Told, experiment, held
from tests.chaos.scene import THREE_CHANNELS, Fleet, People

BOUND = 5.0
"""Seconds that a mark is good for: the manual says so; promised are 60."""
CHANNELS = ("push", "sms", "email")
PAUSE = 2.0


def _refuse(store: Store, users_of: list[int], at: datetime) -> float:
    """People refuse everything, in one transaction; when it was committed."""
    changes = [
        people.ConsentChange(user, channel, "promotions", granted=False, source="test", at=at)
        for user in users_of
        for channel in CHANNELS
    ]
    with store.write() as connection:
        people.set_consents(connection, changes)
    return time.time()


def _raced(ground: Ground, messages: int, *options: str) -> Told:
    """Two daemons send, a third process writes that people refuse, some at a time."""
    with ground.scene() as scene:
        scene.populate(People.mixed(messages), **THREE_CHANNELS)
        seconds = ground.pick(10, 25, 60)
        rate = messages * 0.6 / seconds / 2
        fleet = Fleet(scene, 2, ["--connections", "32", "--burst", "8", "--rate", str(rate), *options])
        refused: dict[tuple[int, str], float] = {}
        with scene.writer() as store:
            with store.read() as connection:
                left = list(connection.execute(select(users.c.id)).scalars())
            ground.chance.shuffle(left)
            left = left[: messages // 2]
            fleet.wait_up()
            while left and scene.busy():
                some, left = left[-20:], left[:-20]
                at = _refuse(store, some, scene.timeline.clock.now())
                refused |= {(user, channel): at for user in some for channel in CHANNELS}
                time.sleep(ground.chance.uniform(0, 2.0) * seconds / (messages / 40))
        scene.wait_done(300)
        fleet.end()
        found, taken = scene.check(), scene.far.accepted()
    held(wire.after_refusal(taken, refused, BOUND))
    late = [by for *_, by in wire.lateness(taken, refused)]
    spared = messages - len({one["message_id"] for one in taken})
    held([f"I5 {spared} were spared of {len(refused) // 3} who refused"] * (spared == 0))
    figures = f"{spared:,} spared; {len(late)} requests after a commit, the latest {max(late, default=0):.2f} s"
    return Told(f"{len(refused) // 3:,} refusals while {messages:,} messages leave", figures, found, found.unsent)


@experiment("R11", "people refuse while two daemons send; another process writes it", "10,000; ≤ 60 s across processes")
def refusals(ground: Ground) -> Told:
    return _raced(ground, ground.pick(600, 3_000, 10_000))


@experiment("R11", "broken on purpose: a door that trusts the plan", catches="I5")
def trusting_is_caught(ground: Ground) -> Told:
    return _raced(ground, ground.pick(600, 600, 600), "--broken", "trusting")


@experiment(
    "R33", "pauses and resumptions while two daemons send", "100 pauses; 0 new calls after 2 s", sizes=NOT_SHORT
)
def pauses(ground: Ground) -> Told:
    times = ground.pick(3, 12, 100)
    messages = times * 200
    after: list[float] = []
    with ground.scene() as scene:
        scene.populate(People(push=messages), holdout="0%")
        answer_slowly(scene, 0.05)
        fleet = Fleet(scene, 2, ["--connections", "16", "--rate", "150"])
        fleet.wait_up()
        with scene.writer() as store:
            for number in range(times):
                scene.wait_taken(messages * number // (times + 1) + 20)
                began = _put(store, CampaignState.PAUSED, scene.timeline.clock.now())
                time.sleep(PAUSE + ground.chance.uniform(0.2, 0.8))
                ended = time.time()
                _put(store, CampaignState.RUNNING, scene.timeline.clock.now())
                calls = [at - began for at in _arrivals(scene.far.accepted()) if began < at < ended]
                after.append(max(calls, default=0.0))
        scene.wait_done(300)
        fleet.end()
        found = reached(scene, messages)
    held(f"R33 a request {by:.2f} s after the pause" for by in after if by > PAUSE)
    held([f"I3 {found.requests} requests for {messages} messages"] * (found.requests != messages))
    return Told(
        f"{times} pauses, {messages:,} messages", f"last request after a pause: at most {max(after):.2f} s", found
    )


def _put(store: Store, state: CampaignState, at: datetime) -> float:
    with store.write() as connection:
        runs.set_campaign_state(connection, "lunch", state, at, "operator test")
    return time.time()


def _arrivals(taken: list[dict[str, Any]]) -> list[float]:
    return [record["time"] for record in taken]
