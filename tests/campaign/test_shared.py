"""Moments and calendars by name: written out when a campaign is loaded, so that later edits change nothing launched."""

from __future__ import annotations

from datetime import date

import pytest

from orchestrator.campaign.shared import check_shared, moments_in
from orchestrator.campaign.version import from_json, to_json
from orchestrator.errors import ConfigError
from orchestrator.timing.calendars import Calendar, Holidays
from orchestrator.timing.window import Window
from tests.campaign.project import Project

LOCAL = '{local: "10:30-11:45"'
SCHEDULE = "schedule: {days: every"


def test_a_moment_is_its_window(project: Project) -> None:
    project.edit(project.campaign, (LOCAL, "{moment: before-lunch"))
    assert project.load().campaign.timing.window == Window.parse("10:30-11:45")


def test_a_deployments_own_moments_come_first(project: Project) -> None:
    (project.campaign.parent / "moments.yaml").write_text('before-lunch: "11:00-12:00"\nnight-owls: "22:00-23:30"\n')
    project.edit(project.campaign, (LOCAL, "{moment: before-lunch"))
    assert project.load().campaign.timing.window == Window.parse("11:00-12:00")
    assert moments_in(project.campaign.parent)["night-owls"] == "22:00-23:30"


def test_what_was_launched_keeps_its_meaning(project: Project) -> None:
    own = project.campaign.parent / "moments.yaml"
    own.write_text('before-lunch: "11:00-12:00"\n')
    project.edit(project.campaign, (LOCAL, "{moment: before-lunch"))
    stored = to_json(project.load())
    own.write_text('before-lunch: "09:00-10:00"\n')
    assert from_json(stored).campaign.timing.window == Window.parse("11:00-12:00")


def test_workdays_of_china_follow_the_swaps(project: Project) -> None:
    project.edit(project.campaign, (SCHEDULE, "schedule: {calendar: CN, days: workdays"))
    schedule = project.load().campaign.schedule
    assert schedule.fires_on(date(2027, 1, 4))
    assert not schedule.fires_on(date(2027, 2, 6))  # Spring Festival 2027
    assert schedule.members_holidays is Holidays.IGNORE


def test_a_calendar_of_ones_own(project: Project) -> None:
    (project.campaign.parent / "calendars.yaml").write_text(
        "shop:\n  region: CN\n  holidays: {2026-11-11: Singles' day}\n  workdays: [2026-11-14]\n"
    )
    project.edit(project.campaign, (SCHEDULE, "schedule: {calendar: shop, holidays: skip, days: every"))
    bundle = project.load()
    schedule = bundle.campaign.schedule
    added, worked = frozenset({date(2026, 11, 11)}), frozenset({date(2026, 11, 14)})
    assert schedule.calendar == Calendar("CN", added=added, worked=worked)
    assert not schedule.fires_on(date(2026, 11, 11))
    assert schedule.fires_on(date(2026, 11, 12))
    assert from_json(to_json(bundle)).campaign.schedule == schedule


def test_without_a_calendar_the_members_own_holidays_count(project: Project) -> None:
    project.edit(project.campaign, (SCHEDULE, "schedule: {holidays: skip, days: every"))
    schedule = project.load().campaign.schedule
    assert schedule.fires_on(date(2026, 12, 25))
    assert schedule.members_holidays is Holidays.SKIP


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("moments.yaml", "lunch: 10:30\n"),
        ("moments.yaml", "- lunch\n"),
        ("calendars.yaml", "shop: {holidays: {tomorrow: x}}\n"),
        ("calendars.yaml", "shop: {region: CN, holiday: {}}\n"),
    ],
)
def test_a_mistake_in_them_is_said(project: Project, name: str, text: str) -> None:
    (project.campaign.parent / name).write_text(text)
    [problem, *_] = check_shared(project.campaign.parent)
    assert name in problem.file
    project.edit(project.campaign, (LOCAL, "{moment: before-lunch"), (SCHEDULE, "schedule: {calendar: CN, days: every"))
    with pytest.raises(ConfigError, match=name):
        project.load()
