"""``orchestrator validate``, ``orchestrator schema``: what is wrong with campaign files, and what may stand in them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from orchestrator.audience.condition import Condition
from orchestrator.campaign.caps import check_caps, notes_on_caps
from orchestrator.campaign.load import campaign_names, check_segments, load_bundle
from orchestrator.campaign.schema import json_schema, segment_schema
from orchestrator.campaign.segments import SegmentFolder
from orchestrator.campaign.shared import check_shared
from orchestrator.campaign.spec import Campaign
from orchestrator.campaign.topics import check_topics
from orchestrator.campaign.version import Bundle
from orchestrator.cli.event_notes import event_notes
from orchestrator.cli.instants import instant_notes
from orchestrator.clock import SystemClock
from orchestrator.content.confirming import check_confirmation
from orchestrator.content.templates import TemplateSet
from orchestrator.errors import ConfigError, NotFoundError, Problem
from orchestrator.policy.caps import span_text
from orchestrator.settings import Settings, load_settings
from orchestrator.timing.calendars import Holidays, without_holidays
from orchestrator.timing.days import days_text
from orchestrator.timing.schedule import unreachable_zones
from orchestrator.timing.window import Window
from orchestrator.timing.zonedata import zones_by_country

EXIT_PROBLEMS = 2
_AHEAD = 366
_CLOCKS_CHANGE_BEFORE = 5 * 60  # clocks go forward in a date's first hours: no gap swallows a window that starts later
_ZONES_NAMED = 3

app = typer.Typer(help="Campaign files.", no_args_is_help=True)


@dataclass(slots=True)
class _Findings:
    bundles: list[Bundle] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def campaigns(self) -> list[Campaign]:
        return [bundle.campaign for bundle in self.bundles]


@app.command()
def validate(
    campaigns: Annotated[
        list[str] | None, typer.Argument(metavar="[CAMPAIGN]...", help="Names or files; all when none is given.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object for machines.")] = False,
) -> None:
    """Check campaigns with their segments and templates; print every problem, and exit with 2 when there is one."""
    settings = load_settings()
    findings = _Findings()
    segments: dict[str, Condition] = {}
    for name in campaigns or campaign_names(settings.campaigns):
        _check(name, settings, findings)
    if not campaigns:
        findings.problems += [*check_segments(settings.campaigns), *_overlooked(settings.campaigns)]
        findings.problems += [*check_topics(settings.campaigns), *check_confirmation(settings.templates)]
        findings.problems += [*check_shared(settings.campaigns), *check_caps(settings.campaigns)]
        findings.notes += notes_on_caps(settings.campaigns, findings.campaigns)
        folder = SegmentFolder(settings.campaigns)
        findings.notes += folder.notes()
        segments = folder.conditions()
    findings.notes += event_notes(findings.bundles, segments, settings.database)
    findings.problems = list(dict.fromkeys(findings.problems))
    _print_json(findings) if as_json else _print(findings, settings.campaigns)
    if findings.problems:
        raise typer.Exit(EXIT_PROBLEMS)


@app.command()
def schema(
    segment: Annotated[bool, typer.Option("--segment", help="The schema of segment files.")] = False,
) -> None:
    """Print the JSON Schema of campaign files, for editors that complete and check."""
    typer.echo(json.dumps(segment_schema() if segment else json_schema(), indent=2, ensure_ascii=False))


def _check(name: str, settings: Settings, findings: _Findings) -> None:
    accounts = {account: values.channel for account, values in settings.accounts.items()}
    try:
        bundle = load_bundle(name, settings.campaigns, settings.templates, accounts=accounts)
    except ConfigError as error:
        findings.problems += error.problems
    except NotFoundError as error:
        findings.problems.append(Problem(name, 0, "", error.message, error.hint))
    else:
        findings.bundles.append(bundle)
        findings.notes += TemplateSet(bundle.templates, root=str(settings.templates)).notes()
        now = SystemClock().now()
        today = now.date()
        findings.notes += instant_notes(bundle.campaign, now)
        findings.notes += [*_never(bundle.campaign, today), *_holidays_only(bundle.campaign)]
        findings.notes += _passed_over(bundle.campaign, today)
        findings.notes += [*_shut(bundle.campaign, today), *_unreachable(bundle.campaign, today)]


def _overlooked(campaigns: Path) -> list[Problem]:
    if not campaigns.is_dir():
        return [Problem(str(campaigns), 0, "", "there is no such folder", "`campaigns` in the settings names it")]
    paths = sorted([*campaigns.glob("*.yml"), *campaigns.glob("segments/*.yml")])
    return [Problem(str(path), 0, "", "is not read: these files end in .yaml", "rename it") for path in paths]


def _unreachable(campaign: Campaign, today: date) -> list[str]:
    """Windows that a change of clocks swallows: nobody there gets anything that date. No mistake, yet worth knowing."""
    days = [day for day in _days_ahead(campaign, today) if campaign.schedule.fires_on(day)]
    if campaign.schedule.of_instants:
        return []  # their windows are those of whatever date it is
    known = {campaign.timing_of(arm, step).window for arm in campaign.arms for step in campaign.steps}
    windows = {window for window in known if window is not None}
    return [
        note for window in sorted(windows, key=str) if _early(window) for note in _gaps(campaign.name, window, days)
    ]


def _never(campaign: Campaign, today: date) -> list[str]:
    """A schedule without a date: over, or on holidays of a calendar that has none on its days."""
    if campaign.schedule.of_instants:
        return []
    if any(campaign.schedule.fires_on(day) for day in _days_ahead(campaign, today) if day >= today):
        return []
    return [f"{campaign.name}: fires on no date within a year from {today}: see its schedule"]


def _passed_over(campaign: Campaign, today: date) -> list[str]:
    """Dates of users' own that no run is for, where a schedule goes by such dates and leaves days out."""
    schedule = campaign.schedule
    fired = [day for day in _days_ahead(campaign, today) if schedule.fires_on(day)]
    gaps = bool(fired) and len(fired) <= (fired[-1] - fired[0]).days
    if schedule.relative_to is None or not (gaps or schedule.members_holidays is not Holidays.IGNORE):
        return []
    name = schedule.relative_to.name
    return [f"{campaign.name}: there are dates without a run: whose {name} calls for one of them gets nothing"]


