"""Rates and differences: known values, and silence where nothing may be said."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from math import sqrt

import pytest

from orchestrator.report.findings import Verdict, findings
from orchestrator.report.statistics import (
    Values,
    always_valid,
    detectable,
    difference,
    mean_difference,
    mean_interval,
    share,
    split,
)
from orchestrator.report.values import HOLDOUT, Group, Hours, Launched, Tally
from tests.report.book import NOW

Z = 1.959963984540054


def test_wilsons_interval_is_the_published_one() -> None:
    """Newcombe 1998, table I: 81 of 263 is 0.2553 to 0.3662."""
    found = share(81, 263)
    assert (round(found.low, 4), round(found.high, 4)) == (0.2553, 0.3662)


def test_newcombes_interval_is_the_published_one() -> None:
    """Newcombe 1998, table II, method 10: 56/70 - 48/80 is 0.0524 to 0.3339 (each group large enough for ours here)."""
    found = difference((560, 700), (480, 800))
    assert found is not None
    low, high = _newcombe(560, 700, 480, 800)
    assert (found.low, found.high) == pytest.approx((low, high))
    assert _newcombe(56, 70, 48, 80) == pytest.approx((0.0524, 0.3339), abs=5e-5)


def _wilson(count: int, people: int) -> tuple[float, float]:
    p, z2 = count / people, Z * Z
    middle, half = 2 * people * p + z2, Z * sqrt(z2 + 4 * people * p * (1 - p))
    return (middle - half) / (2 * (people + z2)), (middle + half) / (2 * (people + z2))


def _newcombe(a: int, m: int, b: int, n: int) -> tuple[float, float]:
    (l1, u1), (l2, u2), p1, p2 = _wilson(a, m), _wilson(b, n), a / m, b / n
    return p1 - p2 - sqrt((p1 - l1) ** 2 + (u2 - p2) ** 2), p1 - p2 + sqrt((u1 - p1) ** 2 + (p2 - l2) ** 2)


@pytest.mark.parametrize(
    ("treated", "control"),
    [((20, 99), (50, 500)), ((50, 500), (4, 500)), ((0, 0), (50, 500)), ((499, 500), (50, 500))],
)
def test_small_groups_say_nothing(treated: tuple[int, int], control: tuple[int, int]) -> None:
    assert difference(treated, control) is None


def test_a_rate_of_nobody_could_be_anything() -> None:
    assert (share(0, 0).low, share(0, 0).high, share(0, 0).rate) == (0.0, 1.0, 0.0)


@pytest.mark.parametrize(
    ("share_held_out", "rates", "a_day"), [(0.5, (0.1, 0.1), 200), (0.05, (0.24, 0.2), 500), (0.2, (0.03, 0.02), 300)]
)
def test_looking_every_day_keeps_its_confidence(share_held_out: float, rates: tuple[float, float], a_day: int) -> None:
    """Of 300 campaigns of 40 days, looked at every day, at most one in twenty ever misses the truth.

    A fixed-horizon interval looked at as often misses it several times as often.
    """
    import numpy as np

    chance, missed, fixed = np.random.default_rng(5), 0, 0
    for _ in range(300):
        held = chance.binomial(a_day, share_held_out, 40)
        control = chance.binomial(held, rates[1]).cumsum(), held.cumsum()
        treated = chance.binomial(a_day - held, rates[0]).cumsum(), (a_day - held).cumsum()
        looks = [
            always_valid((int(a), int(m)), (int(b), int(n))) for a, m, b, n in zip(*treated, *control, strict=True)
        ]
        truth = rates[0] - rates[1]
        missed += any(look is not None and not look.low <= truth <= look.high for look in looks)
        shares = treated[0] / treated[1], control[0] / control[1]
        spread = np.sqrt(shares[0] * (1 - shares[0]) / treated[1] + shares[1] * (1 - shares[1]) / control[1])
        known = np.array([look is not None for look in looks])
        fixed += bool((np.abs(shares[0] - shares[1] - truth) > Z * spread)[known].any())
    assert missed / 300 <= 0.05
    assert fixed > 3 * missed


def test_the_always_valid_interval_is_the_wider_one_and_narrows() -> None:
    small, large = always_valid((120, 600), (90, 600)), always_valid((12_000, 60_000), (9_000, 60_000))
    plain = difference((120, 600), (90, 600))
    assert small is not None
    assert large is not None
    assert plain is not None
    assert small.low < plain.low < plain.points == small.points < plain.high < small.high
    assert large.high - large.low < (small.high - small.low) / 5
    assert always_valid((3, 600), (90, 600)) is None


def test_welchs_interval_is_that_of_scipy() -> None:
    import numpy as np
    from scipy.stats import t, ttest_ind

    chance = np.random.default_rng(2)
    one, other = chance.exponential(3, 400), chance.exponential(2, 90)
    values = [Values(len(some), len(some), float(some.sum()), float((some**2).sum())) for some in (one, other)]
    found, known = mean_difference(*values), ttest_ind(one, other, equal_var=False).confidence_interval()
    assert found is not None
    assert (found.low, found.high) == pytest.approx((known.low, known.high))
    assert found.points == pytest.approx(one.mean() - other.mean())
    radius = t.ppf(0.975, 89) * other.std(ddof=1) / sqrt(90)
    assert mean_interval(values[1]) == pytest.approx((other.mean() - radius, other.mean() + radius))


def test_few_who_spent_say_nothing_about_money() -> None:
    rich, poor = Values(500, 40, 900.0, 30_000.0), Values(500, 3, 90.0, 3_000.0)
    assert mean_difference(rich, poor) is None
    assert mean_interval(poor) is None
    assert Values(0, 0, 0.0, 0.0).mean == Values(1, 1, 5.0, 25.0).variance == 0


def test_what_can_be_detected_is_the_textbooks() -> None:
    """Two groups of 1,000 at 10 %: (1.96 + 0.84) * sqrt(2 * 0.09 / 1000) is 3.76 points."""
    assert detectable(1000, (100, 1000)) == pytest.approx(0.03759, abs=1e-5)
    assert detectable(0, (100, 1000)) is None
    assert detectable(1000, (1, 1000)) is None


def test_a_wrong_split_is_a_mismatch_and_a_fair_one_is_not() -> None:
    wrong, fair = split({"a": 600, "b": 400}, {"a": 1, "b": 1}), split({"a": 510, "b": 490}, {"a": 1, "b": 1})
    assert wrong is not None
    assert fair is not None
    assert wrong.mismatch
    assert not fair.mismatch
    assert fair.p == pytest.approx(0.5271, abs=1e-4)


def test_an_arm_with_nobody_in_it_is_a_mismatch() -> None:
    found = split({"a": 1000}, {"a": 1, "b": 1})
    assert found is not None
    assert found.mismatch


def test_one_group_or_few_people_have_no_ratio() -> None:
    assert split({"a": 1000}, {"a": 1}) is None
    assert split({"a": 3, "b": 2}, {"a": 1, "b": 1}) is None


def _tally(launched: Launched, *groups: Group) -> Tally:
    empty = Hours((), 0, 0, None, ())
    return Tally(launched, NOW, (), 0, (), (), groups, 0, (), (), empty, ())


def _group(name: str, reopened: int, eligible: int) -> Group:
    return Group(name, name == HOLDOUT, eligible=eligible, reopened=reopened)


def test_verdicts(launched: Launched) -> None:
    arms = _group("dish", 300, 1000), _group("coupon", 205, 1000), _group("later", 100, 1000)
    found = findings(_tally(launched, *arms, _group(HOLDOUT, 200, 1000)))
    assert [arm.verdict for arm in found.arms] == [Verdict.MORE, Verdict.UNCLEAR, Verdict.FEWER]
    assert found.split is not None
    assert found.split.mismatch, "a fifth was to be held out, and a quarter was"


def test_without_a_holdout_there_is_no_lift(launched: Launched) -> None:
    found = findings(_tally(replace(launched, holdout=0.0), _group("dish", 300, 1000), _group("coupon", 205, 1000)))
    assert found.holdout is None
    assert {arm.verdict for arm in found.arms} == {Verdict.NO_HOLDOUT}


def test_arms_of_another_version_have_no_intended_ratio(launched: Launched) -> None:
    assert findings(_tally(launched, _group("gone", 300, 1000), _group("dish", 205, 1000))).split is None


def test_a_worker_never_pays_for_the_statistics() -> None:
    code = (
        "import sys, orchestrator.report.tally, orchestrator.report.html, orchestrator.report.terminal, "
        "orchestrator.report.telling; sys.exit(any(name in sys.modules for name in ('statsmodels', 'scipy', 'numpy')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
