"""What a later step may ask, and what nobody would ever get."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from orchestrator.campaign.spec import When
from orchestrator.errors import ConfigError
from tests import world

GOAL = {"event": "app_open", "within": "24h", "conversion": {"event": "order_paid", "within": "72h"}}
MINUTE = timedelta(minutes=1)


def step(when: dict[str, Any], **more: Any) -> Any:
    steps = [world.DEFINITION["steps"][0], {**world.DEFINITION["steps"][1], "when": when}]
    return world.bundle(dict(more), steps=steps).campaign


@pytest.mark.parametrize(
    ("when", "read"),
    [
        ({"after": "5m"}, When(5 * MINUTE)),
        ({"not": "opened", "after": "5m"}, When(5 * MINUTE, "opened")),
        ({"is": "delivered", "not": "delivery", "after": "5m"}, When(5 * MINUTE, "delivery", "delivered")),
        ({"wait_for": "order_paid", "within": "6h"}, When(wait_for="order_paid", within=360 * MINUTE)),
        ({"wait_for": "clicked", "within": "1h", "after": "5m"}, When(5 * MINUTE, None, None, "clicked", 60 * MINUTE)),
    ],
)
def test_what_it_means(when: dict[str, Any], read: When) -> None:
    assert step(when).steps[1].when == read


@pytest.mark.parametrize(
    ("when", "more", "said"),
    [
        ({"not": "open", "after": "5m"}, {}, "when.not: unknown word 'open' (did you mean 'opened'?)"),
        ({"is": "Clicked", "after": "5m"}, {}, "when.is: unknown word 'Clicked' (did you mean 'clicked'?)"),
        ({"not": "message_opened", "after": "5m"}, {}, "may have been a machine (write opened"),
        ({"is": "not_delivered", "after": "5m"}, {}, "when.is: 'not_delivered' is a reason in reports"),
        ({"not": "opened"}, {}, "when.after: is missing"),
        ({"wait_for": "opened"}, {}, "when.within: is missing"),
        ({"not": "opened", "after": "5m", "within": "1h"}, {}, "when.within: goes with `wait_for`"),
        ({"is": "x", "wait_for": "y", "within": "1h"}, {}, "when.is: stands beside `wait_for`"),
        ({"is": "x", "not": "x", "after": "5m"}, {}, "when.not: is what has to have happened"),
        ({"is": "converted", "after": "5m"}, {}, "when.is: needs `goal.conversion`"),
        ({"after": "5m"}, {"exit_on_conversion": True}, "exit_on_conversion: needs `goal.conversion`"),
        ({"wait_for": "order_paid", "within": "1h"}, {"goal": GOAL}, "gets nothing more (exit_on_conversion)"),
        ({"is": "reopened", "after": "5m"}, {}, "who has come back gets nothing more (drop_if_back)"),
        ({"wait_for": "opened", "within": "1h", "after": "80m"}, {}, "it is over: nothing would ever be sent"),
    ],
)
def test_a_mistake_says_what_would_be_right(when: dict[str, Any], more: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        step(when, **more)
    assert said in str(raised.value)


def test_who_asks_for_what_ends_it_may_say_that_it_does_not() -> None:
    thanks = {"wait_for": "converted", "within": "30m"}
    assert step(thanks, goal=GOAL, exit_on_conversion=False).steps[1].when.wait_for == "converted"
    assert step({"is": "reopened", "after": "5m"}, drop_if_back=False).steps[1].when.needs == "reopened"


def test_whoever_converts_leaves_where_a_conversion_is_named() -> None:
    assert step({"after": "5m"}, goal=GOAL).exit_on_conversion
    assert not step({"after": "5m"}).exit_on_conversion
    assert not step({"after": "5m"}, goal=GOAL, exit_on_conversion=False).exit_on_conversion
