"""From a sample to everybody: every count of a rehearsal divided by the sample's share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from orchestrator.rehearsal.values import Caution, Load, Rehearsed, Sms
from orchestrator.report.values import Decision, Tally

_COUNTS = frozenset({"messages", "members"})


def whole(found: Rehearsed) -> Rehearsed:
    """The same with the counts of everybody; its ``share`` stays, for it says how sure they are."""
    if found.share == 1:
        return found
    share = found.share
    return replace(
        found,
        tally=_tally(found.tally, share),
        runs=tuple(replace(one, **_times(one, ("audience", "planned", "sent"), share)) for one in found.runs),
        cells=tuple(replace(one, messages=_n(one.messages, share)) for one in found.cells),
        whys=tuple(replace(one, messages=_n(one.messages, share)) for one in found.whys),
        loads=tuple(_load(one, share) for one in found.loads),
        sms=_sms(found.sms, share) if found.sms else None,
        neighbours=tuple(
            replace(one, **_times(one, ("sent", "capped", "after_ours"), share)) for one in found.neighbours
        ),
        cautions=tuple(_caution(one, share) for one in found.cautions),
    )


def _n(count: float, share: float) -> int:
    return round(count / share)


def _times(value: object, names: tuple[str, ...], share: float) -> dict[str, Any]:
    return {name: _n(getattr(value, name), share) for name in names}


def _tally(tally: Tally, share: float) -> Tally:
    """Decisions still add up to the audience: it is made their sum."""
    decisions = tuple(Decision(one.name, one.reason, _n(one.members, share)) for one in tally.decisions)
    names = ("messages", "sent", "accepted", "delivered", "opened")
    return replace(
        tally,
        audience=sum(one.members for one in decisions),
        decisions=decisions,
        stages=tuple(
            replace(one, users=_n(one.users, share), messages=None if one.messages is None else _n(one.messages, share))
            for one in tally.stages
        ),
        steps=tuple(
            replace(one, **_times(one, names, share), states=_states(one.states, share)) for one in tally.steps
        ),
    )


def _states(states: Mapping[str, int], share: float) -> dict[str, int]:
    return {name: _n(count, share) for name, count in states.items()}


def _load(one: Load, share: float) -> Load:
    counts = _times(one, ("sent", "ours", "busiest", "waited"), share)
    hours = tuple((hour, _n(count, share)) for hour, count in one.hours)
    return replace(one, **counts, limit=one.limit / share, hours=hours)


def _sms(one: Sms, share: float) -> Sms:
    days = tuple((day, _n(messages, share), _n(parts, share)) for day, messages, parts in one.days)
    cost = None if one.cost is None else one.cost / share
    return Sms(_n(one.messages, share), _n(one.parts, share), days, cost)


def _caution(one: Caution, share: float) -> Caution:
    facts = {
        name: _n(value, share) if name in _COUNTS and isinstance(value, int) else value
        for name, value in one.facts.items()
    }
    if isinstance(limit := facts.get("limit"), float):
        facts["limit"] = limit / share
    return replace(one, facts=facts)
