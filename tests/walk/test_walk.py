"""Promise R34: random walks over everything that can happen, on a virtual clock, against an oracle in memory.

Each run draws new seeds. A walk that fails is cut short and written to ``kept.jsonl``: from then on every run replays
it. ``WALK_SEEDS=7,8`` walks those seeds alone, ``WALK_LENGTH=500`` at that length.
"""

from __future__ import annotations

import asyncio
import os
import random
from datetime import UTC, datetime, timedelta
from unittest import mock

import pytest

from orchestrator.store import Store
from orchestrator.timing.window import Window
from tests.nightly import size
from tests.timing.oracle import is_inside
from tests.walk.compare import Row, _differ
from tests.walk.operations import OPERATIONS
from tests.walk.town import Town
from tests.walk.walk import Operation, WentAstrayError, drawn, fails, keep, kept, play, shortened
from tests.walk.wallclock import Hours, instant, opened

PARTS, SEEDS = 8, size(200, 1_000)
LENGTH = int(os.environ.get("WALK_LENGTH", size(90, 500)))
ASKED = [int(seed) for seed in os.environ.get("WALK_SEEDS", "").split(",") if seed]
LEAST = size(1, 8)
"""Requests a walk, on average: a walk on which nothing leaves tests little."""


def walked(store: Store, loop: asyncio.AbstractEventLoop, seed: int) -> int:
    """A seed's walk; one that fails is kept, in the shortest form that fails."""
    operations = drawn(seed, LENGTH)
    try:
        return play(store, loop, operations)
    except WentAstrayError as error:
        short = shortened(store, loop, operations)
        keep(seed, short, str(error))
        pytest.fail(f"seed {seed}: {error}\nshortened to {len(short)} operations, kept in tests/walk/kept.jsonl")


@pytest.mark.parametrize("part", range(PARTS))
def test_walks_agree_with_the_oracle(store: Store, loop: asyncio.AbstractEventLoop, part: int) -> None:
    fresh = random.SystemRandom()
    seeds = ASKED[part::PARTS] if ASKED else [fresh.randrange(1 << 32) for _ in range(SEEDS // PARTS)]
    requests = sum(walked(store, loop, seed) for seed in seeds)
    assert ASKED or requests >= LEAST * len(seeds)


@pytest.mark.parametrize(("seed", "operations"), list(kept()))
def test_what_failed_once(
    store: Store, loop: asyncio.AbstractEventLoop, seed: int, operations: list[Operation]
) -> None:
    play(store, loop, operations)


def test_a_seed_is_a_walk_and_any_part_of_a_walk_is_one(store: Store, loop: asyncio.AbstractEventLoop) -> None:
    operations = drawn(1, 60)
    assert operations == drawn(1, 60)
    assert operations != drawn(2, 60)
    play(store, loop, operations[::2])
    play(store, loop, operations[1::2])


def test_everything_can_be_drawn() -> None:
    names = {name for seed in range(40) for name, _ in drawn(seed, 90)}
    assert names == set(OPERATIONS)


def test_the_oracles_window_is_that_of_every_minute() -> None:
    """Its five minutes are enough: zones and dates of the walk, a day of changing clocks among them."""
    day, lunch = datetime(2026, 3, 29, tzinfo=UTC).date(), Hours(90, 210)
    window = Window.parse(lunch.text)
    for zone in ("Europe/Berlin", "Australia/Lord_Howe", "Pacific/Kiritimati", "America/New_York"):
        door = opened(lunch, (day,), timedelta(days=1), "push", zone, "")
        found = {instant(tick) for tick in door.ticks}
        assert found
        for at in found:
            assert at in window.on(day, zone)
        around = [instant(min(door.ticks) - n) for n in range(1, 300)] + [door.closes]
        assert not any(at in window.on(day, zone) for at in around)
    assert is_inside(window, day, datetime(2026, 3, 29, 3, 0))  # noqa: DTZ001  # a wall clock's


def test_what_the_thing_raises_is_the_seeds_fault(store: Store, loop: asyncio.AbstractEventLoop) -> None:
    with mock.patch.object(Town, "sweep", side_effect=ValueError("no")):
        assert "raised: ValueError('no')" in fails(store, loop, [("the_sweeper_comes", ())])


def test_a_walk_is_cut_to_what_it_fails_with(store: Store, loop: asyncio.AbstractEventLoop) -> None:
    with mock.patch.object(Town, "sweep", side_effect=ValueError("no")):
        assert shortened(store, loop, [*drawn(3, 40), ("the_sweeper_comes", ())]) == [("the_sweeper_comes", ())]


def test_a_difference_is_said_in_words() -> None:
    found: dict[object, Row] = {1: ("planned", None), 2: ("sending", None)}
    assert list(_differ("run", found, {1: ("planned", None), 3: ("failed", "x")})) == [
        "run 2: is sending None, should be nothing",
        "run 3: is nothing, should be failed x",
    ]
