"""A campaign file by itself: what it becomes, and every mistake with its line and its fix."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from orchestrator.campaign.document import Document, Place
from orchestrator.campaign.form import GoalForm
from orchestrator.campaign.parse import parse_campaign
from orchestrator.campaign.reading import read_document
from orchestrator.campaign.segments import SegmentFolder
from orchestrator.campaign.spec import Arm, Conversion, Goal, Late, Timing, When
from orchestrator.campaign.templates import TemplateFolder
from orchestrator.errors import ConfigError, Problem
from orchestrator.timing.window import Window
from tests.campaign.project import ROOT, Project

Only = Callable[..., Problem]


def test_the_sample_is_what_it_says(project: Project) -> None:
    campaign = project.load().campaign
    assert (campaign.name, campaign.topic, campaign.segment, campaign.exclude) == (
        "lunch-winback",
        "promotions",
        "dormant-lunch-regulars",
        (),
    )
    assert campaign.title["zh"] == "午餐老客召回"
    assert campaign.timing == Timing(Window.parse("10:30-11:45"), Late.SKIP, timedelta(hours=24), 0.5)
    assert [(step.index, step.channel, step.when) for step in campaign.steps] == [
        (1, "push", None),
        (2, "sms", When(timedelta(minutes=25), unless="reopened")),
    ]
    assert campaign.goal == Goal(
        "app_open", timedelta(hours=24), Conversion("order_paid", timedelta(hours=72), "amount")
    )
    assert [arm.name for arm in campaign.arms] == ["dish", "coupon", "later"]
    assert (campaign.holdout, campaign.drop_if_back, campaign.max_audience) == (0.1, True, 100_000)
    assert campaign.schedule.fires_on(date(2026, 11, 1))
    assert not campaign.schedule.fires_on(date(2026, 10, 31))


def test_an_arm_inherits_what_it_does_not_say(project: Project) -> None:
    campaign = project.load().campaign
    later, push = campaign.arm("later"), campaign.steps[0]
    assert campaign.timing_of(later, push) == Timing(Window.parse("11:00-11:45"), Late.SKIP, timedelta(hours=24), 0.1)
    assert campaign.template_of(later, push) == "lunch-winback/dish"
    assert campaign.template_of(campaign.arm("coupon"), push) == "lunch-winback/coupon"


def test_the_sample_leaves_room_for_its_sms_in_every_arm(project: Project) -> None:
    campaign = project.load().campaign
    push, sms = campaign.steps
    assert sms.when
    for arm in campaign.arms:
        timing = campaign.timing_of(arm, push)
        assert timing.window is not None
        start, end, _ = timing.window.parts[0]
        length = end - start
        latest = start + timing.spread * length + sms.when.after.total_seconds() / 60
        assert latest + 10 <= end, arm.name  # ten minutes for the sending itself


def test_defaults(project: Project) -> None:
    text = project.campaign.read_text(encoding="utf-8")
    for field in ("priority", "goal", "holdout", "drop_if_back", "max_audience"):
        text = "\n".join(line for line in text.splitlines() if not line.startswith(f"{field}:"))
    project.campaign.write_text(text[: text.index("experiment:")].replace(", until: 2027-12-31", ""))
    campaign = project.load().campaign
    assert campaign.arms == (Arm("all"),)
    assert campaign.goal == Goal()
    assert (campaign.priority, campaign.holdout, campaign.drop_if_back, campaign.max_audience) == (50, 0.0, True, None)
    assert campaign.schedule.fires_on(date(2099, 1, 1))


def test_dates_instead_of_days(project: Project) -> None:
    project.edit(
        project.campaign, ("days: every, from: 2026-11-01, until: 2027-12-31", "dates: [2026-12-01, 2026-12-24]")
    )
    schedule = project.load().campaign.schedule
    assert [day for day in range(1, 32) if schedule.fires_on(date(2026, 12, day))] == [1, 24]


def test_a_step_has_its_own_window_rate_and_account(project: Project) -> None:
    more = """    window: {local: "18:00-19:00"}
    rate: 60/min
    account: main
