"""What every limiter promises, whatever keeps its buckets.

A backend joins by a name in ``BACKENDS`` and a branch in ``rig``.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typing_extensions import override

from orchestrator.limits.rate import Limiter, MemoryLimiter, Rate
from orchestrator.limits.shared import SharedLimiter, connect

BACKENDS = ["memory", "shared"]
NO_RAMP = timedelta(0)


@dataclass
class Hand:
    """Machine time that a test moves by hand; starts anywhere but 0."""

    seconds: float = 12_345.678

    def __call__(self) -> float:
        return self.seconds


@dataclass
class Rig:
    """A limiter and its time; ``again`` makes another one, empty and at the same time, as a restart would."""

    limiter: Limiter
    time: Hand
    again: Callable[[], Limiter]


class Prompt(SharedLimiter):
    """Time stands still until the server was told of a pause."""

    @override
    def pause(self, key: str, seconds: float) -> None:
        super().pause(key, seconds)
        self.flush()

    @override
    def ease(self, key: str) -> None:
        super().ease(key)
        self.flush()


@pytest.fixture(params=BACKENDS)
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    time = Hand()
    match request.param:
        case "memory":
            yield Rig(MemoryLimiter(time), time, lambda: MemoryLimiter(time))
        case "shared":
            client, name = connect(request.getfixturevalue("valkey")), uuid4().hex
            yield Rig(Prompt(client, name, time, time), time, lambda: Prompt(client, name, time, time))
            client.close()
        case other:
            pytest.fail(f"no rig for {other}")


def assert_never_more(log: list[tuple[float, int]], rate: Rate, *, span: float) -> None:
    """No closed span of ``span`` seconds holds more than burst + rate * span."""
    most = rate.burst + rate.per_second * span
    low, within = 0, 0
    for at, n in log:
        within += n
        while log[low][0] < at - span:
            within -= log[low][1]
            low += 1
        assert within <= most + 1e-6, (at, within, most)


def drain(rig: Rig, keys: list[tuple[str, Rate]], *, seconds: float, step: float = 0.01) -> list[tuple[float, int]]:
    """Take all there is, every ``step``."""
    log, end = [], rig.time.seconds + seconds
    while rig.time.seconds < end:
        rig.time.seconds += step
        if got := rig.limiter.take(keys, 1_000_000):
            log.append((rig.time.seconds, got))
    return log


def test_a_bucket_starts_empty(rig: Rig) -> None:
    keys = [("account:fcm", Rate(100, 10, NO_RAMP))]
    assert rig.limiter.available(keys) == rig.limiter.take(keys, 5) == 0


def test_a_restart_does_not_refill(rig: Rig) -> None:
    rate = Rate(50, 50, NO_RAMP)
    log = []
    for _restart in range(5):
        log += drain(rig, [("a", rate)], seconds=0.7)
        rig.limiter = rig.again()
    assert_never_more(log, rate, span=1.0)
    assert sum(n for _at, n in log) <= 50 * 5 * 0.7 + 1


def test_it_never_gives_n_plus_one(rig: Rig) -> None:  # listmonk #2184
    for per_second, burst in [(10, 1), (3, 1), (0.1, 1), (7.3, 4), (1000, 10)]:
        rate = Rate(per_second, burst, NO_RAMP)
        rig.time.seconds += 1e6
        log = drain(rig, [(f"k{per_second}", rate)], seconds=20, step=0.0137)
        for span in (0.1, 1.0, 10.0):
            assert_never_more(log, rate, span=span)


def test_the_rate_that_was_asked_for_is_reached(rig: Rig) -> None:  # parcelvoy #600: 2,000/min where 27,500 was wanted
    rate = Rate(27_500 / 60, 10, NO_RAMP)
    log = drain(rig, [("a", rate)], seconds=60)
    assert sum(n for _at, n in log) >= 0.95 * 27_500
    assert_never_more(log, rate, span=60.0)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rates=st.lists(
        st.builds(
            Rate,
            st.floats(0.05, 500),
            st.integers(1, 60),
            st.sampled_from([NO_RAMP, timedelta(seconds=2), timedelta(seconds=60)]),
        ),
        min_size=1,
        max_size=3,
    ),
    seed=st.integers(0, 2**32),
)
def test_no_span_ever_holds_more_than_rate_and_burst(rig: Rig, rates: list[Rate], seed: int) -> None:
    """Random takes over random subsets of keys, waits, pauses, and returns after any delay."""
    chance, limiter, time = random.Random(seed), rig.again(), rig.time
    keys = [(f"key{n}", rate) for n, rate in enumerate(rates)]
    grants: list[Grant] = []
    for _turn in range(150):
        time.seconds += chance.choice([0.0, 0.001, 0.03, 0.2, chance.expovariate(1), 5.0 * chance.random()])
        some = chance.sample(keys, chance.randint(1, len(keys)))
        there = limiter.available(some)
        got = limiter.take(some, chance.choice([1, 3, 1000]))
        assert 0 <= got <= there
        grants.append(Grant(time.seconds, some, got, chance.random() < 0.4))
        return_some(limiter, grants, time.seconds, chance)
        if chance.random() < 0.02:
            limiter.pause(chance.choice(keys)[0], chance.random() * 3)
    for key, rate in keys:
        used = [(grant.at, grant.used) for grant in grants if (key, rate) in grant.keys]
        for span in (0.3, 1.0, 20.0):
            assert_never_more(used, rate, span=span)


@dataclass
class Grant:
    """What was taken, and whether part of it is going to come back."""

    at: float
    keys: list[tuple[str, Rate]]
    used: int
    returns: bool


def return_some(limiter: Limiter, grants: list[Grant], now: float, chance: random.Random) -> None:
    """Give back part of some grants."""
    for grant in grants:
        if grant.returns and grant.used and chance.random() < 0.2:
            back = chance.randint(1, grant.used)
            limiter.give_back(grant.keys, back, held=now - grant.at)
            grant.used, grant.returns = grant.used - back, False


def test_several_keys_are_taken_together_or_not_at_all(rig: Rig) -> None:
    account, lane = ("account", Rate(100, 10, NO_RAMP)), ("lane", Rate(10, 2, NO_RAMP))
    rig.limiter.take([account, lane], 1)
    rig.time.seconds += 1
    assert rig.limiter.available([account]) == 10
    assert rig.limiter.available([account, lane]) == 2
    assert rig.limiter.take([account, lane], 5) == 2
    assert rig.limiter.take([account, lane], 5) == 0
    assert rig.limiter.available([account]) == 8  # the refused take took nothing


def test_a_key_named_twice_counts_once(rig: Rig) -> None:
    key = ("a", Rate(10, 4, NO_RAMP))
    rig.limiter.available([key])
    rig.time.seconds += 1
    assert rig.limiter.take([key, key], 4) == 4


def test_no_keys_no_limit(rig: Rig) -> None:
    assert rig.limiter.take([], 1000) == 1000
    assert rig.limiter.wait([]) == 0.0


@pytest.mark.parametrize("n", [0, -3])
def test_taking_or_returning_nothing_changes_nothing(rig: Rig, n: int) -> None:
    keys = [("a", Rate(10, 4, NO_RAMP))]
    rig.limiter.available(keys)
    rig.time.seconds += 1
    assert rig.limiter.take(keys, n) == 0
    rig.limiter.give_back(keys, n)
    assert rig.limiter.available(keys) == 4


def test_one_slow_or_stopped_key_blocks_nobody_else(rig: Rig) -> None:  # listmonk #2816, #2231; sygnal #104
    fcm, sms = [("account:fcm", Rate(100, 10, NO_RAMP))], [("account:twilio", Rate(1, 1, NO_RAMP))]
    rig.limiter.available(fcm)
    rig.limiter.available(sms)
    rig.limiter.pause("account:twilio", 3600)
    rig.time.seconds += 1
    assert rig.limiter.take(sms, 1) == 0
    assert rig.limiter.take(fcm, 10) == 10


def test_what_was_not_used_can_be_given_back(rig: Rig) -> None:
    keys = [("a", Rate(10, 5, NO_RAMP)), ("b", Rate(20, 8, NO_RAMP))]
    rig.limiter.available(keys)
    rig.time.seconds += 10
    assert rig.limiter.take(keys, 5) == 5
    rig.limiter.give_back(keys, 3)
    assert rig.limiter.available(keys) == 3
    rig.limiter.give_back(keys, 100)
    assert rig.limiter.available(keys) == 5  # never more than the burst


def test_a_late_return_gives_nothing_that_has_flowed_in_already(rig: Rig) -> None:
    keys = [("a", Rate(10, 10, NO_RAMP))]
    rig.limiter.available(keys)
    rig.time.seconds += 10
    assert rig.limiter.take(keys, 10) == 10
    rig.time.seconds += 0.9
    assert rig.limiter.take(keys, 10) in (8, 9)
    rig.limiter.give_back(keys, 10, held=0.9)
    assert rig.limiter.available(keys) <= 2


def test_the_rate_climbs_from_a_tenth(rig: Rig) -> None:
    rate = Rate(100, 3, timedelta(seconds=60))
    per_second = [sum(n for _at, n in drain(rig, [("a", rate)], seconds=1)) for _second in range(62)]
    assert 9 <= per_second[0] <= 14
    assert 50 <= per_second[29] <= 58
    assert per_second[61] >= 95
    assert sum(per_second[:60]) == pytest.approx(55 * 60, rel=0.03)


def test_it_climbs_again_after_a_rest_but_not_after_a_breath(rig: Rig) -> None:
    keys = [("a", Rate(100, 5, timedelta(seconds=60)))]
    drain(rig, keys, seconds=70, step=0.05)
    rig.time.seconds += 20
    breath = sum(n for _at, n in drain(rig, keys, seconds=1))
    rig.time.seconds += 61
    rest = sum(n for _at, n in drain(rig, keys, seconds=1))
    assert breath >= 95
    assert rest <= 5 + 12


def test_polling_is_no_use_and_does_not_keep_a_bucket_warm(rig: Rig) -> None:
    keys = [("a", Rate(100, 5, timedelta(seconds=60)))]
    drain(rig, keys, seconds=70, step=0.05)
    for _poll in range(100):
        rig.time.seconds += 1
        rig.limiter.available(keys)
        rig.limiter.wait(keys)
    assert sum(n for _at, n in drain(rig, keys, seconds=1)) <= 5 + 12


def test_what_is_eased_ramps_again(rig: Rig) -> None:
    keys = [("a", Rate(100, 10, timedelta(seconds=60)))]
    drain(rig, keys, seconds=90)
    warm = sum(n for _, n in drain(rig, keys, seconds=6))
    rig.limiter.ease("a")
    assert rig.limiter.available(keys) == 0
    first, rest = (sum(n for _, n in drain(rig, keys, seconds=seconds)) for seconds in (6, 54))
    assert 595 <= warm <= 605
    assert 75 <= first <= 95, "6 s from a tenth on: 60, and a little that has climbed"
    assert 3200 <= first + rest <= 3310, "a minute's ramp is worth 55 hundredths of it"
    assert sum(n for _, n in drain(rig, keys, seconds=6)) >= 595


def test_easing_lifts_no_pause_and_nobodys_bucket_is_eased_for_nothing(rig: Rig) -> None:
    keys = [("a", Rate(100, 10, NO_RAMP))]
    rig.limiter.ease("a")
    drain(rig, keys, seconds=1)
    rig.limiter.pause("a", 30)
    rig.limiter.ease("a")
    rig.time.seconds += 29
    assert rig.limiter.take(keys, 1) == 0
    rig.time.seconds += 2
    assert rig.limiter.take(keys, 10) == 10
    rig.time.seconds += 1
    rig.limiter.ease("a")
    assert rig.limiter.take(keys, 10) == 10, "without a ramp there is none to begin again"


def test_a_rate_slower_than_its_ramp_still_flows(rig: Rig) -> None:
    keys = [("a", Rate(0.01, 1, timedelta(seconds=60)))]
    log = drain(rig, keys, seconds=2000, step=1)
    assert len(log) >= 19


def test_a_pause_lets_nothing_through_and_is_never_shortened(rig: Rig) -> None:  # promises P10
    keys = [("a", Rate(100, 10, NO_RAMP))]
    rig.limiter.available(keys)
    rig.time.seconds += 1
    began = rig.time.seconds
    rig.limiter.pause("a", 7)
    rig.limiter.pause("a", 1)
    rig.limiter.give_back(keys, 5)
    assert rig.limiter.wait(keys) >= 7
    log = drain(rig, keys, seconds=8)
    assert log[0][0] >= began + 7
    assert log[0][1] <= 6


def test_a_pause_of_a_key_that_nobody_has_used_yet_holds(rig: Rig) -> None:
    keys = [("a", Rate(100, 10, NO_RAMP))]
    began = rig.time.seconds
    rig.limiter.pause("a", 5)
    assert rig.limiter.wait(keys) >= 5
    assert drain(rig, keys, seconds=6)[0][0] >= began + 5


@pytest.mark.parametrize(("pause", "least", "most"), [(120.0, 0, 15), (10.0, 90, 101)])
def test_after_a_long_pause_it_climbs_again(rig: Rig, pause: float, least: int, most: int) -> None:
    keys = [("a", Rate(100, 1, timedelta(seconds=60)))]
    drain(rig, keys, seconds=70, step=0.05)
    rig.limiter.pause("a", pause)
    rig.time.seconds += pause
    assert least <= sum(n for _at, n in drain(rig, keys, seconds=1)) <= most


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    per_second=st.floats(0.001, 5000),
    ramp=st.sampled_from([0, 1, 60, 3600]),
    before=st.floats(0, 5000),
    pause=st.sampled_from([0.0, 0.5, 90.0]),
)
def test_wait_is_long_enough_and_not_much_longer(
    rig: Rig, per_second: float, ramp: int, before: float, pause: float
) -> None:
    limiter, keys = rig.again(), [("a", Rate(per_second, 1, timedelta(seconds=ramp)))]
    limiter.available(keys)
    rig.time.seconds += before
    limiter.take(keys, 1)
    if pause:
        limiter.pause("a", pause)
    wait = limiter.wait(keys)
    assert wait > 0
    rig.time.seconds += wait * 0.99 - 1e-5
    early = limiter.available(keys)
    rig.time.seconds += wait * 0.01 + 2e-5
    assert (early, limiter.available(keys)) == (0, 1)


def test_a_changed_rate_counts_from_now_on(rig: Rig) -> None:
    rig.limiter.available([("a", Rate(10, 100, NO_RAMP))])
    rig.time.seconds += 10
    assert rig.limiter.available([("a", Rate(10, 100, NO_RAMP))]) == 100
    assert rig.limiter.available([("a", Rate(10, 3, NO_RAMP))]) == 3
    rig.limiter.take([("a", Rate(1, 3, NO_RAMP))], 3)
    rig.time.seconds += 1
    assert rig.limiter.available([("a", Rate(1, 3, NO_RAMP))]) == 1


def test_threads_share_one_bucket(rig: Rig) -> None:
    keys = [("a", Rate(1000, 1000, NO_RAMP)), ("b", Rate(1000, 1000, NO_RAMP))]
    rig.limiter.available(keys)
    rig.time.seconds += 10
    got: list[int] = []

    def work() -> None:
        mine = sum(rig.limiter.take(keys, 1) for _turn in range(400))
        got.append(mine)

    threads = [threading.Thread(target=work) for _n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(got) == 1000
