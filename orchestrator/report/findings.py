"""What may be concluded from a tally: rates, differences to the holdout, and whether the groups can be compared at all.

Unit: the user at first exposure. Population: intention to treat. Nothing here names a winner; a difference whose
interval includes zero is called unclear, and a group too small is said to be so.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from orchestrator.report.statistics import Difference, Share, Split, difference, enough, share, split
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


@dataclass(frozen=True, slots=True)
class Finding:
    """One group, its reopen rate, and its difference to the holdout where one may be told."""

    group: Group
    rate: Share
    difference: Difference | None
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Findings:
    """``overall`` is all arms together against the holdout: the headline. ``split`` checks the sample ratio."""

    overall: Finding
    arms: tuple[Finding, ...]
    holdout: Finding | None
    split: Split | None

    @property
    def rows(self) -> tuple[Finding, ...]:
        """Arms, then the holdout."""
        return (*self.arms, self.holdout) if self.holdout else self.arms


def findings(tally: Tally) -> Findings:
    """Everything that may be concluded from ``tally``."""
    control = tally.held_out
    return Findings(
        overall=_finding(_together(tally.arms), control),
        arms=tuple(_finding(arm, control) for arm in tally.arms),
        holdout=_control(control) if control else None,
        split=_split(tally),
    )


def _finding(group: Group, control: Group | None) -> Finding:
    rate = share(group.reopened, group.eligible)
    if control is None:
        return Finding(group, rate, None, Verdict.NO_HOLDOUT)
    found = difference((group.reopened, group.eligible), (control.reopened, control.eligible))
    return Finding(group, rate, found, _verdict(found))


def _verdict(found: Difference | None) -> Verdict:
    if found is None:
        return Verdict.TOO_FEW
    if not found.clear:
        return Verdict.UNCLEAR
    return Verdict.MORE if found.low > 0 else Verdict.FEWER


def _control(control: Group) -> Finding:
    verdict = Verdict.UNCLEAR if enough(control.reopened, control.eligible) else Verdict.TOO_FEW
    return Finding(control, share(control.reopened, control.eligible), None, verdict)


def _together(arms: tuple[Group, ...]) -> Group:
    """All treated as one group."""
    counts = {name: sum(getattr(arm, name) for arm in arms) for name in COUNTS}
    return Group(ALL, held_out=False, **counts, value=sum(arm.value for arm in arms))


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