def _holidays_only(campaign: Campaign) -> list[str]:
    """Members in whose country nobody knows a holiday never get what runs on holidays only."""
    if campaign.schedule.members_holidays is not Holidays.ONLY:
        return []
    left_out = without_holidays(zones_by_country())
    some = f"{', '.join(left_out[:_ZONES_NAMED])} and {len(left_out) - _ZONES_NAMED} more"
    who = f"members whose country is not known, or has no known holidays ({some}), never get it"
    return [f"{campaign.name}: holidays: only, and each member's country decides: {who}"]


def _shut(campaign: Campaign, today: date) -> list[str]:
    """Weekdays on which the campaign fires, and on which no window of the first step is open."""
    if campaign.schedule.of_instants:
        return []
    fired = {day.weekday() for day in _days_ahead(campaign, today) if campaign.schedule.fires_on(day)}
    known = {campaign.timing_of(arm, campaign.steps[0]).window for arm in campaign.arms}
    windows = {window for window in known if window is not None}
    return [
        f"{campaign.name}: fires on {days_text(frozenset(shut))}, when {window} is shut: nobody gets anything that day"
        for window in sorted(windows, key=str)
        if (shut := {weekday for weekday in fired if not window.of_weekday(weekday)})
    ]


def _days_ahead(campaign: Campaign, today: date) -> Iterable[date]:
    first = max([today, *filter(None, [campaign.schedule.first])])
    return sorted({*campaign.schedule.dates, *(first + timedelta(days=n) for n in range(_AHEAD))})


def _early(window: Window) -> bool:
    return any(part.start % 1440 < _CLOCKS_CHANGE_BEFORE for part in window.parts)


def _gaps(name: str, window: Window, days: list[date]) -> Iterable[str]:
    by_day: dict[date, list[str]] = {}
    for zone, day in unreachable_zones(window, days):
        by_day.setdefault(day, []).append(zone)
    for day, zones in by_day.items():
        more = f" and {len(zones) - _ZONES_NAMED} more" if len(zones) > _ZONES_NAMED else ""
        yield f"{name}: on {day} clocks skip {window} in {', '.join(zones[:_ZONES_NAMED])}{more}: nobody there gets it"


def _print_json(findings: _Findings) -> None:
    answer = {
        "ok": not findings.problems,
        "campaigns": [campaign.name for campaign in findings.campaigns],
        "problems": [asdict(problem) for problem in findings.problems],
        "notes": findings.notes,
    }
    typer.echo(json.dumps(answer, indent=2, ensure_ascii=False))


def _print(findings: _Findings, folder: Path) -> None:
    console = Console(soft_wrap=True, highlight=False)
    for problem in findings.problems:
        console.print(Text(str(problem), style="red"))
    for note in findings.notes:
        console.print(Text(f"note: {note}", style="yellow"))
    for campaign in findings.campaigns:
        console.print(Text.assemble(("ok ", "bold green"), _summary(campaign)))
    if findings.problems:
        files = len({problem.file for problem in findings.problems})
        console.print(Text(f"{_count(len(findings.problems), 'problem')} in {_count(files, 'file')}", style="bold red"))
    elif not findings.campaigns:
        console.print(Text(f"Nothing to check: there are no campaigns in {folder}/"))


def _summary(campaign: Campaign) -> str:
    steps, arms = _count(len(campaign.steps), "step"), _count(len(campaign.arms), "arm")
    when = campaign.timing.window or f"at any time, for {span_text(campaign.timing.expires_after)}"
    return f"{campaign.name}: {steps}, {arms}, {campaign.holdout:.0%} held out, {when}"


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
