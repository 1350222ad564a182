"""Rates and differences: known values, and silence where nothing may be said."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from math import sqrt

import pytest

from orchestrator.report.findings import Verdict, findings
from orchestrator.report.statistics import difference, share, split
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