"""
    template = "    template: lunch-winback/dish\n"
    project.edit(project.campaign, (template, template + more))
    campaign = project.load().campaign
    step = campaign.steps[1]
    assert (step.rate, step.account) == (1.0, "main")
    assert campaign.timing_of(campaign.arm("later"), step).window == Window.parse("18:00-19:00")


MISTAKES = [
    ("priority: 50", "priority: 101", "priority: at most 100 (it is 101)"),
    (
        "priority: 50",
        'priority: "50"',
        "priority: should be a whole number, and is text: '50' (0 to 100; higher goes first)",
    ),
    ("priority: 50", "priorty: 50", "priorty: unknown field (did you mean 'priority'?)"),
    ("topic: promotions\n", "", "topic: is missing (what users consented to, such as promotions)"),
    ("channel: push", "channel: pusj", "steps.1.channel: unknown channel 'pusj' (did you mean 'push'?)"),
    (
        "channel: push",
        "channel: wechat",
        "steps.1.channel: the channel 'wechat' is not supported yet (known: push, sms, email, inbox, webhook)",
    ),
    ("channel: push", "channel: [push]", "steps.1.channel: unknown channel \"['push']\""),
    ("late: skip, spread", "late: nxt, spread", "window.late: unknown word 'nxt' (did you mean 'next'?)"),
    ('"10:30-11:45", late', '"10:30-10:30", late', "window.local: '10:30-10:30' has no length"),
    ('"10:30-11:45", late', '"25:00-26:00", late', "window.local: 25:00 in '25:00-26:00' is no time of day"),
    ('"10:30-11:45", late', "1030, late", "window.local: '1030' is not a window of the day (write it in quotes"),
    (
        "until: 2027-12-31",
        "until: 2026-10-01",
        "schedule.until: 2026-10-01 is before `from`, 2026-11-01 (exchange the two)",
    ),
    ("until: 2027-12-31", "until: 2027-02-30", "schedule.until: 2027-02-30 is not in the calendar"),
    ("days: every", "days: weekdayz", "schedule.days: 'weekdayz' is no weekday"),
    ("days: every, ", "", "schedule: needs one of `days`, `dates`, `at`"),
    ("days: every, ", "dates: [2026-12-01], ", "schedule.from: does not go with `dates` (remove it)"),
    (
        "days: every, from: 2026-11-01, until: 2027-12-31",
        "days: mon, from: 2026-11-03, until: 2026-11-05",
        "schedule.days: none of these days lies between",
    ),
    ("holdout: 10%", "holdout: 95%", "holdout: 95% is outside 0% to 90%"),
    ("holdout: 10%", "holdout: 10", "holdout: 10 is outside 0% to 90% (write 10% for 10 per cent)"),
    ("weight: 1", "weight: 0", "experiment.arms.1.weight: at least 1 (it is 0)"),
    ("weight: 1", "weight: 0.5", "experiment.arms.1.weight: should be a whole number, and is a number: '0.5'"),
    ("name: coupon", "name: dish", "experiment.arms: 2 arms are called 'dish'"),
    ("name: coupon", "name: holdout", "experiment.arms: an arm cannot be called 'holdout'"),
    ("after: 25m", "after: 25", "steps.2.when.after: '25' is not a duration (write 30m, 2h, 1h30m or 14d)"),
    ("not: reopened", "not: openned", "steps.2.when.not: unknown word 'openned' (did you mean 'opened'?)"),
    ("    when: {not: reopened, after: 25m}\n", "", "steps.2: would be sent together with the step before it"),
    ("{channel: push, ", "{channel: push, when: {after: 1h}, ", "steps.1.when: the first step waits for nothing"),
    ("goal: {", "goal: [{", "is not YAML"),
    ("drop_if_back: true", "drop_if_back: yes", "drop_if_back: should be true or false, and is text: 'yes'"),
    ("max_audience: 100000", "max_audience: 0", "max_audience: at least 1 (it is 0)"),
    ("facts: [orders, favourite]", "facts: orders", "facts: should be a list, and is text: 'orders'"),
    ("title: {en:", "title: {english please:", "title.english please: 'english please' cannot be a locale"),
    ("exclude: []", "exclude: {}", "audience.exclude: should be a list, and is a group of fields"),
    ("schedule: {days", "schedule: {holidays: yes, days", "schedule.holidays: "),
    ("schedule: {days", "schedule: {calendar: XQ, days", "schedule.calendar: there is no calendar 'XQ'"),
    ("schedule: {days: every", "schedule: {days: workdays", "schedule.calendar: workdays are those of a calendar"),
    (
        '{local: "10:30-11:45"',
        "{moment: before-lunhc",
        "no moment 'before-lunhc' (did you mean",
    ),
    ('{local: "10:30-11:45"', '{moment: evening, local: "10:30-11:45"', "window.moment: stands beside `local`"),
    ("schedule: {days", "schedule: {cron: 0 9 * * *, days", "schedule.cron: stands beside `days`"),
    ("days: every, ", "at: 2026-12-01T18:00, ", "schedule.at: 2026-12-01T18:00 is another instant in every zone"),
    ("days: every, ", "at: 2026-12-01, ", "schedule.at: '2026-12-01' is not an instant"),
    ("days: every, ", "at: 2026-12-01T18:00+25:00, ", "schedule.at: 2026-12-01T18:00+25:00 has an offset of a day or"),
    ("days: every, ", "at: 2026-12-01T18:00Z, ", "schedule.from: does not go with `at` (remove it)"),
    ("days: every, ", "cron: 0 9 * * mon, ", "schedule.cron: needs a zone"),
    ("days: every, ", "cron: 0 9 31 2 *, zone: Asia/Shanghai, ", "schedule.cron: '0 9 31 2 *' is no cron string"),
    ("days: every, ", "cron: 0 9 * *, zone: Asia/Shanghai, ", "schedule.cron: '0 9 * *' is no cron string of five"),
    ("days: every, ", "cron: 0 9 * * mon, zone: Shanghai, ", "schedule.zone: unknown time zone 'Shanghai' (did you"),
    ("days: every, ", "days: every, zone: Asia/Shanghai, ", "schedule.zone: goes with `cron`"),
    ("holdout: 10%", "best_time: {explore: 95%}\nholdout: 10%", "best_time.explore: 95% is outside 0% to 90%"),
    ("holdout: 10%", "best_time: {within: true}\nholdout: 10%", "best_time.within: unknown field"),
    ("holdout: 10%", "incentive: {coupons: x}\nholdout: 10%", "incentive: is not supported yet: coupons (remove it)"),
    ("  arms:", "  judge: {metric: reopen}\n  arms:", "experiment.judge: is not supported yet"),
    ("name: lunch-winback\n", "name: Lunch Winback\n", "name: 'Lunch Winback' cannot be a name"),
    (
        "goal: {event: app_open, within: 24h",
        "goal: {event: app open, within: 24h",
        "goal.event: 'app open' cannot be an event",
    ),
]


@pytest.mark.parametrize(("old", "new", "message"), MISTAKES)
def test_a_mistake_names_line_field_and_fix(project: Project, old: str, new: str, message: str) -> None:
    line = project.campaign.read_text(encoding="utf-8")[
        : project.campaign.read_text(encoding="utf-8").index(old)
    ].count("\n")
    found = [problem for problem in project.problems((old, new)) if "the file is called" not in problem.message]
    assert any(message in str(problem) for problem in found), found
    about = next(problem for problem in found if message in str(problem))
    assert about.file == str(project.campaign)
    if "is missing" not in message and "not YAML" not in message and "experiment.arms:" not in message:
        assert about.line in {line + 1, line}
    if "not YAML" not in message and "priorty" not in message:
        assert len(found) == 1, found


def test_a_name_of_ten_thousand_letters_is_not_repeated(project: Project) -> None:
    found = project.problems(("name: lunch-winback\n", f"name: {'x' * 200_000}\n"))
    assert str(found[0]).endswith("name: too long to be a name (lower-case letters, digits and hyphens, at most 64)")
    assert all(len(str(problem)) < 600 for problem in found)


def test_all_mistakes_of_a_file_come_at_once_in_its_order(project: Project) -> None:
    found = project.problems(
        ("topic: promotions", "topic: Promotions!\ntopic: twice"),
        ("segment: dormant-lunch-regulars", "segment: dormant-lunch-regular"),
        ("days: every", "days: evry"),
        ("channel: push, template: lunch-winback/dish", "channel: pusj, template: lunch-winback/dihs"),
        ("holdout: 10%", "holdout: 99%"),
    )
    assert [problem.field for problem in found] == [
        "topic",
        "audience.segment",
        "schedule.days",
        "steps.1.channel",
        "steps.1.template",
        "holdout",
    ]
    assert [problem.line for problem in found] == sorted(problem.line for problem in found)


def test_a_wait_as_long_as_the_window_never_fits(problem: Only) -> None:
    found = problem(("after: 25m", "after: 45m"))
    assert found.field == "steps.2.when.after"
    assert found.message == "45m after the window of arm 'later' opens, it is over: nothing would ever be sent"
    assert found.hint == "the window is 45m long: wait less, or give the step a later window"


def test_a_wait_that_fits_an_own_window_or_the_next_date_is_fine(project: Project) -> None:
    project.edit(
        project.campaign,
        ("after: 25m}", 'after: 5h}\n    window: {local: "18:00-20:00"}'),
    )
    project.load()
    project.edit(project.campaign, ('    window: {local: "18:00-20:00"}\n', "    window: {late: next}\n"))
    project.load()


def test_the_file_and_the_campaign_have_one_name(problem: Only) -> None:
    found = problem(("name: lunch-winback\n", "name: dinner-winback\n"))
    assert found.message == "is 'dinner-winback', and the file is called lunch-winback.yaml"
    assert found.hint == "write name: lunch-winback, or rename the file"


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def places(data: Any, at: Place = ()) -> Iterator[Place]:
    if at:
        yield at
    for key, inner in data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ():
        yield from places(inner, (*at, key))


SAMPLE = read_document(ROOT / "campaigns/lunch-winback.yaml").data


@settings(deadline=None)
@given(place=st.sampled_from(list(places(SAMPLE))), value=values)
def test_whatever_stands_anywhere_is_a_campaign_or_a_config_error(place: Place, value: object) -> None:
    spoiled = copy.deepcopy(SAMPLE)
    inner: Any = spoiled
    for part in place[:-1]:
        inner = inner[part]
    inner[place[-1]] = value
    document = Document("c.yaml", spoiled)
    with contextlib.suppress(ConfigError):
        parse_campaign(document)
    SegmentFolder(ROOT / "campaigns").used_by(document)
    TemplateFolder(ROOT / "templates").used_by(document)


@pytest.mark.parametrize("event", ["message_opened", "link_clicked"])
def test_a_mails_open_is_never_the_goal(event: str) -> None:
    """Providers §11: reopen is the app's own event; machines open mails and follow links too."""
    for goal in ({"event": event}, {"conversion": {"event": event, "within": "72h"}}):
        with pytest.raises(ValidationError, match="is no success"):
            GoalForm.model_validate(goal)
