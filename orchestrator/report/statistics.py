"""What may be said about rates: the one module that uses statsmodels and scipy (+158 MB, so imported when called).

Rates have Wilson intervals. A difference of two rates has Newcombe's hybrid score interval (Newcombe 1998, method 10).
Both are *fixed-horizon*: 95 % holds for one look at a moment chosen beforehand, not for looking until it pleases.
Beside them stands an *always-valid* interval, whose 95 % hold for all looks together, however often and whenever.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import log, sqrt

CONFIDENCE = 0.95
ENOUGH_PEOPLE = 100
ENOUGH_EVENTS = 5
ENOUGH_VALUES = 20
"""People who spent something, in each group, before means of money are compared: few of them make it all noise."""
TUNED_FOR = 10_000
"""People at whom the always-valid interval is narrowest for its kind. It holds at every number; it must only not be
chosen by looking at the data, so it is a constant."""
_BOTH_SIDES, _FOUR_IN_FIVE = 1.959964, 0.841621
"""Normal quantiles: 95 % on both sides, 80 % on one."""
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
class Values:
    """What people brought in: how many people (with and without), the sum, and the sum of squares."""

    people: int
    with_value: int
    total: float
    squares: float

    @property
    def mean(self) -> float:
        """A head, those counted who brought nothing."""
        return self.total / self.people if self.people else 0.0

    @property
    def variance(self) -> float:
        """Of one person's value."""
        return max(0.0, self.squares - self.total * self.mean) / (self.people - 1) if self.people > 1 else 0.0


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


def always_valid(treated: tuple[int, int], control: tuple[int, int]) -> Difference | None:
    """The difference of two (count, people) with an interval that may be looked at every day.

    The asymptotic confidence sequence of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (Annals of Statistics 2024,
    theorem 2.2) over the people in both groups together. ``people`` have to be those whose outcome is final.
    """
    if not (enough(*treated) and enough(*control)):
        return None
    rates = [count / people for count, people in (treated, control)]
    people = treated[1] + control[1]
    # of what one person tells about the difference, when the groups are drawn by lot in the ratio that they have
    variance = people * sum(r * (1 - r) / n for r, n in zip(rates, (treated[1], control[1]), strict=True))
    radius = sqrt(variance) * _boundary(people)
    gap = rates[0] - rates[1]
    return Difference(gap, max(-1.0, gap - radius), min(1.0, gap + radius))


def _boundary(people: int) -> float:
    """Radius of the confidence sequence of a mean with variance 1."""
    alpha = 1 - CONFIDENCE
    rho2 = (-2 * log(alpha) + log(1 - 2 * log(alpha))) / TUNED_FOR
    spread = people * rho2 + 1
    return sqrt(2 * spread / (people * people * rho2) * log(sqrt(spread) / alpha))


def detectable(treated: int, control: tuple[int, int]) -> float | None:
    """How large a difference to the control's rate these numbers would show in four of five cases, at one look."""
    count, people = control
    if not treated or not enough(count, people):
        return None
    rate = count / people
    return (_BOTH_SIDES + _FOUR_IN_FIVE) * sqrt(rate * (1 - rate) * (1 / treated + 1 / people))


def mean_difference(treated: Values, control: Values) -> Difference | None:
    """The difference of two means with Welch's interval; None while too few people brought anything."""
    if min(treated.with_value, control.with_value) < ENOUGH_VALUES or min(treated.variance, control.variance) <= 0:
        return None
    from scipy.stats import t

    one, other = treated.variance / treated.people, control.variance / control.people
    freedom = (one + other) ** 2 / (one**2 / (treated.people - 1) + other**2 / (control.people - 1))
    radius = float(t.ppf((1 + CONFIDENCE) / 2, freedom)) * sqrt(one + other)
    gap = treated.mean - control.mean
    return Difference(gap, gap - radius, gap + radius)


def mean_interval(values: Values) -> tuple[float, float] | None:
    """Student's interval of a mean; None while too few people brought anything."""
    if values.with_value < ENOUGH_VALUES:
        return None
    from scipy.stats import t

    radius = float(t.ppf((1 + CONFIDENCE) / 2, values.people - 1)) * sqrt(values.variance / values.people)
    return values.mean - radius, values.mean + radius


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
