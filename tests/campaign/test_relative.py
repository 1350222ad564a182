"""``relative_to``: what may stand there, each mistake with its fix, and what ``validate`` notes."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from orchestrator.campaign.spec import RelativeTo
from orchestrator.cli.campaign import _passed_over
from orchestrator.errors import ConfigError
from tests import world
from tests.campaign.project import Project

TODAY = date(2026, 12, 1)
SCHEDULE = "schedule: {days: every, from: 2026-11-01, until: 2027-12-31}"
DAY = timedelta(days=1)


@pytest.fixture
def declared(project: Project) -> Project:
    """With two attributes declared."""
    (project.campaigns / "attributes.yaml").write_text("points_expire_on: date\npoints: int\n", encoding="utf-8")
    return project


def relative(**what: Any) -> RelativeTo | None:
    return world.bundle(schedule={"days": "every", "relative_to": what}).campaign.schedule.relative_to


def test_what_may_stand_there() -> None:
    birthday = relative(attribute="birthday", yearly=True, offset="-3d")
    assert birthday == RelativeTo("birthday", None, yearly=True, offset=-3 * DAY)
    assert birthday.dated(date(2026, 12, 1)) == date(2026, 12, 4)
    assert relative(attribute="生日") == RelativeTo("生日")
    assert relative(attribute="expires", offset="+366d") == RelativeTo("expires", offset=366 * DAY)
    assert relative(event="order_paid", offset="14d") == RelativeTo(None, "order_paid", offset=14 * DAY)
    assert relative(event="order_paid", offset="3d") == RelativeTo(None, "order_paid", offset=3 * DAY)


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ({"relative_to": {}}, "relative_to: needs either `attribute` or `event` (attribute: birthday, or event: "),
        ({"relative_to": {"attribute": "a", "event": "b", "offset": "5d"}}, "needs either `attribute` or `event`"),
        ({"relative_to": {"attribut": "birthday"}}, "attribut: unknown field (did you mean 'attribute'?)"),
        ({"relative_to": {"attribute": "locale"}}, "relative_to.attribute: locale is text, no date"),
        ({"relative_to": {"attribute": 'a"b'}}, "cannot be a name here"),
        ({"relative_to": {"event": "order paid", "offset": "5d"}}, "cannot be an event or property"),
        ({"relative_to": {"attribute": "a", "offset": "3h"}}, "offset: '3h' is not a number of days (write -3d"),
        ({"relative_to": {"attribute": "a", "offset": 3}}, "offset: '3' is not a number of days"),
        ({"relative_to": {"attribute": "a", "offset": "1.5d"}}, "is not a number of days"),
        ({"relative_to": {"attribute": "a", "offset": "-367d"}}, "'-367d' is further away than 366 days"),
        ({"relative_to": {"event": "a", "offset": "2d"}}, "offset: is 3d at least with `event`"),
        ({"relative_to": {"event": "a", "offset": "2d"}}, "(for sooner: schedule: {trigger: {event: a, after: 24h}})"),
        ({"relative_to": {"event": "a", "offset": "-5d"}}, "is 3d at least with `event`"),
        ({"relative_to": {"event": "a"}}, "is 3d at least with `event`"),
        ({"relative_to": {"event": "a", "yearly": True, "offset": "5d"}}, "yearly: goes with `attribute`"),
        (
            {"days": None, "at": "2026-12-24T18:00:00+08:00", "relative_to": {"attribute": "a"}},
            "goes with `days`: each local date has a run, for those whose own date it is (add days: every)",
        ),
    ],
)
def test_a_mistake_says_what_and_how(schedule: dict[str, Any], message: str) -> None:
    wanted = {key: value for key, value in {"days": "every", **schedule}.items() if value is not None}
    with pytest.raises(ConfigError) as caught:
        world.bundle(schedule=wanted)
    assert message in str(caught.value)


def test_a_slip_in_the_attribute_is_an_error_with_its_line(declared: Project) -> None:
    wrong = f"{SCHEDULE[:-1]}, relative_to: {{attribute: points_expire_un}}}}"
    [found] = declared.problems((SCHEDULE, wrong))
    assert "attribute 'points_expire_un' is not declared in attributes.yaml" in found.message
    assert found.hint == "did you mean 'points_expire_on'?"
    assert found.field == "schedule.relative_to.attribute"
    assert (
        SCHEDULE.split(":", maxsplit=1)[0] in declared.campaign.read_text(encoding="utf-8").splitlines()[found.line - 1]
    )


def test_an_attribute_that_is_no_date_is_refused(declared: Project) -> None:
    wrong = f"{SCHEDULE[:-1]}, relative_to: {{attribute: points}}}}"
    [found] = declared.problems((SCHEDULE, wrong))
    assert str(found).endswith("points is a whole number, no date (declare it with type: date in attributes.yaml, or "
                               "name another)")  # fmt: skip


def test_a_declared_date_is_fine_and_so_is_anything_where_nothing_is_declared(declared: Project) -> None:
    right = f"{SCHEDULE[:-1]}, relative_to: {{attribute: points_expire_on, offset: -10d}}}}"
    assert declared.problems((SCHEDULE, right)) == []
    (declared.campaigns / "attributes.yaml").unlink()
    assert declared.problems(("points_expire_on", "whatever")) == []


@pytest.mark.parametrize(
    ("schedule", "noted"),
    [
        ({"days": "every"}, False),
        ({"days": "every", "from": "2026-12-05", "until": "2027-02-01"}, False),
        ({"days": "mon-fri"}, True),
        ({"dates": ["2026-12-07", "2026-12-08"]}, False),
        ({"dates": ["2026-12-07", "2026-12-09"]}, True),
        ({"days": "every", "holidays": "skip"}, True),
        ({"days": "every", "holidays": "skip", "calendar": "CN"}, True),
    ],
)
def test_dates_without_a_run_are_noted(schedule: dict[str, Any], *, noted: bool) -> None:
    own = {"attribute": "birthday", "yearly": True}
    found = _passed_over(world.bundle(schedule={**schedule, "relative_to": own}).campaign, TODAY)
    expected = ["lunch: there are dates without a run: whose birthday calls for one of them gets nothing"]
    assert found == (expected if noted else [])
    assert _passed_over(world.bundle(schedule=schedule).campaign, TODAY) == []
