"""Rates that make no sense, and what is the memory limiter's own."""

from __future__ import annotations

import math
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import InputError
from orchestrator.limits.rate import MemoryLimiter, Rate


@pytest.mark.parametrize("per_second", [0, -1, math.nan, math.inf])
def test_zero_is_neither_no_limit_nor_never(per_second: float) -> None:  # mautic #10416: "0" taken as a cap
    with pytest.raises(InputError, match="per second") as caught:
        Rate(per_second)
    assert caught.value.hint


def test_other_nonsense() -> None:
    with pytest.raises(InputError, match="burst"):
        Rate(1, 0)
    with pytest.raises(InputError, match="ramp"):
        Rate(1, 1, timedelta(seconds=-1))


@given(st.floats(0.01, 1000), st.sampled_from([0, 1, 60]), st.floats(0, 200), st.floats(0.001, 500))
def test_filled_by_is_the_inverse_of_filled(per_second: float, ramp: int, start: float, tokens: float) -> None:
    rate = Rate(per_second, 1, timedelta(seconds=ramp))
    assert rate.filled(start, rate.filled_by(start, tokens)) == pytest.approx(tokens, rel=1e-6, abs=1e-6)


@given(st.floats(0, 100), st.floats(0, 100), st.floats(0, 100))
def test_what_flows_in_adds_up_and_never_exceeds_the_rate(one: float, two: float, three: float) -> None:
    rate, (a, b, c) = Rate(7, 1, timedelta(seconds=60)), sorted((one, two, three))
    assert rate.filled(a, b) + rate.filled(b, c) == pytest.approx(rate.filled(a, c))
    assert 0.1 * 7 * (c - a) - 1e-9 <= rate.filled(a, c) <= 7 * (c - a) + 1e-9


def test_lanes_that_are_done_are_forgotten() -> None:
    time = [100.0]
    limiter, rate = MemoryLimiter(lambda: time[0]), Rate(10, 5, timedelta(seconds=1))
    for lane in range(20_000):
        time[0] += 0.01
        limiter.take([(f"lane:{lane}", rate)], 1)
    assert len(limiter._buckets) <= 4096
