"""What may be concluded from a tally: rates, differences to the holdout, and whether the groups can be compared at all.

Unit: the user at first exposure. Population: intention to treat. Nothing here names a winner; a difference whose
interval includes zero is called unclear, and a group too small is said to be so.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from orchestrator.report.statistics import (
    Difference,
    Share,
    Split,
    Values,
    always_valid,
    detectable,
    difference,
    enough,
    mean_difference,
    mean_interval,
    share,
    split,
)
from orchestrator.report.values import COUNTS, HOLDOUT, Group, Tally

ALL = ""
"""The name of the finding about all arms together."""


class Verdict(StrEnum):
    """What may be said of one group against the holdout."""

    MORE = "more"
    """The whole interval is above zero."""
    FEWER = "fewer"
    """The whole interval is below zero."""
    UNCLEAR = "unclear"
    """The interval includes zero: no difference can be told."""
    TOO_FEW = "too_few"
    """Not enough people, or not enough of them came back, to say anything."""
    NO_HOLDOUT = "no_holdout"
    """Nobody was held out, so nobody knows how many would have come back anyway."""


LIMITS = {"unsubscribed": 0.005, "complained": 0.001}
"""Guardrails: design §6 for unsubscribes, mailbox providers' bulk rules for complaints."""


class Guard(StrEnum):
    """What may be said of a harm against its limit."""

    KEPT = "kept"
    """The whole interval is below the limit."""
    UNCLEAR = "not_sure"
    """The interval includes the limit: too few people yet to be sure either way."""
    CROSSED = "crossed"
    """The whole interval is above the limit: stop and look."""


@dataclass(frozen=True, slots=True)
class Harm:
    """How many of a group refused after a message, against what may be."""

    kind: str
    rate: Share
    limit: float
    guard: Guard


@dataclass(frozen=True, slots=True)
class Worth:
    """What a group's conversions came to, a head of all in it; the interval is None while too few converted."""

    values: Values
    interval: tuple[float, float] | None
    difference: Difference | None


@dataclass(frozen=True, slots=True)
class Finding:
    """One group, its reopen rate, and its difference to the holdout where one may be told.

    ``difference`` is of a fixed horizon and of all members; ``sequential`` may be looked at every day, and is of those
    members whose goal window is over.
    """

    group: Group
    rate: Share
    difference: Difference | None
    verdict: Verdict
    sequential: Difference | None
    harms: tuple[Harm, ...]
    worth: Worth

    def harm(self, kind: str) -> Harm:
        """The harm of one kind."""
        return next(harm for harm in self.harms if harm.kind == kind)


@dataclass(frozen=True, slots=True)
class Findings:
    """``overall`` is all arms together against the holdout: the headline. ``split`` checks the sample ratio.

    ``detectable`` is the difference that these numbers would show in four of five cases.
    """

    overall: Finding
    arms: tuple[Finding, ...]
    holdout: Finding | None
    split: Split | None
    detectable: float | None = None

    @property
    def rows(self) -> tuple[Finding, ...]:
        """Arms, then the holdout."""
        return (*self.arms, self.holdout) if self.holdout else self.arms


def findings(tally: Tally) -> Findings:
    """Everything that may be concluded from ``tally``."""
    control = tally.held_out
    overall = _finding(_together(tally.arms), control)
    return Findings(
        overall=overall,
        arms=tuple(_finding(arm, control) for arm in tally.arms),
        holdout=_control(control) if control else None,
        split=_split(tally),
        detectable=detectable(overall.group.eligible, (control.reopened, control.eligible)) if control else None,
    )


def _finding(group: Group, control: Group | None) -> Finding:
    rate = share(group.reopened, group.eligible)
    alone = _harms(group), _worth(group, control)
    if control is None:
        return Finding(group, rate, None, Verdict.NO_HOLDOUT, None, *alone)
    found = difference((group.reopened, group.eligible), (control.reopened, control.eligible))
    final = always_valid((group.settled_reopened, group.settled), (control.settled_reopened, control.settled))
    return Finding(group, rate, found, _verdict(found), final, *alone)


def _harms(group: Group) -> tuple[Harm, ...]:
    rates = {kind: share(getattr(group, kind), group.eligible) for kind in LIMITS}
    return tuple(Harm(kind, rate, LIMITS[kind], guard(rate, LIMITS[kind])) for kind, rate in rates.items())


def guard(rate: Share, limit: float) -> Guard:
    """A harm against its limit; of nobody, nothing is sure."""
    if rate.high < limit:
        return Guard.KEPT
    return Guard.CROSSED if rate.low > limit else Guard.UNCLEAR


def _values(group: Group) -> Values:
    return Values(group.eligible, group.converted, group.value, group.value_squares)


def _worth(group: Group, control: Group | None) -> Worth:
    mine = _values(group)
    gap = None if control is None else mean_difference(mine, _values(control))
    return Worth(mine, mean_interval(mine), gap)


def _verdict(found: Difference | None) -> Verdict:
    if found is None:
        return Verdict.TOO_FEW
    if not found.clear:
        return Verdict.UNCLEAR
    return Verdict.MORE if found.low > 0 else Verdict.FEWER


def _control(control: Group) -> Finding:
    verdict = Verdict.UNCLEAR if enough(control.reopened, control.eligible) else Verdict.TOO_FEW
    rate = share(control.reopened, control.eligible)
    return Finding(control, rate, None, verdict, None, _harms(control), _worth(control, None))


def _together(arms: tuple[Group, ...]) -> Group:
    """All treated as one group."""
    counts = {name: sum(getattr(arm, name) for arm in arms) for name in COUNTS}
    value, squares = sum(arm.value for arm in arms), sum(arm.value_squares for arm in arms)
    return Group(ALL, held_out=False, **counts, value=value, value_squares=squares)


def _split(tally: Tally) -> Split | None:
    weights = tally.launched.weights
    total = sum((weights or {}).values())
    if not weights or not total or any(arm.name not in weights for arm in tally.arms):
        return None  # the arms changed between versions: no one ratio was intended
    treated = 1 - tally.launched.holdout
    shares = {arm: weight / total * treated for arm, weight in weights.items()}
    if tally.launched.holdout:
        shares[HOLDOUT] = tally.launched.holdout
    return split({group.name: group.eligible for group in tally.groups}, shares)
