"""What `launch` says of the runs that are under way: before it asks, and when it is done."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.daemon.relaunching import NEW_RUNS_ONLY, LiveRun
from orchestrator.plan.adopting import NO_ARM, NO_DATE, TOO_LARGE

_WHY = {
    NO_DATE: "the new schedule does not have it",
    NO_ARM: "some of its members are in an arm that is gone",
    TOO_LARGE: "its audience is larger than the new max_audience",
    NEW_RUNS_ONLY: "--new-runs-only",
}


def before(found: Sequence[LiveRun], *, new_runs_only: bool) -> list[str]:
    """What would become of each."""
    return [_keeps(one, NEW_RUNS_ONLY) if new_runs_only else _would(one) for one in found]


def _would(one: LiveRun) -> str:
    if one.why_not is not None:
        return _keeps(one, one.why_not)
    if one.joins:
        return f"The run of {one.name} is under way: who joins it from now on gets this version"
    waiting = f"{one.waiting:,} messages wait for {one.people:,} people"
    return f"The run of {one.name} is under way: {waiting}, and take on this version"


def _keeps(one: LiveRun, why: str) -> str:
    return f"The run of {one.name} is under way and keeps its version: {_WHY[why]}"


def after(found: Sequence[dict[str, object]]) -> list[str]:
    """What became of each, from the answer of the verb."""
    return [_became(LiveRun(**one)) for one in found]  # type: ignore[arg-type]


def _became(one: LiveRun) -> str:
    if one.why_not is not None:
        return _keeps(one, one.why_not)
    if one.joins:
        return _would(one)
    if one.state == "planning":
        return f"The run of {one.name} takes on this version as it is planned"
    kept = f"; {one.earlier:,} stay as they are" if one.earlier else ""
    gone = f"; {one.taken_back:,} were taken back" if one.taken_back else ""
    return f"The run of {one.name} took on this version: {one.waiting:,} messages wait{gone}{kept}"
