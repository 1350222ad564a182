"""The trigger of a schedule: what it becomes, what is refused, and what templates may print of its event."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from orchestrator.campaign.document import Document
from orchestrator.campaign.parse import parse_campaign
from orchestrator.campaign.spec import Campaign, Trigger
from orchestrator.campaign.templates import TemplateFolder
from orchestrator.content.templates import TemplateSet
from orchestrator.dispatch.compose import TRIGGER, worded
from orchestrator.errors import ConfigError, RenderError
from tests import world
from tests.plan.carts import campaign

CART = {"event": "cart_updated"}


def parsed(schedule: dict[str, Any], **more: Any) -> Campaign:
    definition = {**world.DEFINITION, "schedule": schedule, **more}
    return parse_campaign(Document("lunch.yaml", definition))


def refused(schedule: dict[str, Any], **more: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        parsed(schedule, **more)
    return str(caught.value)


def test_it_is_read_with_its_defaults() -> None:
    found = parsed({"trigger": CART, "from": "2026-12-01", "until": "2026-12-31"}).schedule
    assert found.trigger == Trigger("cart_updated", timedelta(0), (), timedelta(hours=24), {})
    assert found.fires_on(date(2026, 12, 31))
    assert not found.fires_on(date(2027, 1, 1))
    whole = {**CART, "after": "45m", "unless": ["order_paid", "order_paid"], "again_after": "7d"}
    assert parsed({"trigger": {**whole, "properties": {"item": "pan"}}}).schedule.trigger == Trigger(
        "cart_updated", timedelta(minutes=45), ("order_paid",), timedelta(days=7), {"item": "pan"}
    )


def test_the_window_may_be_left_out_and_then_it_is_worth_an_hour() -> None:
    definition = {name: value for name, value in world.DEFINITION.items() if name != "window"}
    found = parse_campaign(Document("lunch.yaml", {**definition, "schedule": {"trigger": CART}}))
    assert (found.timing.window, found.timing.expires_after) == (None, timedelta(hours=1))


@pytest.mark.parametrize(
    ("schedule", "said"),
    [
        ({"trigger": CART, "days": "every"}, "stands beside"),
        ({"trigger": {"event": "cart_updated", "unless": ["cart_updated"]}}, "is the event itself"),
        ({"trigger": {"event": "cart updated"}}, "cannot be an event"),
        ({"trigger": {}}, "is missing"),
        ({"trigger": {**CART, "again": "7d"}}, "again_after"),
        ({"trigger": {**CART, "after": "soon"}}, "is not a duration"),
    ],
)
def test_what_is_wrong_is_said(schedule: dict[str, Any], said: str) -> None:
    assert said in refused(schedule)


def test_a_best_time_does_not_go_with_an_event() -> None:
    assert "the event says when" in refused({"trigger": CART}, best_time={"explore": "10%"})


TEMPLATES = {"lunch/push.en.j2": "title: {{ trigger.item }}\n\nFor {{ trigger.price.amount|default(1) }}.\n"}


def said(folder: Any, properties: dict[str, Any] | None) -> list[str]:
    """What is wrong with the templates of such a campaign."""
    for path, text in TEMPLATES.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    trigger = CART if properties is None else {**CART, "properties": properties}
    steps = [{"channel": "push", "template": "lunch"}]
    found = TemplateFolder(folder)
    found.used_by(Document("lunch.yaml", {"schedule": {"trigger": trigger}, "steps": steps}))
    return [str(problem) for problem in found.problems]


def test_a_property_without_an_example_is_a_problem(tmp_path: Any) -> None:
    assert said(tmp_path, {"item": "pan", "price": {"amount": 3}}) == []
    [problem] = said(tmp_path, None)
    assert "no fact 'trigger.item'" in problem
    assert "schedule.trigger.properties in lunch.yaml" in problem
    (tmp_path / "lunch" / "defaults.yaml").write_text("trigger.item: {en: your things}\n")
    assert said(tmp_path, None) == []


def test_previews_show_the_example_and_messages_the_event(tmp_path: Any) -> None:
    del tmp_path
    what = campaign({"properties": {"item": "pan", "price": {"amount": 3}}})
    compiled = TemplateSet(TEMPLATES)

    def words(**user: Any) -> tuple[str, str]:
        made = worded(what, compiled, "lunch", "push", "en", user, None).payload
        return made.title, made.body  # type: ignore[union-attr]

    assert words() == ("pan", "For 3.")
    assert words(**{TRIGGER: {"item": "wok"}}) == ("wok", "For 1.")
    with pytest.raises(RenderError, match=r"trigger\.item"):
        words(**{TRIGGER: {}})
