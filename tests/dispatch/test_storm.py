"""The storm guard's two rules, its memory, and that a long storm costs no more than its answers."""

from __future__ import annotations

import pytest

from orchestrator.dispatch.storm import AT_LEAST, NONE_OF, WINDOW_SECONDS, StormGuard


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


def test_giving_out_suspects_does_not_calm_the_storm(guard: StormGuard) -> None:
    hear(guard, dead=NONE_OF)
    guard.suspects()
    assert guard.storming()
