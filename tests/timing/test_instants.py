"""Sets of instants against Python's own sets."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.timing.instants import InstantSet

ORIGIN = datetime(2027, 1, 1, tzinfo=UTC)
SPAN = 40


def at(n: int) -> datetime:
    return ORIGIN + timedelta(minutes=n)


pairs = st.lists(st.tuples(st.integers(0, SPAN), st.integers(0, SPAN)), max_size=6)


def made(of: list[tuple[int, int]]) -> InstantSet:
    return InstantSet.of((at(start), at(end)) for start, end in of)


def members(found: InstantSet) -> set[int]:
    return {n for n in range(-2, SPAN + 3) if at(n) in found}


def plain(of: list[tuple[int, int]]) -> set[int]:
    return {n for start, end in of for n in range(start, end)}


def assert_in_order(found: InstantSet) -> None:
    edges = [edge for pair in found.intervals for edge in pair]
    assert edges == sorted(set(edges))


@given(pairs, pairs)
def test_the_operations_are_those_of_sets(one: list[tuple[int, int]], two: list[tuple[int, int]]) -> None:
    a, b = made(one), made(two)
    for found, expected in [
        (a, plain(one)),
        (a & b, plain(one) & plain(two)),
        (a | b, plain(one) | plain(two)),
        (a - b, plain(one) - plain(two)),
    ]:
        assert members(found) == expected
        assert bool(found) == bool(expected)
        assert_in_order(found)


@given(pairs, pairs)
def test_equal_sets_are_equal_values(one: list[tuple[int, int]], two: list[tuple[int, int]]) -> None:
    assert (made(one) == made(two)) == (plain(one) == plain(two))


@given(pairs, st.integers(0, SPAN), st.integers(0, SPAN))
def test_clip(one: list[tuple[int, int]], start: int, end: int) -> None:
    assert members(made(one).clip(at(start), at(end))) == plain(one) & set(range(start, end))


@given(pairs, st.integers(-2, SPAN + 2))
def test_next_and_interval_at(one: list[tuple[int, int]], n: int) -> None:
    found = made(one)
    later = [m for m in sorted(plain(one)) if m >= n]
    assert found.next(at(n)) == (at(later[0]) if later else None)
    interval = found.interval_at(at(n))
    assert (interval is not None) == (n in plain(one))
    assert interval is None or interval[0] <= at(n) < interval[1]


def test_ends_are_not_inside() -> None:
    found = made([(10, 20)])
    assert at(10) in found
    assert at(20) not in found
    assert at(20) - timedelta(microseconds=1) in found


def test_the_empty_set() -> None:
    assert not InstantSet.EMPTY
    assert InstantSet.EMPTY.next(ORIGIN) is None
    assert made([(5, 5), (9, 3)]) == InstantSet.EMPTY
