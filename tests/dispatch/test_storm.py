"""The storm guard's two rules, its memory, and that a long storm costs no more than its answers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from orchestrator.dispatch.storm import (
    AT_LEAST,
    BASELINE_SECONDS,
    DEAD_AT_LEAST,
    NONE_OF,
    SURGES,
    WINDOW_SECONDS,
    StormGuard,
    Surge,
)


class Hand:
    """Seconds that a test moves."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def hand() -> Hand:
    return Hand()


@pytest.fixture
def guard(hand: Hand) -> StormGuard:
    return StormGuard(hand)


def hear(guard: StormGuard, dead: int = 0, accepted: int = 0, other: int = 0, first: int = 1) -> None:
    for n in range(dead):
        guard.record(first + n, dead=True, accepted=False)
    for n in range(accepted):
        guard.record(-n, dead=False, accepted=True)
    for _ in range(other):
        guard.record(0, dead=False, accepted=False)


def test_nobody_accepted_among_the_last_ten_is_a_storm(guard: StormGuard) -> None:
    hear(guard, dead=NONE_OF - 1)
    assert not guard.storming()
    hear(guard, dead=1)
    assert guard.storming()


def test_one_acceptance_ends_that_rule(guard: StormGuard) -> None:
    hear(guard, dead=NONE_OF + 5, accepted=1)
    assert not guard.storming()


def test_a_single_dead_address_among_failures_is_no_storm(guard: StormGuard) -> None:
    hear(guard, dead=1, other=NONE_OF * 2)
    assert not guard.storming()


@pytest.mark.parametrize(("dead", "storming"), [(10, False), (11, True)])
def test_more_than_a_twentieth_of_two_hundred_is_a_storm(guard: StormGuard, dead: int, storming: bool) -> None:
    hear(guard, dead=dead, accepted=AT_LEAST - dead)
    assert guard.storming() is storming


def test_fewer_than_two_hundred_prove_nothing_while_some_are_accepted(guard: StormGuard) -> None:
    hear(guard, dead=60, accepted=AT_LEAST - 61)
    assert not guard.storming()


def test_a_steady_one_in_a_hundred_is_ordinary(guard: StormGuard) -> None:
    for round_ in range(50):
        hear(guard, dead=1, accepted=99, first=round_)
        assert not guard.storming()


def test_ten_minutes_later_it_is_forgotten(guard: StormGuard, hand: Hand) -> None:
    hear(guard, dead=20)
    hand.now += WINDOW_SECONDS + 1
    assert not guard.storming()
    assert guard.suspects() == []
    hear(guard, dead=NONE_OF - 1)
    assert not guard.storming()


def test_suspects_are_those_called_dead_in_the_window_each_given_out_once(guard: StormGuard, hand: Hand) -> None:
    hear(guard, dead=2, first=1)
    hand.now += WINDOW_SECONDS - 1
    hear(guard, dead=2, accepted=3, first=11)
    assert guard.suspects() == [1, 2, 11, 12]
    assert guard.suspects() == []
    hand.now += 2
    hear(guard, dead=1, first=21)
    assert guard.suspects() == [21]


def test_suspects_that_were_not_set_aside_are_given_out_again(guard: StormGuard, hand: Hand) -> None:
    hear(guard, dead=2, first=1)
    hand.now += WINDOW_SECONDS - 1
    guard.take_back(guard.suspects())
    hand.now += 2
    hear(guard, dead=1, first=21)
    assert guard.suspects() == [1, 2, 21]


def test_giving_out_suspects_does_not_calm_the_storm(guard: StormGuard) -> None:
    hear(guard, dead=NONE_OF)
    guard.suspects()
    assert guard.storming()


# --- against the last seven days -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("baseline", "dead", "storming"),
    [
        (0.002, 9, False),  # too few to be a burst
        (0.002, 10, False),  # 1 % is five times 0.2 %, not over it
        (0.002, 11, True),
        (0.0, 10, True),  # a quiet week: 0.1 % is taken as usual
        (0.01, 49, False),  # 4.9 % is usual here
        (None, 49, False),  # too little sent to know what is usual: the other rules alone
    ],
)
def test_over_five_times_what_is_usual_is_a_storm(
    guard: StormGuard, baseline: float | None, dead: int, storming: bool
) -> None:
    guard.learn(baseline)
    hear(guard, dead=dead, accepted=1000 - dead)
    assert guard.storming() is storming


def test_what_is_usual_is_asked_once_an_hour_and_only_where_it_decides(guard: StormGuard, hand: Hand) -> None:
    hear(guard, dead=DEAD_AT_LEAST - 1, accepted=1000)
    assert not guard.wants_baseline()
    hear(guard, dead=1)
    assert guard.wants_baseline()
    guard.learn(0.01)
    assert not guard.wants_baseline()
    hand.now += BASELINE_SECONDS + 1
    hear(guard, dead=DEAD_AT_LEAST, accepted=1000)
    assert guard.wants_baseline()
    hear(guard, dead=1000)
    assert guard.storming()
    assert not guard.wants_baseline()


def test_memory_is_counts_not_answers(guard: StormGuard, hand: Hand) -> None:
    for _ in range(5_000):
        hand.now += 0.5
        hear(guard, accepted=20)
    assert len(guard._seconds) <= WINDOW_SECONDS + 1
    assert len(guard._minutes) <= 61


# --- codes that stop the account -------------------------------------------------------------------------------------


def answer(guard: StormGuard, code: str = "", times: int = 1) -> list[str]:
    found = []
    for n in range(times):
        guard.record(n, dead=False, accepted=not code, code=code)
        found.append(guard.surge())
    return [code for code in found if code]


@pytest.mark.parametrize("surge", SURGES)
def test_each_code_stops_over_its_share_and_not_at_it(hand: Hand, surge: Surge) -> None:
    code = min(surge.codes)
    others = int(100 / surge.share) - 100
    at_share, over = StormGuard(hand), StormGuard(hand)
    answer(at_share, times=others)
    answer(over, times=others - 1)
    assert answer(at_share, code, 100) == []
    assert answer(over, code, 100) == [code]


@pytest.mark.parametrize("surge", SURGES)
def test_a_few_of_a_code_are_no_surge_and_old_ones_are_forgotten(hand: Hand, surge: Surge) -> None:
    guard, code = StormGuard(hand), min(surge.codes)
    assert answer(guard, code, surge.least - 1) == []
    hand.now += surge.seconds + 61
    assert answer(guard, code, surge.least - 1) == []
    assert answer(guard, code) == [code]
    assert answer(guard, code, surge.least - 1) == []  # who resumed the account has a clean sheet


def test_other_codes_never_stop(guard: StormGuard) -> None:
    assert answer(guard, "30006", 1000) == []


def test_codes_of_one_row_count_together(guard: StormGuard) -> None:
    found = [answer(guard, code) for code in ["BadDeviceToken", "DeviceTokenNotForTopic"] * 5]
    assert [bool(one) for one in found] == [False] * 9 + [True]


def test_answers_may_be_counted_while_others_look(hand: Hand) -> None:
    """Callbacks are read by one thread, answers written by others."""
    guard, looks = StormGuard(hand), 300

    def answered() -> None:
        for n in range(200 * looks):
            hand.now += 1  # a count of its own each
            guard.record(n, dead=n % 2 == 0, accepted=True)

    with ThreadPoolExecutor(1) as threads:
        counting = threads.submit(answered)
        for _ in range(looks):
            guard.storming()
            guard.suspects()
        counting.result()
