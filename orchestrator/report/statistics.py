"""What may be said about rates: the one module that uses statsmodels and scipy (+158 MB, so imported when called).

Rates have Wilson intervals. A difference of two rates has Newcombe's hybrid score interval (Newcombe 1998, method 10).
Both are *fixed-horizon*: 95 % holds for one look at a moment chosen beforehand, not for looking until it pleases.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

CONFIDENCE = 0.95
ENOUGH_PEOPLE = 100
ENOUGH_EVENTS = 5
MISMATCH = 0.001
"""A split this improbable under the intended weights is a fault of the set-up, not chance (the customary threshold)."""


@dataclass(frozen=True, slots=True)
class Share:
    """``count`` of ``people``, with the interval's ends; all shares are fractions, not per cent."""

    count: int
    people: int
    low: float
    high: float

    @property
    def rate(self) -> float:
        """The share itself; 0 of nobody is 0."""
        return self.count / self.people if self.people else 0.0


@dataclass(frozen=True, slots=True)
class Difference:
    """One share minus another, with the interval's ends."""

    points: float
    low: float
    high: float

    @property
    def clear(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True, slots=True)
class Split:
    """How people fell into groups against how they should have (chi-square test of the sample ratio)."""

    observed: Mapping[str, int]
    expected: Mapping[str, float]
    p: float

    @property
    def mismatch(self) -> bool:
        """Whether the groups cannot be compared as they are."""
        return self.p < MISMATCH


def share(count: int, people: int) -> Share:
    """A rate with Wilson's interval; of nobody, from 0 to 1."""
    if people == 0:
        return Share(0, 0, 0.0, 1.0)
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(count, people, alpha=1 - CONFIDENCE, method="wilson")
    return Share(count, people, max(0.0, float(low)), min(1.0, float(high)))


def enough(count: int, people: int) -> bool:
    """Whether a group can carry a comparison: people enough, and enough of them who did and who did not."""
    return people >= ENOUGH_PEOPLE and min(count, people - count) >= ENOUGH_EVENTS


def difference(treated: tuple[int, int], control: tuple[int, int]) -> Difference | None:
    """The difference of two (count, people); None when either group is too small to say anything."""
    if not (enough(*treated) and enough(*control)):
        return None
    from statsmodels.stats.proportion import confint_proportions_2indep

    low, high = confint_proportions_2indep(
        *treated, *control, method="newcomb", compare="diff", alpha=1 - CONFIDENCE, correction=False
    )
    return Difference(treated[0] / treated[1] - control[0] / control[1], float(low), float(high))


def split(observed: Mapping[str, int], weights: Mapping[str, float]) -> Split | None:
    """Whether people fell into the groups as the weights say; None with under two groups or too few people."""
    total, weight = sum(observed.values()), sum(weights.values())
    names = [name for name in weights if weights[name] > 0]
    if len(names) < 2 or weight <= 0:  # noqa: PLR2004  # one group has no ratio
        return None
    expected = {name: total * weights[name] / weight for name in names}
    if min(expected.values()) < ENOUGH_EVENTS:
        return None
    from scipy.stats import chi2

    distance = sum((observed.get(name, 0) - mean) ** 2 / mean for name, mean in expected.items())
    return Split(dict(observed), expected, float(chi2.sf(distance, len(names) - 1)))
