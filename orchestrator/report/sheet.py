"""A report as one tidy table: section, item, detail, measure, value, low, high. One number a row, for spreadsheets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from orchestrator.report.findings import Finding, Findings
from orchestrator.report.retention import Retention
from orchestrator.report.statistics import Difference, Share
from orchestrator.report.values import ChannelCount, StepCount, Tally, ZoneCount

COLUMNS = ("section", "item", "detail", "measure", "value", "low", "high")

Line = tuple[str, str, str, str, Any, Any, Any]


def _line(section: str, item: str, detail: str, measure: str, value: Any) -> Line:
    return section, item, detail, measure, value, None, None


def _share(section: str, item: str, measure: str, rate: Share, detail: str = "") -> Line:
    return section, item, detail, measure, rate.rate if rate.people else None, rate.low, rate.high


def _gap(item: str, measure: str, gap: Difference | None) -> Iterator[Line]:
    if gap is not None:
        yield "arms", item, "to holdout", measure, gap.points, gap.low, gap.high


def report_lines(tally: Tally, found: Findings) -> Iterator[Line]:
    """Every number of a campaign's report."""
    yield _line("report", tally.launched.name, tally.launched.local_date, "audience", tally.audience)
    yield from (_line("runs", run.local_date, run.state, "members", run.members) for run in tally.runs)
    for decision in tally.decisions:
        yield _line("decisions", decision.name, decision.reason, "members", decision.members)
    yield from _reach(tally)
    yield from _arms(found)
    yield from (line for channel in tally.channels for line in _channel(channel))
    yield from (line for step in tally.steps for line in _step(step))
    yield from (line for zone in tally.zones for line in _zone(zone))
    for curve in tally.curves:
        yield from (_line("curve", curve.group, f"{hour:g} h", "share", share) for hour, share in curve.points)


def _reach(tally: Tally) -> Iterator[Line]:
    for stage in tally.stages:
        yield _line("reach", stage.name, "", "users", stage.users)
        if stage.messages is not None:
            yield _line("reach", stage.name, "", "messages", stage.messages)


def _arms(found: Findings) -> Iterator[Line]:
    for finding in found.rows:
        yield from _arm(finding, finding.group.name)
    if len(found.arms) > 1:
        yield from _arm(found.overall, "all arms")
    if found.split:
        yield _line("arms", "", "sample ratio", "p", found.split.p)


_OF_ARM = (
    *("eligible", "sent", "accepted", "delivered", "opened", "clicked", "reopened", "converted"),
    *("unsubscribed", "complained", "open"),
)


def _arm(finding: Finding, name: str) -> Iterator[Line]:
    for measure in _OF_ARM:
        yield _line("arms", name, "", measure, getattr(finding.group, measure))
    yield _share("arms", name, "reopen rate", finding.rate)
    yield from _gap(name, "reopen rate", finding.difference)
    yield from _gap(name, "reopen rate, always valid", finding.sequential)
    for harm in finding.harms:
        yield _share("arms", name, f"{harm.kind} rate", harm.rate, f"limit {harm.limit:g}: {harm.guard}")
    yield _line("arms", name, "", "conversion value", finding.group.value)
    low, high = finding.worth.interval or (None, None)
    yield "arms", name, "", "conversion value a head", finding.worth.values.mean, low, high
    yield from _gap(name, "conversion value a head", finding.worth.difference)


def _channel(one: ChannelCount) -> Iterator[Line]:
    for of, counts in (("users", one.users), ("messages", one.messages)):
        for stage, count in counts.items():
            yield _line("channels", one.channel, stage, of, count)
    yield from _kinds("channels", one.channel, {"opened": asdict(one.opens), "clicked": asdict(one.clicks)})
    yield _line("channels", one.channel, "unsubscribed", "users", one.unsubscribed)
    yield _line("channels", one.channel, "complained", "users", one.complained)


def _kinds(section: str, item: str, found: Mapping[str, Mapping[str, int]]) -> Iterator[Line]:
    for what, kinds in found.items():
        for kind, count in kinds.items():
            yield _line(section, item, f"{what} by {kind}", "messages", count)


def _step(one: StepCount) -> Iterator[Line]:
    item = f"{one.step} {one.channel}".strip()
    for measure in ("messages", "sent", "accepted", "delivered", "opened"):
        yield _line("steps", item, "", measure, getattr(one, measure))
    for state, count in one.states.items():
        yield _line("steps", item, state, "messages", count)
    yield from _kinds("steps", item, {"opened": asdict(one.opens), "clicked": asdict(one.clicks)})


def _zone(one: ZoneCount) -> Iterator[Line]:
    for measure in ("members", "planned", "treated", "sent", "accepted", "reopened"):
        yield _line("zones", one.zone, "", measure, getattr(one, measure))


def retention_lines(found: Retention) -> Iterator[Line]:
    """Every number of the retention report."""
    for day in found.days:
        for measure in ("active", "new", "weekly", "monthly", "before", "churned"):
            yield _line("days", day.day.isoformat(), "", measure, getattr(day, measure))
    for after, rate in found.back.items():
        yield _share("retention", f"day {after}", "rate", rate, f"of {rate.people} users")
    for cohort in found.cohorts:
        week = cohort.week.isoformat()
        yield _line("cohorts", week, "", "users", cohort.size)
        for after, (there, people) in cohort.back.items():
            yield _line("cohorts", week, f"day {after}, of {people}", "users", there)
        for place, there_then in enumerate(cohort.weeks):
            if there_then is not None:
                yield _line("cohorts", week, f"week {place}", "users", there_then)
